package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
)

// Trunk is a tunnel of a LAC with several calls, which xl2tpd cannot have: the LAC of l2tptest for the control messages, and the kernel's L2TP
// for the data. Each has a UDP port of its own: up to 6.9, the kernel looks for a session in the tunnel of the socket only.
type Trunk struct {
	lac    *LAC
	server netip.AddrPort
	conn   *net.UDPConn // connected
	kernel *l2tpnl.Conn
	id     uint16

	mu      sync.Mutex // of what follows
	control *l2tptest.LAC
}

// Trunk opens a tunnel from a port of the LAC.
func (l *LAC) Trunk(ctx context.Context, server netip.Addr, from netip.AddrPort, id uint16) (*Trunk, error) {
	t := &Trunk{lac: l, server: netip.AddrPortFrom(server, 1701), id: id, control: &l2tptest.LAC{Tunnel: id, Window: 4}}
	err := l.Do(func() error {
		var err error
		if t.conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(t.server)); err != nil {
			return err
		}
		t.kernel, err = l2tpnl.Dial()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: open a tunnel's socket: %w", l.Name, err)
	}
	l.lab.onClose(func() error { return errors.Join(t.conn.Close(), t.kernel.Close()) })
	go t.read()
	t.do(func(now time.Time) { t.control.Start(now) })
	err = Until(ctx, 60*time.Second, l.Name+": the tunnel is up", func() error {
		t.do(t.control.Tick)
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.control.Established() {
			return errors.New("no SCCRP")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	raw, err := t.conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Name, err)
	}
	var created error
	err = raw.Control(func(fd uintptr) {
		created = t.kernel.CreateTunnel(l2tpnl.Tunnel{ID: uint32(id), PeerID: uint32(t.Peer()), FD: int(fd)})
	})
	return t, errors.Join(err, created)
}

// Peer is the server's id of the tunnel.
func (t *Trunk) Peer() uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.control.Peer()
}

// do has the LAC do something, and sends what it says.
func (t *Trunk) do(f func(now time.Time)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(time.Now())
	for _, b := range t.control.Take() {
		_, _ = t.conn.Write(b) // it repeats what is lost
	}
}

func (t *Trunk) read() {
	b := make([]byte, 2048)
	for {
		n, err := t.conn.Read(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil:
			t.do(func(now time.Time) { t.control.Receive(now, b[:n]) })
		}
	}
}

// Dial makes a call in the tunnel and a line's PPP link on it, and waits until the link has its address.
func (t *Trunk) Dial(ctx context.Context, line *Line) error {
	known := len(t.sessions())
	t.do(t.control.Call)
	err := Until(ctx, 60*time.Second, t.lac.Name+": the call is up", func() error {
		t.do(t.control.Tick)
		if len(t.sessions()) == known {
			return errors.New("no ICRP")
		}
		return nil
	})
	if err != nil {
		return err
	}
	session := t.sessions()[known]
	t.mu.Lock()
	peer := t.control.PeerSession(session)
	t.mu.Unlock()
	var channel *os.File
	err = t.lac.Do(func() error {
		channel, err = l2tpnl.OpenSession(t.id, session, t.Peer(), peer)
		return err
	})
	if err != nil {
		return err
	}
	defer channel.Close()
	if _, err := line.pppd(ctx, channel); err != nil {
		return err
	}
	return line.connected(ctx)
}

func (t *Trunk) sessions() []uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.control.Sessions()
}

// Close says goodbye. The lines' pppd notice that their sessions have gone.
func (t *Trunk) Close(ctx context.Context) error {
	t.do(t.control.Stop)
	return Until(ctx, 60*time.Second, t.lac.Name+": the end of the tunnel is acknowledged", func() error {
		t.do(t.control.Tick)
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.control.Done() {
			return errors.New("no acknowledgement")
		}
		return nil
	})
}
