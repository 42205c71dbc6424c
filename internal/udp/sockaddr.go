package udp

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// sockaddr is what the system calls take for an address and port.
func sockaddr(a netip.AddrPort) (syscall.Sockaddr, error) {
	if a.Addr().Is4() {
		return &syscall.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, nil
	}
	sa := &syscall.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	if zone := a.Addr().Zone(); zone != "" {
		index, err := strconv.ParseUint(zone, 10, 32)
		if err != nil {
			ifc, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, fmt.Errorf("zone of %s: %w", a, err)
			}
			index = uint64(ifc.Index)
		}
		sa.ZoneId = uint32(index)
	}
	return sa, nil
}

// addrPort is the reverse of sockaddr; zones are interface numbers. It is the zero AddrPort for other families.
func addrPort(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		addr := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return netip.AddrPortFrom(addr, uint16(sa.Port))
	}
	return netip.AddrPort{}
}
