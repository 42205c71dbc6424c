package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
)

// Slot reads and sends on copies of the sockets that a Client has opened, without privileges. Closing it ends nothing but the
// copies. It is safe for concurrent use.
type Slot struct {
	local netip.AddrPort

	mu     sync.Mutex
	closed bool
	open   *slotSocket
	tunnel *slotSocket // nil without a tunnel
	poller *Poller     // nil until added
}

// slotSocket is a socket that a Poller can read.
type slotSocket struct {
	*socket
	port  uint16 // of the slot
	token uint64 // of the poller's registration, zero before
}

// NewSlot makes a Slot of a Client's files; tunnel is nil if the Client has none. The files are closed, whatever comes of it.
// Nothing is read before Poller.Add.
func NewSlot(open, tunnel *os.File) (*Slot, error) {
	local, o, t, err := takePair(open, tunnel)
	if err != nil {
		return nil, fmt.Errorf("take over the sockets of a slot: %w", err)
	}
	s := &Slot{local: local, open: &slotSocket{socket: o, port: local.Port()}}
	if t != nil {
		s.tunnel = &slotSocket{socket: t, port: local.Port()}
	}
	return s, nil
}

// Local is the address and port that the sockets are bound to; the steering rules make the port 1701 on the wire.
func (s *Slot) Local() netip.AddrPort { return s.local }

// Send sends a control message through the unconnected socket. The error is ErrNoSA while the client has no outbound SA.
func (s *Slot) Send(remote netip.AddrPort, payload []byte) error {
	if err := s.open.send(remote, payload); err != nil {
		return fmt.Errorf("send L2TP from slot %d to %s: %w", s.local.Port(), remote, explain(err))
	}
	return nil
}

// SetTunnel begins to read a copy of the Client's tunnel socket, which it closes whatever comes of it. One from before is dropped.
func (s *Slot) SetTunnel(file *os.File) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("take over the tunnel socket of slot %d: %w", s.local.Port(), err)
		}
	}()
	taken, err := takeSocket(file)
	if err != nil {
		return err
	}
	if err := checkTunnel(taken, s.local); err != nil {
		return errors.Join(err, taken.close())
	}
	t := &slotSocket{socket: taken, port: s.local.Port()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(net.ErrClosed, t.close())
	}
	if err := s.dropTunnel(); err != nil {
		return errors.Join(err, t.close())
	}
	if s.poller != nil {
		if err := s.poller.addSocket(t); err != nil {
			return errors.Join(err, t.close())
		}
	}
	s.tunnel = t
	return nil
}

// DropTunnel closes the copy of the tunnel socket, if there is one. It comes before the Client's Disconnect, or Connect to another
// peer; from then on control messages are heard on the unconnected socket.
func (s *Slot) DropTunnel() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropTunnel()
}

func (s *Slot) dropTunnel() error {
	t := s.tunnel
	s.tunnel = nil
	return s.drop(t)
}

// drop takes a socket out of the poller and then closes it: as long as there are other copies, epoll would go on to report it.
func (s *Slot) drop(one *slotSocket) error {
	if one == nil {
		return nil
	}
	if s.poller != nil {
		s.poller.removeSocket(one)
	}
	if err := one.close(); err != nil {
		return fmt.Errorf("close a socket of slot %d: %w", s.local.Port(), err)
	}
	return nil
}

// Close closes both copies. The handler of the poller may be at work with a last message meanwhile.
func (s *Slot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return errors.Join(s.dropTunnel(), s.drop(s.open))
}
