package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
)

// tick is how often a client looks at its timers.
const tick = 100 * time.Millisecond

// Client is one tunnel with one session.
type Client struct {
	User string

	conn       *net.UDPConn
	raw        syscall.RawConn // of conn
	connection ikev1.ConnectionID
	mark       int // in the events of the site, before it was called
	inner      netip.Addr
	loops      sync.WaitGroup
	stop       chan struct{}
	stopping   sync.Once

	mu    sync.Mutex
	lac   l2tptest.LAC
	ids   [2]uint16 // the server's tunnel and session
	ppp   ppp
	pings pings
	said  error // why it is over
}

func newClient(conn *net.UDPConn, inner netip.Addr, user, password string) (*Client, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", user, err)
	}
	return &Client{
		User: user, conn: conn, raw: raw, inner: inner, stop: make(chan struct{}),
		lac: l2tptest.LAC{Tunnel: 7, Window: 4, Calls: 1}, ppp: ppp{user: user, password: password}, pings: newPings(),
	}, nil
}

// connect begins and waits for an address.
func (c *Client) connect(ctx context.Context) error {
	c.do(func(now time.Time) { c.lac.Start(now) })
	c.loops.Go(c.receive)
	c.loops.Go(c.run)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if address, err := c.Address(); err != nil || address.IsValid() {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("no address within a minute")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Address is what PPP gave; the zero value before that. The error says why the session is over.
func (c *Client) Address() (netip.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ppp.address, c.said
}

// do changes the client's state, and sends what comes of it.
func (c *Client) do(f func(now time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	f(now)
	for _, m := range c.lac.Take() {
		c.write(m)
	}
	if c.lac.Failed() {
		c.over(errors.New("the server has ended the tunnel or does not answer"))
	}
	if sessions := c.lac.Sessions(); c.ids == [2]uint16{} && len(sessions) > 0 {
		c.ids = [2]uint16{c.lac.Peer(), c.lac.PeerSession(sessions[0])}
		c.ppp.start(now)
	} else if c.ids != [2]uint16{} && len(sessions) == 0 {
		c.over(errors.New("the server has ended the session"))
	}
	for _, frame := range c.ppp.take() {
		c.write(c.data(frame))
	}
	if c.ppp.ended != nil {
		c.over(c.ppp.ended)
	}
}

func (c *Client) over(err error) {
	if c.said == nil {
		c.said = err
	}
}

// write sends a datagram. One that does not go out is lost, as on any network. It does not wait: a socket whose policy finds no SA says EAGAIN,
// and nobody tells when there is one.
func (c *Client) write(b []byte) {
	_ = c.raw.Write(func(fd uintptr) bool {
		_ = unix.Send(int(fd), b, unix.MSG_DONTWAIT)
		return true
	})
}

// data puts the header of a data message (RFC 2661 section 3.1) and that of PPP in HDLC-like framing before a frame.
func (c *Client) data(frame []byte) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 8+len(frame)), 2)
	b = binary.BigEndian.AppendUint16(b, c.ids[0])
	b = binary.BigEndian.AppendUint16(b, c.ids[1])
	return append(append(b, 0xff, 0x03), frame...)
}

// payload returns the PPP frame in a data message, nil if there is none.
func payload(b []byte) []byte {
	flags, n := binary.BigEndian.Uint16(b), 6
	if flags&0x4000 != 0 {
		n += 2
	}
	if flags&0x0800 != 0 {
		n += 4
	}
	if len(b) < n+2 {
		return nil
	}
	if b = b[n:]; b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	return b
}

func (c *Client) receive() {
	b := make([]byte, 2048)
	for {
		n, err := c.conn.Read(b)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			continue
		case err != nil:
			return
		case n < 8:
			continue
		}
		c.do(func(now time.Time) {
			if b[0]&0x80 != 0 {
				c.lac.Receive(now, b[:n])
				return
			}
			frame := payload(b[:n])
			if ip := c.ppp.receive(now, frame); ip != nil {
				c.pings.answered(ip)
			}
		})
	}
}

// run serves the timers.
func (c *Client) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-t.C:
			c.do(func(now time.Time) {
				if next := c.lac.Next(); !next.IsZero() && !next.After(now) {
					c.lac.Tick(now)
				}
				c.ppp.tick(now)
			})
		}
	}
}

// leave hangs up and waits until the server has acknowledged it.
func (c *Client) leave() {
	c.do(func(now time.Time) { c.lac.Stop(now) })
	for range 100 {
		c.mu.Lock()
		done := c.lac.Done()
		c.mu.Unlock()
		if done {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *Client) close() error {
	c.stopping.Do(func() { close(c.stop) })
	err := c.conn.Close()
	c.loops.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Hello makes the client ask whether the server is there: an answer shows that both agree on the sequence numbers of L2TP.
func (c *Client) Hello(ctx context.Context) error {
	c.do(func(now time.Time) { c.lac.Hello(now) })
	for range 500 {
		c.mu.Lock()
		idle, said := c.lac.Idle(), c.said
		c.mu.Unlock()
		if idle || said != nil {
			return said
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s: Hello was not acknowledged", c.User)
}
