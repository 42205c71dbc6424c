package udp

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// protect binds a client socket to the client's SAs. It comes before bind: the kernel has had bugs with policies that
// are set on a socket in use.
func protect(fd int, v6 bool, mark uint32) error {
	if err := setMark(fd, mark); err != nil {
		return err
	}
	// ESP protects better than the checksum does. UDP over IPv6 keeps it: without it peers drop it (RFC 8200 section 8.1).
	if !v6 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
			return fmt.Errorf("turn off UDP checksums: %w", err)
		}
	}
	for _, dir := range []xfrm.Direction{xfrm.In, xfrm.Out} {
		if err := xfrm.SetSocketPolicy(fd, v6, dir, mark); err != nil {
			return err
		}
	}
	return nil
}

func setMark(fd int, mark uint32) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(int32(mark))); err != nil {
		return fmt.Errorf("set the mark of a socket (CAP_NET_ADMIN is required): %w", err)
	}
	return nil
}

// openClientSocket makes a socket of a slot, bound to local, which must be a unicast address. A sibling is a socket that is bound
// to it already.
func openClientSocket(local netip.AddrPort, sibling *socket, prepare func(fd int, v6 bool) error) (_ *socket, err error) {
	v6 := local.Addr().Is6()
	s, err := newSocket(v6)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.control(setControlFilter); err != nil {
		return nil, err
	}
	if err := s.control(func(fd int) error { return prepare(fd, v6) }); err != nil {
		return nil, err
	}
	if sibling == nil {
		err = s.bind(local)
	} else {
		err = s.bindBeside(sibling, local)
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
func (s *socket) bindBeside(sibling *socket, local netip.AddrPort) (err error) {
	for _, one := range []*socket{sibling, s} {
		if err := one.share(1); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, one.share(0)) }()
	}
	return s.bind(local)
}

func (s *socket) share(on int) error {
	return s.control(func(fd int) error { return share(fd, on) })
}

// share lets another socket of the same user bind to the same address, or no longer.
func share(fd, on int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, on); err != nil {
		return fmt.Errorf("share a port between two sockets: %w", err)
	}
	return nil
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
