package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// socket is one UDP socket of a client slot. The lock keeps the file descriptor from being closed, and its number from
// being used for something else, during a system call.
type socket struct {
	port  uint16 // the slot
	token uint64 // of the poller's registration, zero before

	mu sync.Mutex
	fd int // -1 once closed
}

// protect binds a client socket to the client's SAs. It comes before bind: the kernel has had bugs with policies that
// are set on a socket in use.
func protect(fd int, v6 bool, mark uint32) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(int32(mark))); err != nil {
		return fmt.Errorf("set the mark of a socket (CAP_NET_ADMIN is required): %w", err)
	}
	for _, dir := range []xfrm.Direction{xfrm.In, xfrm.Out} {
		if err := xfrm.SetSocketPolicy(fd, v6, dir, mark); err != nil {
			return err
		}
	}
	return nil
}

// openSocket makes a socket bound to local, which must be a unicast address. A sibling is a socket that is bound to it already.
func openSocket(local netip.AddrPort, sibling *socket, prepare func(fd int, v6 bool) error) (_ *socket, err error) {
	v6 := local.Addr().Is6()
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket (is the limit of open files too low?): %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err := setOptions(fd, v6); err != nil {
		return nil, err
	}
	if err := prepare(fd, v6); err != nil {
		return nil, err
	}
	sa, err := sockaddr(local)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: fd, port: local.Port()}
	if sibling == nil {
		err = unix.Bind(fd, sa)
	} else {
		err = s.bindBeside(sibling, sa)
	}
	if err != nil {
		return nil, fmt.Errorf("bind to %s: %w%s", local, err, clientBindHint(err))
	}
	return s, nil
}

// bindBeside binds s to the address of its sibling. The two agree to share it for the length of the call only: any process that
// could bind there too, afterwards, would receive what a client sends decrypted. SO_REUSEPORT and not SO_REUSEADDR, since the kernel
// grants it only among sockets of one user, and so to nobody else even during the call. The port is not shared in the sense of
// spreading datagrams: that takes the option at the time of reception.
func (s *socket) bindBeside(sibling *socket, sa unix.Sockaddr) (err error) {
	for _, one := range []*socket{sibling, s} {
		if err := one.share(1); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, one.share(0)) }()
	}
	return s.control(func(fd int) error { return unix.Bind(fd, sa) })
}

func (s *socket) share(on int) error {
	return s.control(func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, on); err != nil {
			return fmt.Errorf("share the port between the two sockets of a slot: %w", err)
		}
		return nil
	})
}

func clientBindHint(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return "; another program uses a port of the client block: add the block to net.ipv4.ip_local_reserved_ports"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "; no interface has this address"
	}
	return ""
}

func setOptions(fd int, v6 bool) error {
	type option struct {
		level, name int
		does        string
	}
	var options []option
	if v6 {
		// UDP over IPv6 keeps its checksums: without them peers drop it (RFC 8200 section 8.1).
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, "restrict a socket to IPv6"})
	} else {
		// ESP protects better than the checksum does.
		options = append(options, option{unix.SOL_SOCKET, unix.SO_NO_CHECK, "turn off UDP checksums"})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
			return fmt.Errorf("%s: %w", o.does, err)
		}
	}
	return setControlFilter(fd)
}

// control calls f with the descriptor, which stays open until f returns. It is net.ErrClosed on a closed socket.
func (s *socket) control(f func(fd int) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	return f(s.fd)
}

// connect makes the socket hear and address one peer only.
func (s *socket) connect(remote netip.AddrPort) error {
	sa, err := sockaddr(remote)
	if err != nil {
		return err
	}
	return s.control(func(fd int) error { return unix.Connect(fd, sa) })
}

func (s *socket) send(remote netip.AddrPort, payload []byte) error {
	sa, err := sockaddr(remote)
	if err != nil {
		return err
	}
	return s.control(func(fd int) error { return unix.Sendto(fd, payload, 0, sa) })
}

// receive does not wait: EAGAIN says that there is nothing.
func (s *socket) receive(b []byte) (int, netip.AddrPort, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	n, from, err := unix.Recvfrom(s.fd, b, 0)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return n, addrPort(from), nil
}

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
