package udp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxReadFailures in a row end the reading of a serviceSocket.
const maxReadFailures = 100

// serviceSocket is a copy of a socket at a well-known port, which hears everybody.
type serviceSocket struct {
	*socket
	at      netip.AddrPort
	arrival *os.File // readable when the socket is; closing it ends the reading
	closed  atomic.Bool
	dropped atomic.Uint64
}

// newServiceSocket makes a serviceSocket of a file, which is closed whatever comes of it. It must be bound to at.
func newServiceSocket(file *os.File, want netip.AddrPort) (_ *serviceSocket, err error) {
	taken, err := takeSocket(file)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, taken.close())
		}
	}()
	at, err := taken.local()
	if err != nil {
		return nil, err
	}
	if at != want {
		return nil, fmt.Errorf("a socket is bound to %s and not to %s", at, want)
	}
	arrival, err := newArrival(taken)
	if err != nil {
		return nil, err
	}
	return &serviceSocket{socket: taken, at: at, arrival: arrival}, nil
}

// newArrival is an epoll instance around a socket. Waiting for it neither needs the socket in non-blocking mode, as the Go runtime
// would, nor a thread, and ends when it is closed, whoever else has copies of the socket.
func newArrival(s *socket) (*os.File, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll instance: %w", err)
	}
	err = s.control(func(fd int) error {
		return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})
	})
	if err = errors.Join(err, unix.SetNonblock(epoll, true)); err != nil {
		return nil, fmt.Errorf("add a socket to epoll: %w", errors.Join(err, unix.Close(epoll)))
	}
	return os.NewFile(uintptr(epoll), "epoll of a socket"), nil
}

// read hands over what arrives until the socket is closed, for which it returns nil. The payload is only valid during the call; UDP_GRO has
// joined datagrams of the size segment in it, unless that is zero.
func (s *serviceSocket) read(handle func(d Datagram, segment int)) error {
	arrival, err := s.arrival.SyscallConn()
	if err != nil {
		if s.closed.Load() {
			return nil
		}
		return err
	}
	buffer := make([]byte, 1<<16) // the largest that UDP, and UDP_GRO, can give
	oob := make([]byte, controlSize)
	var n, oobn int
	var remote netip.AddrPort
	receive := func(uintptr) (done bool) {
		n, oobn, remote, err = s.receiveMessage(buffer, oob)
		return !errors.Is(err, unix.EAGAIN)
	}
	failures := 0
	for {
		waitErr := arrival.Read(receive)
		if s.closed.Load() {
			return nil
		}
		if err := cmp.Or(waitErr, err); err != nil {
			// A shortage of memory or an interface that goes down passes; what repeats itself does not.
			if failures++; failures == maxReadFailures {
				return err
			}
			continue
		}
		failures = 0
		s.take(buffer[:n], oob[:oobn], remote, handle)
	}
}

// take hands over what recvmsg has returned, if it can be answered.
func (s *serviceSocket) take(b, oob []byte, remote netip.AddrPort, handle func(Datagram, int)) {
	c := parseControl(oob)
	local := s.at
	if c.local.IsValid() {
		local = netip.AddrPortFrom(c.local, s.at.Port())
	}
	// Nothing can be answered from a multicast or broadcast address, or sent to port 0.
	if remote.Port() == 0 || local.Addr().IsMulticast() || local.Addr().IsUnspecified() ||
		local.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		s.dropped.Add(1)
		return
	}
	handle(Datagram{Local: local, Remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()), Payload: b}, c.segment)
}

func (s *serviceSocket) address() netip.AddrPort { return s.at }

func (s *serviceSocket) missed() uint64 { return s.dropped.Load() }

// close ends the reading and closes the socket.
func (s *serviceSocket) close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return errors.Join(s.arrival.Close(), s.socket.close())
}
