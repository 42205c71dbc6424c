package udp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// readsPerEvent bounds how long one busy socket may keep the others waiting; epoll reports it again.
	readsPerEvent = 16
	eventsPerWait = 256
	// wakeToken is the registration of the eventfd; those of sockets count from 1.
	wakeToken = 0
)

// Handler takes a control message of a client. slot is the port of the slot, which names the client; payload belongs to
// the handler. It is called from the poller's goroutine and must not wait for it (Poller.Close). It may block: the sockets' queues in
// the kernel then hold what comes, each for its own client, and the kernel drops what they have no room for.
type Handler func(slot uint16, remote netip.AddrPort, payload []byte)

// Poller reads the sockets of all slots from one goroutine. It is safe for concurrent use.
type Poller struct {
	handle Handler
	epoll  int
	wake   int // eventfd that ends the loop
	done   chan struct{}

	dropped atomic.Uint64

	mu      sync.Mutex
	closed  bool
	last    uint64                 // token of the latest registration; tokens, unlike descriptors, are not used twice
	sockets map[uint64]*slotSocket // by token
}

// NewPoller starts the goroutine. Close ends it.
func NewPoller(handle Handler) (*Poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll instance: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create an eventfd: %w", err)
	}
	p := &Poller{handle: handle, epoll: epoll, wake: wake, done: make(chan struct{}), sockets: make(map[uint64]*slotSocket)}
	if err := p.register(wake, wakeToken); err != nil {
		_ = unix.Close(wake)
		_ = unix.Close(epoll)
		return nil, err
	}
	go p.loop()
	return p, nil
}

// Add begins to read the sockets of a slot, those that SetTunnel brings later included. A slot can be added once.
func (p *Poller) Add(s *Slot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poller != nil {
		return fmt.Errorf("slot %d is read already", s.local.Port())
	}
	for _, one := range []*slotSocket{s.open, s.tunnel} {
		if one == nil {
			continue
		}
		if err := p.addSocket(one); err != nil {
			p.removeSocket(s.open)
			return err
		}
	}
	s.poller = p
	return nil
}

// Remove ends reading the sockets of a slot without closing them. The handler may be at work with a last message; Remove does not
// wait for it.
func (p *Poller) Remove(s *Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poller != p {
		return
	}
	s.poller = nil
	p.removeSocket(s.open)
	if s.tunnel != nil {
		p.removeSocket(s.tunnel)
	}
}

// Dropped is the number of datagrams that were read and not handed over: empty ones, and those from port 0.
func (p *Poller) Dropped() uint64 { return p.dropped.Load() }

// Close ends the goroutine and waits for it, and so for a handler that is at work: it must not be called from the handler, which is
// not called again. Slots stay open.
func (p *Poller) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.done
		return nil
	}
	p.closed = true
	_, err := unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 1}) // any number but 0 and ^0, in either byte order
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("wake the poller: %w", err)
	}
	<-p.done
	return errors.Join(unix.Close(p.epoll), unix.Close(p.wake))
}

func (p *Poller) addSocket(s *slotSocket) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("the poller of client sockets is closed")
	}
	p.last++
	if err := s.control(func(fd int) error { return p.register(fd, p.last) }); err != nil {
		return err
	}
	s.token = p.last
	p.sockets[s.token] = s
	return nil
}

func (p *Poller) register(fd int, token uint64) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("add a socket to epoll: %w", err)
	}
	return nil
}

func (p *Poller) removeSocket(s *slotSocket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sockets[s.token] != s {
		return
	}
	delete(p.sockets, s.token)
	if !p.closed {
		// It fails only for a socket that is not there.
		_ = s.control(func(fd int) error { return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) })
	}
}

// loop is the poller's goroutine; it alone calls the handler.
func (p *Poller) loop() {
	defer close(p.done)
	events := make([]unix.EpollEvent, eventsPerWait)
	buffer := make([]byte, 1<<16)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // the descriptor is ours alone and valid until this goroutine ends
		}
		for _, e := range events[:max(n, 0)] {
			token := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if token == wakeToken {
				return
			}
			p.read(token, e.Events, buffer)
		}
	}
}

// registered returns the socket of a token, or nil if it is not, or not any more, to be read.
func (p *Poller) registered(token uint64) *slotSocket {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	return p.sockets[token]
}

// read hands over what a socket has, up to a bound.
func (p *Poller) read(token uint64, events uint32, buffer []byte) {
	for range readsPerEvent {
		s := p.registered(token) // it may go away at any time, such as while the handler was at work
		if s == nil {
			return
		}
		n, remote, err := s.receive(buffer)
		switch {
		case err == nil && n > 0 && remote.IsValid() && remote.Port() != 0:
			p.handle(s.port, remote, bytes.Clone(buffer[:n]))
		case err == nil:
			p.dropped.Add(1)
		case errors.Is(err, unix.EAGAIN):
			// A socket that was shut down is reported for ever and has nothing to say.
			if events&unix.EPOLLHUP != 0 {
				p.removeSocket(s)
			}
			return
		case errors.Is(err, net.ErrClosed):
			return
		}
		// Other errors are what ICMP told about something sent earlier. Reading has cleared them; the retransmission
		// of L2TP deals with the loss.
	}
}
