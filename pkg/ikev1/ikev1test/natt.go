package ikev1test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// ErrServerBehindNAT is why a Windows goes no further.
var ErrServerBehindNAT = errors.New("the client refuses a server behind a NAT")

// natTVersions are the vendor IDs of NAT traversal, best first. Apple, Android and pluto send many of them; with two in the answer
// they may take the worse one.
var natTVersions = [][]byte{
	VendorRFC3947, VendorNATTDraft, VendorNATT08, VendorNATT07, VendorNATT06, VendorNATT05, VendorNATT04, VendorNATT03, VendorNATT02n,
	VendorNATT02, VendorNATT00,
}

// HasVendorID says whether one of the list begins with vid.
func HasVendorID(list [][]byte, vid []byte) bool {
	return slices.ContainsFunc(list, func(v []byte) bool { return bytes.HasPrefix(v, vid) })
}

// checkVendorIDs sees that the server answers with nothing that was not offered, and agrees to exactly one NAT traversal, to none less
// than RFC 3947 if that was offered.
func (m *MainMode) checkVendorIDs() error {
	agreed := 0
	for i, v := range m.AnsweredVendorIDs {
		switch {
		case slices.ContainsFunc(m.AnsweredVendorIDs[:i], func(before []byte) bool { return bytes.Equal(before, v) }):
			return fmt.Errorf("message 2 has the vendor ID %x twice", v)
		case bytes.HasPrefix(v, VendorFragmentation):
			if len(v) != len(VendorFragmentation)+4 || !HasVendorID(m.VendorIDs, VendorFragmentation) {
				return fmt.Errorf("message 2 has the vendor ID %x", v)
			}
		case !HasVendorID(m.VendorIDs, v):
			return fmt.Errorf("message 2 has the vendor ID %x, which was not offered", v)
		}
		if HasVendorID(natTVersions, v) {
			agreed++
		}
	}
	switch offered := HasVendorID(m.VendorIDs, VendorRFC3947); {
	case agreed > 1:
		return fmt.Errorf("message 2 agrees to %d versions of NAT traversal", agreed)
	case offered && !HasVendorID(m.AnsweredVendorIDs, VendorRFC3947):
		return errors.New("message 2 does not agree to RFC 3947")
	}
	return nil
}

// NATTraversal is the vendor ID of the NAT traversal that both sides agreed to, nil for none.
func (m *MainMode) NATTraversal() []byte {
	for _, v := range natTVersions {
		if HasVendorID(m.AnsweredVendorIDs, v) {
			return v
		}
	}
	return nil
}

func (m *MainMode) natTraversal() bool { return m.NATTraversal() != nil }

// draft says whether the two sides agreed to one of the first drafts, which have numbers of their own.
func (m *MainMode) draft() bool {
	v := m.NATTraversal()
	return bytes.Equal(v, VendorNATT03) || bytes.Equal(v, VendorNATT02n) || bytes.Equal(v, VendorNATT02)
}

func (m *MainMode) natDType() wire.PayloadType {
	if m.draft() {
		return wire.PayloadNATDDraft
	}
	return wire.PayloadNATD
}

// EncapsulationMode is the number for transport mode in Quick Mode.
func (m *MainMode) EncapsulationMode() uint16 {
	switch {
	case !m.Encapsulated:
		return 2
	case m.draft():
		return 61444
	}
	return 4
}

// natOA are the addresses of both sides as the client sees them.
func (m *MainMode) natOA() []wire.Payload {
	kind := wire.PayloadNATOA
	if m.draft() {
		kind = wire.PayloadNATOADraft
	}
	return []wire.Payload{wire.NATOA{Kind: kind, Addr: m.Inner.Addr()}, wire.NATOA{Kind: kind, Addr: m.Target.Addr()}}
}
