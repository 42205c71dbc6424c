package udp

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// controlSize has room for IP_PKTINFO or IPV6_PKTINFO and UDP_GRO.
var controlSize = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(4)

// ancillary is what the kernel tells about a received datagram.
type ancillary struct {
	local   netip.Addr // zero when not told
	segment int        // size of each datagram when UDP_GRO has put several into one, else zero
}

// parseControl reads the control messages of recvmsg. What is malformed or unknown is passed over.
func parseControl(oob []byte) ancillary {
	var c ancillary
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return c
		}
		oob = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// ipi_addr, the destination in the header; ipi_spec_dst would be another address for a broadcast.
			c.local = netip.AddrFrom4([4]byte(data[8:12]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			c.local = netip.AddrFrom16([16]byte(data[:16]))
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			c.segment = int(int32(binary.NativeEndian.Uint32(data)))
		}
	}
	return c
}

// fromAddress is the control message that makes a datagram leave from local. The interface stays the routing's choice.
func fromAddress(local netip.Addr) []byte {
	if local.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: local.As16()})
}

// split cuts what UDP_GRO has joined. size zero means one datagram.
func split(b []byte, size int) [][]byte {
	if size <= 0 || size >= len(b) {
		return [][]byte{b}
	}
	var out [][]byte
	for len(b) > size {
		out = append(out, b[:size])
		b = b[size:]
	}
	return append(out, b)
}
