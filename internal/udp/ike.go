package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// Ports of IKE: RFC 2408 section 2.5.1 and RFC 3947 section 4.
const (
	IKEPort    = 500
	IKENATPort = 4500
)

// IKEConfig says where to listen for IKE.
type IKEConfig struct {
	// Addrs are the local addresses; none means all addresses of both families.
	Addrs []netip.Addr
	// Port and NATPort are IKEPort and IKENATPort when zero.
	Port, NATPort uint16
}

// IKE is the set of IKE sockets. It is safe for concurrent use.
type IKE struct {
	sockets []*ikeSocket
	route   map[ikeKey]*ikeSocket
}

// ikeKey finds the socket to send through. Wildcard sockets have the unspecified address.
type ikeKey struct {
	addr         netip.Addr
	encapsulated bool
}

// ListenIKE opens the sockets: with bypass policies, so that IKE is never encrypted by anybody's IPsec policy, and on
// the NAT port with UDP encapsulation, without which the kernel decrypts no ESP in UDP. CAP_NET_ADMIN is required, and
// CAP_NET_BIND_SERVICE for ports below 1024. Without Addrs, a machine without IPv6 is served on IPv4 only.
func ListenIKE(cfg IKEConfig) (*IKE, error) {
	if cfg.Port == 0 {
		cfg.Port = IKEPort
	}
	if cfg.NATPort == 0 {
		cfg.NATPort = IKENATPort
	}
	return listenIKE(cfg, prepareIKE)
}

// prepareIKE sets the options of an IKE socket that need a kernel with XFRM.
func prepareIKE(fd int, v6, encapsulated bool) error {
	if err := xfrm.SetSocketBypass(fd, v6); err != nil {
		return err
	}
	if !encapsulated {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_ENCAP, unix.UDP_ENCAP_ESPINUDP); err != nil {
		return fmt.Errorf("set UDP encapsulation of ESP (are the modules esp4, esp6 and xfrm_user loaded?): %w", err)
	}
	// Linux 6.7 and newer: ESP in UDP goes through GRO and past the decryption work queue. Nothing is lost without it.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	return nil
}

// listenIKE opens the sockets; port zero is one that the kernel chooses. prepare is called before bind.
func listenIKE(cfg IKEConfig, prepare func(fd int, v6, encapsulated bool) error) (*IKE, error) {
	addrs, wildcard := cfg.Addrs, len(cfg.Addrs) == 0
	if wildcard {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	e := &IKE{route: make(map[ikeKey]*ikeSocket)}
	for _, addr := range addrs {
		addr = addr.Unmap()
		for _, encapsulated := range []bool{false, true} {
			port := cfg.Port
			if encapsulated {
				port = cfg.NATPort
			}
			pair, err := listenIKEPair(netip.AddrPortFrom(addr, port), encapsulated, prepare)
			if wildcard && addr.Is6() && noIPv6(err) {
				continue
			}
			if err != nil {
				return nil, errors.Join(err, e.Close())
			}
			e.sockets = append(e.sockets, pair...)
			e.route[ikeKey{addr, encapsulated}] = pair[others]
		}
	}
	return e, nil
}

// noIPv6 recognises a kernel without IPv6 (EAFNOSUPPORT) or with it disabled (EADDRNOTAVAIL).
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// LocalAddrs are the addresses and ports that are listened on, those of the NAT port included.
func (e *IKE) LocalAddrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range e.sockets {
		if !slices.Contains(out, s.local) {
			out = append(out, s.local)
		}
	}
	return out
}

// Run reads all sockets and calls handle for each IKE message, from one goroutine for each socket, until Close, for
// which it returns nil. Run it once.
func (e *IKE) Run(handle func(Datagram)) error {
	var group errgroup.Group
	for _, s := range e.sockets {
		group.Go(func() error {
			err := s.read(handle)
			if err != nil {
				_ = e.Close() // so that the others end, too
			}
			return err
		})
	}
	return group.Wait()
}

// Send sends an IKE message from d.Local to d.Remote. The port in d.Local is not looked at: d.Encapsulated chooses it.
func (e *IKE) Send(d Datagram) error {
	s := e.route[ikeKey{d.Local.Addr(), d.Encapsulated}]
	if s == nil {
		s = e.route[ikeKey{unspecified(d.Local.Addr()), d.Encapsulated}]
	}
	if s == nil {
		return fmt.Errorf("send IKE to %s: no socket listens on %s", d.Remote, d.Local.Addr())
	}
	if err := s.send(d); err != nil {
		return fmt.Errorf("send IKE from %s to %s: %w", d.Local, d.Remote, err)
	}
	return nil
}

// Dropped is the number of datagrams that were not handed over: too short for IKE, without a marker on the NAT port, or from or to an
// address that cannot be answered from or to. NAT keepalives are not counted.
func (e *IKE) Dropped() uint64 {
	var n uint64
	for _, s := range e.sockets {
		n += s.dropped.Load()
	}
	return n
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// Close closes the sockets and ends Run. Without the socket of the NAT port the kernel receives no more ESP in UDP.
func (e *IKE) Close() error {
	var errs []error
	for _, s := range e.sockets {
		if err := s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
