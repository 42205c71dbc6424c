package site

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// Port is the UDP port whose traffic is protected, at both ends.
const Port = 1701

const (
	streamPause = 5 * time.Millisecond
	drain       = 10 * time.Second // for what is on its way still
	moment      = 200 * time.Millisecond
	greeting    = 20 * time.Second
)

// Stream is datagrams to a peer that returns them.
type Stream struct {
	conn             *net.UDPConn
	stop             chan struct{}
	sender, receiver sync.WaitGroup

	sent     atomic.Uint64
	mu       sync.Mutex
	received map[uint64]bool
}

// Stream sends 200 datagrams each second to a peer, from a socket that takes and gives nothing but ESP with this peer. It returns when
// the first one has come back. Call it on a thread in the site's namespace.
func (s *Site) Stream(ctx context.Context, local, peer netip.Addr) (*Stream, error) {
	conn, err := s.Dial(ctx, local, peer)
	if err != nil {
		return nil, err
	}
	st := &Stream{conn: conn, stop: make(chan struct{}), received: make(map[uint64]bool)}
	if err := st.greet(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	st.receiver.Go(st.receive)
	st.sender.Go(st.send)
	return st, nil
}

// Dial opens a socket that takes and gives nothing but ESP with a peer. There has to be a child. Call it on a thread in the site's
// namespace.
func (s *Site) Dial(ctx context.Context, local, peer netip.Addr) (*net.UDPConn, error) {
	reqid := s.reqid(ends{local, peer})
	dialer := net.Dialer{
		LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, Port)),
		Control: func(_, _ string, raw syscall.RawConn) error {
			var policy error
			err := raw.Control(func(fd uintptr) {
				for _, direction := range []xfrm.Direction{xfrm.In, xfrm.Out} {
					policy = errors.Join(policy, xfrm.SetSocketPolicy(int(fd), peer.Is6(), direction, reqid))
				}
			})
			return errors.Join(err, policy)
		},
	}
	conn, err := dialer.DialContext(ctx, "udp", netip.AddrPortFrom(peer, Port).String())
	if err != nil {
		return nil, fmt.Errorf("open a socket for %s: %w", peer, err)
	}
	return conn.(*net.UDPConn), nil
}

// greet sends until an answer comes: the peer may be busy with its SAs.
func (st *Stream) greet() error {
	var err error
	for end := time.Now().Add(greeting); time.Now().Before(end); {
		if _, err = st.conn.Write(make([]byte, 8)); err == nil {
			if err = st.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				return err
			}
			if _, err = st.conn.Read(make([]byte, 8)); err == nil {
				return st.conn.SetReadDeadline(time.Time{})
			}
		}
	}
	return fmt.Errorf("no datagram comes back from %s: %w", st.conn.RemoteAddr(), err)
}

// send numbers the datagrams from 1: what the greetings cause has 0.
func (st *Stream) send() {
	tick := time.NewTicker(streamPause)
	defer tick.Stop()
	for {
		select {
		case <-st.stop:
			return
		case <-tick.C:
			_, _ = st.conn.Write(binary.BigEndian.AppendUint64(nil, st.sent.Add(1))) // an error is a datagram lost, which is counted
		}
	}
}

func (st *Stream) receive() {
	b := make([]byte, 8)
	for {
		n, err := st.conn.Read(b)
		switch {
		case err != nil && !errors.Is(err, syscall.ECONNREFUSED):
			return
		case err == nil && n == len(b):
			st.mu.Lock()
			st.received[binary.BigEndian.Uint64(b)] = true
			st.mu.Unlock()
		}
	}
}

// missing returns the datagrams that have not come back.
func (st *Stream) missing() (list []uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for number := uint64(1); number <= st.sent.Load(); number++ {
		if !st.received[number] {
			list = append(list, number)
		}
	}
	return list
}

// Passes waits until a datagram has come back that is sent from now on, and returns its number.
func (st *Stream) Passes(ctx context.Context, limit time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for from := st.Sent(); ; {
		if number := st.latest(); number > from {
			return number, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("of the datagrams after %d none has come back, of %d: %w", from, st.Sent(), ctx.Err())
		case <-time.After(streamPause):
		}
	}
}

// latest returns the highest number that has come back.
func (st *Stream) latest() (highest uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for number := range st.received {
		highest = max(highest, number)
	}
	return highest
}

// Sent is how many datagrams were sent until now.
func (st *Stream) Sent() uint64 { return st.sent.Load() }

// Stop ends the stream and says how many datagrams were sent, and which did not come back.
func (st *Stream) Stop() (sent uint64, lost []uint64, err error) {
	close(st.stop)
	st.sender.Wait()
	late := false
	for end := time.Now().Add(drain); time.Now().Before(end); time.Sleep(streamPause) {
		if lost = st.missing(); len(lost) == 0 {
			break
		}
		if !late && lost[len(lost)-1] != st.Sent() { // the last one is there: those before it will hardly come any more
			late, end = true, time.Now().Add(moment)
		}
	}
	err = st.conn.Close()
	st.receiver.Wait()
	return st.sent.Load(), lost, err
}
