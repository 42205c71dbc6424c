package udp

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxReadFailures in a row end the reading of an IKE socket.
const maxReadFailures = 100

// ikeSocket is a copy of a socket of IKE.
type ikeSocket struct {
	*socket
	at           netip.AddrPort
	encapsulated bool
	arrival      *os.File // readable when the socket is; closing it ends the reading
	closed       atomic.Bool
	dropped      atomic.Uint64
}

// newIKESocket makes an ikeSocket of a file, which is closed whatever comes of it.
func newIKESocket(f IKEFile) (_ *ikeSocket, err error) {
	taken, err := takeSocket(f.File)
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
	if at != f.Local {
		return nil, fmt.Errorf("a socket is bound to %s and not to %s", at, f.Local)
	}
	arrival, err := newArrival(taken)
	if err != nil {
		return nil, err
	}
	return &ikeSocket{socket: taken, at: at, encapsulated: f.Encapsulated, arrival: arrival}, nil
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
	return os.NewFile(uintptr(epoll), "epoll of IKE"), nil
}

// read hands IKE messages over until the socket is closed, for which it returns nil.
func (s *ikeSocket) read(handle func(Datagram)) error {
	arrival, err := s.arrival.SyscallConn()
	if err != nil {
		if s.closed.Load() {
			return nil
		}
		return fmt.Errorf("receive IKE on %s: %w", s.at, err)
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
				return fmt.Errorf("receive IKE on %s: %w", s.at, err)
			}
			continue
		}
		failures = 0
		s.take(buffer[:n], oob[:oobn], remote, handle)
	}
}

// take hands over the IKE messages in what recvmsg has returned, as copies.
func (s *ikeSocket) take(b, oob []byte, remote netip.AddrPort, handle func(Datagram)) {
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
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	for _, one := range split(b, c.segment) {
		message, runt := ikeMessage(one, s.encapsulated)
		switch {
		case runt:
			s.dropped.Add(1)
		case message != nil:
			handle(Datagram{Local: local, Remote: remote, Encapsulated: s.encapsulated, Payload: bytes.Clone(message)})
		}
	}
}

func (s *ikeSocket) send(d Datagram) error {
	message := d.Payload
	if s.encapsulated && !isKeepalive(message) {
		message = append(nonESPMarker[:len(nonESPMarker):len(nonESPMarker)], message...)
	}
	var oob []byte
	if s.at.Addr().IsUnspecified() && d.Local.Addr().IsValid() {
		oob = fromAddress(d.Local.Addr())
	}
	return s.sendMessage(d.Remote, message, oob)
}

// close ends the reading and closes the socket.
func (s *ikeSocket) close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return errors.Join(s.arrival.Close(), s.socket.close())
}
