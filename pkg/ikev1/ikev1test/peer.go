// Package ikev1test plays a client of IKEv1 Main Mode, Aggressive Mode and Quick Mode, message by message, for tests of a responder.
//
// A [Peer] begins a [MainMode], aggressive or not, which begins [QuickMode]s. Their Message functions build what a client sends, their TakeMessage
// functions check and take what a responder answers; when to send, to repeat and to give up is the test's business. It shares
// the codec and the key derivation with the responder, but no state machine.
package ikev1test

import (
	"io"
	"net/netip"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// The vendor IDs that clients send.
var (
	VendorRFC3947       = []byte("\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f")
	VendorNATTDraft     = []byte("\x4d\xf3\x79\x28\xe9\xfc\x4f\xd1\xb3\x26\x21\x70\xd5\x15\xc6\x62") // without a number
	VendorNATT08        = []byte("\x8f\x8d\x83\x82\x6d\x24\x6b\x6f\xc7\xa8\xa6\xa4\x28\xc1\x1d\xe8")
	VendorNATT07        = []byte("\x43\x9b\x59\xf8\xba\x67\x6c\x4c\x77\x37\xae\x22\xea\xb8\xf5\x82")
	VendorNATT06        = []byte("\x4d\x1e\x0e\x13\x6d\xea\xfa\x34\xc4\xf3\xea\x9f\x02\xec\x72\x85")
	VendorNATT05        = []byte("\x80\xd0\xbb\x3d\xef\x54\x56\x5e\xe8\x46\x45\xd4\xc8\x5c\xe3\xee")
	VendorNATT04        = []byte("\x99\x09\xb6\x4e\xed\x93\x7c\x65\x73\xde\x52\xac\xe9\x52\xfa\x6b")
	VendorNATT03        = []byte("\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56")
	VendorNATT02        = []byte("\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48")
	VendorNATT00        = []byte("\x44\x85\x15\x2d\x18\xb6\xbb\xcd\x0b\xe8\xa8\x46\x95\x79\xdd\xcc")
	VendorXAUTH         = []byte("\x09\x00\x26\x89\xdf\xd6\xb7\x12")
	VendorNATT02n       = []byte("\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f")
	VendorFragmentation = []byte("\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3")
	VendorDPD           = []byte("\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00")
	VendorWindows       = []byte("\x1e\x2b\x51\x69\x05\x99\x1c\x7d\x7c\x96\xfc\xbf\xb5\x87\xe4\x61\x00\x00\x00\x09")
	VendorUnknown       = []byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17")
)

// Peer is a client's machine: where it is and how it behaves.
type Peer struct {
	Addr, Server netip.AddrPort // as the server sees them; floated to 4500 in Main Mode if there is a NAT
	Encapsulated bool
	Inner        netip.AddrPort // own address as the client sees it
	Target       netip.AddrPort // the server's address as the client sees it
	floatPort    uint16         // the NAT's port for the client's 4500

	// Forced says that the server has to pretend that there is a NAT in front of the client.
	Forced bool

	// TakesNotices says that notifications may come with message 6, and with message 2 of Quick Mode.
	TakesNotices bool

	PSK       []byte
	Rand      io.Reader
	Proposal  uint8            // number of the one proposal of phase 1
	Offer     []wire.Transform // phase 1
	VendorIDs [][]byte
	Identity  wire.ID
	NonceLen  int // octets of each nonce; 0 for 24 in Main Mode and 20 in Quick Mode

	// RefusesServerBehindNAT is Windows as it comes from the factory (error 809).
	RefusesServerBehindNAT bool

	err error // see fail
}

// NewPeer is a client at addr without a NAT, which knows psk and draws its nonces and keys from rand.
func NewPeer(addr, server netip.AddrPort, psk []byte, rand io.Reader) *Peer {
	return &Peer{
		Addr: addr, Server: server, Inner: addr, floatPort: 4500, Target: server, PSK: psk, Rand: rand,
		Proposal:  1,
		Offer:     []wire.Transform{Phase1Transform(1, 256, keymat.SHA256, dh.ECP256)},
		VendorIDs: [][]byte{VendorRFC3947, VendorFragmentation},
		Identity:  wire.AddrID(addr.Addr(), 0, 0),
	}
}

// BehindNAT moves the client behind a NAT that maps its ports 500 and 4500 to others.
func (p *Peer) BehindNAT(port500, port4500 uint16) *Peer {
	p.Inner = netip.MustParseAddrPort("192.168.0.5:500")
	p.Addr = netip.AddrPortFrom(p.Addr.Addr(), port500)
	p.floatPort = port4500
	p.Identity = wire.AddrID(p.Inner.Addr(), 0, 0)
	return p
}

// Natted says whether there is a NAT at either end, or the client is made to believe so.
func (p *Peer) Natted() bool {
	return p.Forced || p.Addr.Addr() != p.Inner.Addr() || p.Target.Addr() != p.Server.Addr()
}

// Random returns n octets.
func (p *Peer) Random(n int) []byte {
	b := make([]byte, n)
	_, err := io.ReadFull(p.Rand, b)
	p.fail(err)
	return b
}

// fail keeps the first error of building a message; what takes the next answer returns it.
func (p *Peer) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// Phase1Transform is an AES transform in the order and encoding of Windows: the lifetime as TLV.
func Phase1Transform(number uint8, bits uint16, h keymat.Hash, g dh.Group) wire.Transform {
	return wire.Transform{Number: number, ID: wire.TransformKeyIKE, Attributes: []wire.Attribute{
		wire.ShortAttribute(wire.AttrEncryption, 7), wire.ShortAttribute(wire.AttrKeyLength, bits),
		wire.ShortAttribute(wire.AttrHash, uint16(h)), wire.ShortAttribute(wire.AttrGroup, uint16(g)),
		wire.ShortAttribute(wire.AttrAuthMethod, 1), wire.ShortAttribute(wire.AttrLifeType, 1),
		wire.LongAttribute(wire.AttrLifeDuration, 28800),
	}}
}

// keyPair draws an exponent and computes the public value.
func (p *Peer) keyPair(g dh.Group) (private *dh.PrivateKey, public []byte) {
	private, err := dh.GenerateKey(g, p.Rand)
	p.fail(err)
	if err == nil {
		public, err = private.Public()
		p.fail(err)
	}
	return private, public
}

// float goes on from the NAT traversal port (RFC 3947 section 4).
func (p *Peer) float() {
	p.Addr = netip.AddrPortFrom(p.Addr.Addr(), p.floatPort)
	for _, a := range []*netip.AddrPort{&p.Server, &p.Target, &p.Inner} {
		*a = netip.AddrPortFrom(a.Addr(), 4500)
	}
	p.Encapsulated = true
}
