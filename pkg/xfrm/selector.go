package xfrm

import (
	"fmt"
	"net/netip"
)

// Selector limits an SA to some packets (struct xfrm_selector). The zero value selects everything of the SA's family.
type Selector struct {
	// Src and Dst are the inner addresses; the zero Prefix is any.
	Src, Dst netip.Prefix
	// Proto is the IP protocol (17 for UDP), 0 for any.
	Proto uint8
	// A packet matches when its port equals SrcPort (DstPort) in the bits that the mask has: 0xffff is exact, 0 any.
	SrcPort, SrcPortMask uint16
	DstPort, DstPortMask uint16
	// Family is AF_INET or AF_INET6; 0 takes that of the SA.
	Family uint16
}

// put writes the selector to b, which holds zeros; family is used when the selector has none.
func (s *Selector) put(b []byte, family uint16) {
	if s.Family != 0 {
		family = s.Family
	}
	if s.Dst.IsValid() {
		putAddress(b[0:], s.Dst.Addr())
		b[42] = uint8(s.Dst.Bits())
	}
	if s.Src.IsValid() {
		putAddress(b[16:], s.Src.Addr())
		b[43] = uint8(s.Src.Bits())
	}
	network.PutUint16(b[32:], s.DstPort)
	network.PutUint16(b[34:], s.DstPortMask)
	network.PutUint16(b[36:], s.SrcPort)
	network.PutUint16(b[38:], s.SrcPortMask)
	native.PutUint16(b[40:], family)
	b[44] = s.Proto
}

// parseSelector reads sizeSelector octets. family is that of the SA and stands in for AF_UNSPEC.
func parseSelector(b []byte, family uint16) (Selector, error) {
	if f := native.Uint16(b[40:]); f != 0 {
		family = f
	}
	dst, err := address(b[0:], family)
	if err != nil {
		return Selector{}, fmt.Errorf("selector: %w", err)
	}
	src, err := address(b[16:], family)
	if err != nil {
		return Selector{}, fmt.Errorf("selector: %w", err)
	}
	s := Selector{
		Src: netip.PrefixFrom(src, int(b[43])), Dst: netip.PrefixFrom(dst, int(b[42])),
		Proto:   b[44],
		SrcPort: network.Uint16(b[36:]), SrcPortMask: network.Uint16(b[38:]),
		DstPort: network.Uint16(b[32:]), DstPortMask: network.Uint16(b[34:]),
		Family: family,
	}
	if !s.Src.IsValid() || !s.Dst.IsValid() {
		return Selector{}, fmt.Errorf("selector: prefix lengths %d and %d are too long for the family", b[43], b[42])
	}
	return s, nil
}
