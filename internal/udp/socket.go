package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is one UDP socket. The lock keeps the file descriptor from being closed, and its number from being used for something
// else, during a system call.
type socket struct {
	mu sync.RWMutex // for writing: to close
	fd int          // -1 once closed
}

// newSocket makes a socket without an address, in blocking mode. IPv6 sockets have nothing to do with IPv4.
func newSocket(v6 bool) (*socket, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket (is the limit of open files too low?): %w", err)
	}
	if v6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return nil, fmt.Errorf("restrict a socket to IPv6: %w", errors.Join(err, unix.Close(fd)))
		}
	}
	return &socket{fd: fd}, nil
}

// takeSocket makes a socket of a file, which is closed whatever comes of it.
func takeSocket(f *os.File) (_ *socket, err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("take the socket %s over: %w", f.Name(), err)
	}
	s := &socket{fd: -1}
	var dupErr error
	err = raw.Control(func(fd uintptr) { s.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("take the socket %s over: %w", f.Name(), err)
	}
	return s, nil
}

// file is a copy of the socket, which keeps it open on its own.
func (s *socket) file() (f *os.File, err error) {
	err = s.control(func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("copy a socket (is the limit of open files too low?): %w", err)
		}
		f = os.NewFile(uintptr(dup), "udp socket")
		return nil
	})
	return f, err
}

// control calls f with the descriptor, which stays open until f returns. It is net.ErrClosed on a closed socket.
func (s *socket) control(f func(fd int) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	return f(s.fd)
}

func (s *socket) bind(local netip.AddrPort) error {
	sa, err := sockaddr(local)
	if err != nil {
		return err
	}
	return s.control(func(fd int) error { return syscall.Bind(fd, sa) })
}

// local is the address that the socket is bound to.
func (s *socket) local() (netip.AddrPort, error) { return s.name("local", syscall.Getsockname) }

// remote is the address that the socket is connected to.
func (s *socket) remote() (netip.AddrPort, error) { return s.name("remote", syscall.Getpeername) }

func (s *socket) name(which string, get func(fd int) (syscall.Sockaddr, error)) (name netip.AddrPort, err error) {
	err = s.control(func(fd int) error {
		sa, err := get(fd)
		if err != nil {
			return fmt.Errorf("%s address of a socket: %w", which, err)
		}
		if name = addrPort(sa); !name.IsValid() {
			return fmt.Errorf("%s address of a socket: it is not of IPv4 or IPv6", which)
		}
		return nil
	})
	return name, err
}

// connect makes the socket hear and address one peer only.
func (s *socket) connect(remote netip.AddrPort) error {
	sa, err := sockaddr(remote)
	if err != nil {
		return err
	}
	return s.control(func(fd int) error { return syscall.Connect(fd, sa) })
}

// send does not wait for room in the queue of what is to be sent.
func (s *socket) send(remote netip.AddrPort, payload []byte) error {
	sa, err := sockaddr(remote)
	if err != nil {
		return err
	}
	return s.control(func(fd int) error { return syscall.Sendto(fd, payload, unix.MSG_DONTWAIT, sa) })
}

// sendMessage waits for room in the queue of what is to be sent.
func (s *socket) sendMessage(remote netip.AddrPort, payload, oob []byte) error {
	sa, err := sockaddr(remote)
	if err != nil {
		return err
	}
	return s.control(func(fd int) error { return syscall.Sendmsg(fd, payload, oob, sa, 0) })
}

// receive does not wait: EAGAIN says that there is nothing.
func (s *socket) receive(b []byte) (n int, remote netip.AddrPort, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	n, from, err := syscall.Recvfrom(s.fd, b, unix.MSG_DONTWAIT)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return n, addrPort(from), nil
}

// receiveMessage is receive with control messages.
func (s *socket) receiveMessage(b, oob []byte) (n, oobn int, remote netip.AddrPort, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return 0, 0, netip.AddrPort{}, net.ErrClosed
	}
	n, oobn, _, from, err := syscall.Recvmsg(s.fd, b, oob, unix.MSG_DONTWAIT)
	if err != nil {
		return 0, 0, netip.AddrPort{}, err
	}
	return n, oobn, addrPort(from), nil
}

// close is close(2) and not shutdown(2), which would reach all copies.
func (s *socket) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}
