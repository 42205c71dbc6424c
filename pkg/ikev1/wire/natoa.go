package wire

import (
	"fmt"
	"net/netip"
)

// NATOA is a NAT-OA payload (RFC 3947 section 5.2): an address as it was before translation.
type NATOA struct {
	// Kind is PayloadNATOA or PayloadNATOADraft.
	Kind PayloadType
	Addr netip.Addr
}

// ParseNATOA reads the body of a NAT-OA payload that was found as kind.
func ParseNATOA(kind PayloadType, b []byte) (NATOA, error) {
	if len(b) < 4 {
		return NATOA{}, fmt.Errorf("NAT-OA: %d octets: %w", len(b), ErrShort)
	}
	addr, ok := netip.AddrFromSlice(b[4:])
	if want, known := addrLen(IDType(b[0])); !ok || !known || len(b)-4 != want {
		return NATOA{}, fmt.Errorf("NAT-OA: %d octets for ID type %d: %w", len(b)-4, b[0], ErrValue)
	}
	return NATOA{Kind: kind, Addr: addr}, nil
}

// Type returns n.Kind.
func (n NATOA) Type() PayloadType { return n.Kind }

// AppendBody appends the ID type and the address.
func (n NATOA) AppendBody(dst []byte) []byte {
	dst = append(dst, byte(addrIDType(n.Addr)), 0, 0, 0)
	return append(dst, n.Addr.AsSlice()...)
}
