package ikev1test

import (
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Kind is one kind of client as it comes from the factory, with a pre-shared key: what it puts on the wire, octet for octet where that
// is known, and its habits.
type Kind struct {
	Name string

	// Likely is what a responder can take it for.
	Likely string

	VendorIDs [][]byte // in the order of message 1
	Nonce     int      // octets of its nonces

	// Proposal is the number of the one proposal of phase 1, Offer its transforms.
	Proposal uint8
	Offer    []wire.Transform

	// ESP is the offer of Quick Mode in one of the encapsulation modes, without SPIs. PFS is the group that it asks for, 0 for none.
	ESP func(mode uint16) []wire.Proposal
	PFS dh.Group

	Counts  bool   // Quick Modes of an ISAKMP SA have the message IDs 1, 2, 3, otherwise random ones
	Port    uint16 // of IDci; 0 stands for any
	Natted  NATHabit
	Contact ContactHabit
	Deletes DeleteHabit

	// Pauses are those before it sends an unanswered message 1 again.
	Pauses []time.Duration

	// RefusesServerBehindNAT is Windows without its registry value (error 809).
	RefusesServerBehindNAT bool
}

// NATHabit is what a client does in Quick Mode when there is a NAT.
type NATHabit uint8

// The habits behind a NAT.
const (
	TwoNATOA NATHabit = iota // sends both original addresses (RFC 3947 section 5.2)
	NoNATOA                  // sends none
	XPHabit                  // sends two that say nothing, and leaves IDci out
)

// ContactHabit is how a client says that it has lost what it knew before.
type ContactHabit uint8

// The habits of INITIAL-CONTACT.
const (
	NoContact         ContactHabit = iota
	ContactInMessage5              // at its end
	ContactAfterwards              // in an Informational exchange beside the first Quick Mode
)

// DeleteHabit is how a client says that it goes.
type DeleteHabit uint8

// The habits of hanging up.
const (
	ESPThenISAKMP DeleteHabit = iota // in one exchange each
	NoDelete
)

// Kinds are all of them.
func Kinds() []*Kind {
	return append(windowsKinds(), append(appleKinds(), append(androidKinds(), append(linuxKinds(), routerKinds()...)...)...)...)
}

// Peer is a client of this kind at addr without a NAT.
func (k *Kind) Peer(addr, server netip.AddrPort, psk []byte, rand io.Reader) *Peer {
	p := NewPeer(addr, server, psk, rand)
	p.VendorIDs, p.NonceLen, p.Proposal, p.Offer = k.VendorIDs, k.Nonce, k.Proposal, k.Offer
	p.RefusesServerBehindNAT = k.RefusesServerBehindNAT
	return p
}

// Message5 is the last message of the client's Main Mode; first says that it is not there to replace an ISAKMP SA.
func (k *Kind) Message5(m *MainMode, first bool) []byte {
	if first && k.Contact == ContactInMessage5 {
		return m.Message5(m.InitialContact())
	}
	return m.Message5()
}

// QuickMode is the n-th Quick Mode of an ISAKMP SA, counted from 1.
func (k *Kind) QuickMode(m *MainMode, n uint32, adjust ...func(*QuickMode)) *QuickMode {
	if !k.Counts {
		n = binary.BigEndian.Uint32(m.Random(4)) | 1
	}
	return m.QuickMode(n, append([]func(*QuickMode){func(q *QuickMode) {
		q.PFS = k.PFS
		q.Proposals = k.ESP(m.EncapsulationMode())
		for i := range q.Proposals {
			q.Proposals[i].SPI = binary.BigEndian.AppendUint32(nil, q.Ours)
		}
		q.IDci = wire.AddrID(m.Inner.Addr(), 17, k.Port)
		switch {
		case k.Natted == NoNATOA:
			q.NATOA = nil
		case k.Natted == XPHabit && m.Encapsulated:
			q.IDci = nil
			for i, oa := range q.NATOA {
				q.NATOA[i] = wire.NATOA{Kind: oa.Type(), Addr: netip.IPv4Unspecified()}
			}
		}
	}}, adjust...)...)
}

// suite is one transform of phase 1: cipher, octets of key in bits, hash, group.
type suite struct {
	cipher keymat.Cipher
	bits   uint16
	hash   keymat.Hash
	group  dh.Group
}

// What clients offer and nobody should take.
const (
	cipherDES keymat.Cipher = 1
	hashMD5   keymat.Hash   = 1
	modp768   dh.Group      = 1
)

// part is one attribute of a transform, or the pair that makes a lifetime.
type part func(s suite, life uint32) []wire.Attribute

func short(kind, value uint16) []wire.Attribute {
	return []wire.Attribute{wire.ShortAttribute(kind, value)}
}

func cipherPart(s suite, _ uint32) []wire.Attribute {
	return short(wire.AttrEncryption, uint16(s.cipher))
}
func hashPart(s suite, _ uint32) []wire.Attribute  { return short(wire.AttrHash, uint16(s.hash)) }
func groupPart(s suite, _ uint32) []wire.Attribute { return short(wire.AttrGroup, uint16(s.group)) }
func pskPart(suite, uint32) []wire.Attribute       { return short(wire.AttrAuthMethod, 1) }

func keyPart(s suite, _ uint32) []wire.Attribute {
	if s.bits == 0 {
		return nil
	}
	return short(wire.AttrKeyLength, s.bits)
}

func lifePart(_ suite, life uint32) []wire.Attribute {
	return seconds(wire.AttrLifeType, wire.AttrLifeDuration, life)
}

func longLifePart(_ suite, life uint32) []wire.Attribute {
	return append(short(wire.AttrLifeType, 1), wire.LongAttribute(wire.AttrLifeDuration, life))
}

// seconds is a lifetime in the short form if it fits.
func seconds(kind, duration uint16, life uint32) []wire.Attribute {
	if life > 0xffff {
		return append(short(kind, 1), wire.LongAttribute(duration, life))
	}
	return append(short(kind, 1), wire.ShortAttribute(duration, uint16(life)))
}

// The orders of attributes in phase 1.
var (
	windowsOrder = []part{cipherPart, keyPart, hashPart, groupPart, pskPart, longLifePart}
	racoonOrder  = []part{lifePart, cipherPart, keyPart, pskPart, hashPart, groupPart}
	charonOrder  = []part{cipherPart, keyPart, hashPart, groupPart, pskPart, lifePart}
	plutoOrder   = []part{lifePart, cipherPart, hashPart, pskPart, groupPart, keyPart}
)

// transforms builds an offer of phase 1, numbered from first.
func transforms(first uint8, order []part, life uint32, suites ...suite) []wire.Transform {
	var list []wire.Transform
	for i, s := range suites {
		t := wire.Transform{Number: first + uint8(i), ID: wire.TransformKeyIKE}
		for _, p := range order {
			t.Attributes = append(t.Attributes, p(s, life)...)
		}
		list = append(list, t)
	}
	return list
}
