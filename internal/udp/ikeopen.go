package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// Ports of IKE: RFC 2408 section 2.5.1 and RFC 3947 section 4.
const (
	IKEPort    = 500
	IKENATPort = 4500
)

// ikeReceiveBuffer, in octets, holds the first messages of many clients that dial at once, as after a power failure.
const ikeReceiveBuffer = 4 << 20

// IKEConfig says where to listen for IKE.
type IKEConfig struct {
	// Addrs are the local addresses; none means all addresses of both families.
	Addrs []netip.Addr
	// Port and NATPort are IKEPort and IKENATPort when zero.
	Port, NATPort uint16
}

// IKEFile is a socket of IKE.
type IKEFile struct {
	// Local is the address, which may be the unspecified one, and the port that the socket is bound to.
	Local netip.AddrPort
	// Encapsulated says that it is a socket of the NAT port.
	Encapsulated bool
	// Initials says which of the two sockets of a port it is: that of first messages of phase 1, which anybody can send in anybody's
	// name. The other one receives all other messages, and is the one to send through.
	Initials bool
	File     *os.File
}

// OpenIKE opens the sockets of IKE: with bypass policies, so that IKE is never encrypted by anybody's IPsec policy, and on
// the NAT port with UDP encapsulation, without which the kernel decrypts no ESP in UDP. CAP_NET_ADMIN is required, and
// CAP_NET_BIND_SERVICE for ports below 1024. Without Addrs, a machine without IPv6 is served on IPv4 only.
func OpenIKE(cfg IKEConfig) ([]IKEFile, error) {
	if cfg.Port == 0 {
		cfg.Port = IKEPort
	}
	if cfg.NATPort == 0 {
		cfg.NATPort = IKENATPort
	}
	return openIKE(cfg, prepareIKE)
}

// CloseIKE closes all of the files.
func CloseIKE(files []IKEFile) error { return closeAll(files) }

func (f IKEFile) file() *os.File { return f.File }

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

// openIKE opens the sockets; port zero is one that the kernel chooses. prepare is called before bind.
func openIKE(cfg IKEConfig, prepare func(fd int, v6, encapsulated bool) error) ([]IKEFile, error) {
	addrs, wildcard := cfg.Addrs, len(cfg.Addrs) == 0
	if wildcard {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	var files []IKEFile
	for _, addr := range addrs {
		addr = addr.Unmap()
		for _, encapsulated := range []bool{false, true} {
			port := cfg.Port
			if encapsulated {
				port = cfg.NATPort
			}
			pair, err := openIKEPair(netip.AddrPortFrom(addr, port), encapsulated, prepare)
			if wildcard && addr.Is6() && noIPv6(err) {
				continue
			}
			if err != nil {
				return nil, errors.Join(err, CloseIKE(files))
			}
			files = append(files, pair...)
		}
	}
	return files, nil
}

// noIPv6 recognises a kernel without IPv6 (EAFNOSUPPORT) or with it disabled (EADDRNOTAVAIL).
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// openIKESocket opens one socket, bound to at.
func openIKESocket(at netip.AddrPort, encapsulated bool, prepare func(fd int, v6, encapsulated bool) error) (_ *socket, err error) {
	v6 := at.Addr().Is6()
	s, err := newSocket(v6)
	if err != nil {
		return nil, fmt.Errorf("listen for IKE on %s: %w", at, err)
	}
	if err = s.control(func(fd int) error { return ikeOptions(fd, v6, encapsulated, prepare) }); err == nil {
		err = s.bind(at)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for IKE on %s: %w%s", at, err, bindHint(err, at.Port())), s.close())
	}
	return s, nil
}

func ikeOptions(fd int, v6, encapsulated bool, prepare func(fd int, v6, encapsulated bool) error) error {
	if err := tellDestination(fd, v6); err != nil {
		return err
	}
	// FORCE needs CAP_NET_ADMIN; the plain one is capped by net.core.rmem_max. A smaller buffer works, too.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ikeReceiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, ikeReceiveBuffer)
	}
	return prepare(fd, v6, encapsulated)
}

// tellDestination makes the kernel say to which address a datagram was sent.
func tellDestination(fd int, v6 bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return fmt.Errorf("ask for the destination address of datagrams: %w", err)
	}
	return nil
}

// bindHint says what to do about a bind that failed, or nothing.
func bindHint(err error, port uint16) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Sprintf("; another IKE daemon (strongSwan's charon, Libreswan's pluto, racoon) usually holds this port:"+
			" find it with `ss -lunp sport = :%d` and stop and disable it", port)
	case errors.Is(err, unix.EACCES):
		return "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
	case errors.Is(err, unix.EPERM):
		return "; IPsec socket options need root or CAP_NET_ADMIN"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "; no interface has this address (yet)"
	}
	return ""
}
