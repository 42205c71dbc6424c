package ikev1_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// The vendor IDs that clients send.
var (
	vidRFC3947       = unhex("4a131c81070358455c5728f20e95452f")
	vidNATT02n       = unhex("90cb80913ebb696e086381b5ec427b1f")
	vidFragmentation = unhex("4048b7d56ebce88525e7de7f00d6c2d3")
	vidDPD           = unhex("afcad71368a1f1c96b8696fc77570100")
	vidWindows       = unhex("1e2b516905991c7d7c96fcbfb587e46100000009")
	vidUnknown       = unhex("000102030405060708090a0b0c0d0e0f1011121314151617")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// peer is a client's machine: where it is and how it behaves.
type peer struct {
	addr, server netip.AddrPort // as the server sees them; floated to 4500 in Main Mode if there is a NAT
	encapsulated bool
	inner        netip.AddrPort // own address as the client sees it
	target       netip.AddrPort // the server's address as the client sees it
	floatPort    uint16         // the NAT's port for the client's 4500

	psk       []byte
	rand      io.Reader
	offer     []wire.Transform // phase 1
	vendorIDs [][]byte
	identity  wire.ID
}

// newPeer is a client number n without a NAT; behindNAT puts it behind one.
func newPeer(n uint64) *peer {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], n)
	outer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 500)
	return &peer{
		addr: outer, server: netip.MustParseAddrPort("203.0.113.1:500"), inner: outer, floatPort: 4500,
		target: netip.MustParseAddrPort("203.0.113.1:500"),
		psk:    []byte(goodPSK), rand: rand.NewChaCha8(seed),
		offer:     []wire.Transform{phase1Transform(1, 256, keymat.SHA256, dh.ECP256)},
		vendorIDs: [][]byte{vidRFC3947, vidFragmentation},
		identity:  wire.AddrID(outer.Addr(), 0, 0),
	}
}

// behindNAT moves the client behind a NAT that maps its ports 500 and 4500 to others.
func (p *peer) behindNAT(port500, port4500 uint16) *peer {
	p.inner = netip.MustParseAddrPort("192.168.0.5:500")
	p.addr = netip.AddrPortFrom(p.addr.Addr(), port500)
	p.floatPort = port4500
	p.identity = wire.AddrID(p.inner.Addr(), 0, 0)
	return p
}

func (p *peer) natted() bool {
	return p.addr.Addr() != p.inner.Addr() || p.target.Addr() != p.server.Addr()
}

func (p *peer) random(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(p.rand, b); err != nil {
		panic(err)
	}
	return b
}

// phase1Transform is an AES transform in the order and encoding of Windows: the lifetime as TLV.
func phase1Transform(number uint8, bits uint16, h keymat.Hash, g dh.Group) wire.Transform {
	return wire.Transform{Number: number, ID: wire.TransformKeyIKE, Attributes: []wire.Attribute{
		wire.ShortAttribute(wire.AttrEncryption, 7), wire.ShortAttribute(wire.AttrKeyLength, bits),
		wire.ShortAttribute(wire.AttrHash, uint16(h)), wire.ShortAttribute(wire.AttrGroup, uint16(g)),
		wire.ShortAttribute(wire.AttrAuthMethod, 1), wire.ShortAttribute(wire.AttrLifeType, 1),
		wire.LongAttribute(wire.AttrLifeDuration, 28800),
	}}
}

// mainMode is one Main Mode of a peer, and then its ISAKMP SA. The message functions build a new message each time: keep the
// octets to repeat one.
type mainMode struct {
	*peer
	ckyI, ckyR wire.Cookie
	sai        []byte // body of the offer
	chosen     int    // index into peer.offer
	vids       [][]byte

	hash     keymat.Hash
	bits     int
	group    dh.Group
	private  *dh.PrivateKey
	gxi, gxr []byte
	ni, nr   []byte
	keys     keymat.Keys
	cbc      keymat.CBC
	iv       []byte // of message 5, then of message 6, then the last block of phase 1
}

func (p *peer) mainMode() *mainMode {
	return &mainMode{peer: p, ckyI: wire.Cookie(p.random(8)), ni: p.random(24)}
}

func (m *mainMode) header() wire.Header {
	return wire.Header{InitiatorCookie: m.ckyI, ResponderCookie: m.ckyR, Exchange: wire.ExchangeMain}
}

func (m *mainMode) offered() *wire.SA {
	return &wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly,
		Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtocolISAKMP, Transforms: m.offer}}}
}

func (m *mainMode) message1() []byte {
	sa := m.offered()
	m.sai = sa.AppendBody(nil)
	payloads := []wire.Payload{sa}
	for _, v := range m.vendorIDs {
		payloads = append(payloads, wire.VendorID(v))
	}
	return wire.Message(m.header(), payloads...)
}

// takeMessage2 checks that one of the offered transforms came back octet for octet.
func (m *mainMode) takeMessage2(b []byte) error {
	h, payloads, err := parse(b)
	if err != nil {
		return err
	}
	if h.InitiatorCookie != m.ckyI || h.ResponderCookie == (wire.Cookie{}) || h.Exchange != wire.ExchangeMain || h.Flags != 0 || h.MessageID != 0 {
		return fmt.Errorf("message 2 has the header %+v", h)
	}
	if len(payloads) == 0 || payloads[0].Kind != wire.PayloadSA {
		return errors.New("message 2 does not begin with an SA")
	}
	m.chosen = -1
	for i, t := range m.offer {
		sa := m.offered()
		sa.Proposals[0].Transforms = []wire.Transform{t}
		if bytes.Equal(sa.AppendBody(nil), payloads[0].Body) {
			m.chosen = i
		}
	}
	if m.chosen < 0 {
		return fmt.Errorf("message 2's SA is no offered transform: %x", payloads[0].Body)
	}
	m.vids = nil
	for _, p := range payloads[1:] {
		if p.Kind != wire.PayloadVendorID { // racoon refuses anything else
			return fmt.Errorf("message 2 has a payload of type %d", p.Kind)
		}
		m.vids = append(m.vids, p.Body)
	}
	m.ckyR = h.ResponderCookie
	for _, a := range m.offer[m.chosen].Attributes {
		v, _ := a.Uint()
		switch a.Type {
		case wire.AttrKeyLength:
			m.bits = int(v)
		case wire.AttrHash:
			m.hash = keymat.Hash(v)
		case wire.AttrGroup:
			m.group = dh.Group(v)
		}
	}
	return nil
}

func (m *mainMode) message3() []byte {
	var err error
	if m.private == nil {
		if m.private, err = dh.GenerateKey(m.group, m.rand); err != nil {
			panic(err)
		}
		if m.gxi, err = m.private.Public(); err != nil {
			panic(err)
		}
	}
	payloads := []wire.Payload{wire.KE(m.gxi), wire.Nonce(m.ni)}
	if m.natTraversal() {
		payloads = append(payloads, wire.NATD(keymat.NATD(m.hash, m.ckyI, m.ckyR, m.target)),
			wire.NATD(keymat.NATD(m.hash, m.ckyI, m.ckyR, m.inner)))
	}
	return wire.Message(m.header(), payloads...)
}

// natTraversal says whether both sides support RFC 3947.
func (m *mainMode) natTraversal() bool { return hasVID(m.vids, vidRFC3947) }

func hasVID(list [][]byte, vid []byte) bool {
	return slices.ContainsFunc(list, func(v []byte) bool { return bytes.HasPrefix(v, vid) })
}

// takeMessage4 checks the NAT-D payloads and derives the keys. Behind a NAT the peer floats to port 4500.
func (m *mainMode) takeMessage4(b []byte) error {
	h, payloads, err := parse(b)
	if err != nil {
		return err
	}
	if h.InitiatorCookie != m.ckyI || h.ResponderCookie != m.ckyR || h.Exchange != wire.ExchangeMain || h.Flags != 0 || h.MessageID != 0 {
		return fmt.Errorf("message 4 has the header %+v", h)
	}
	var natd [][]byte
	m.gxr, m.nr = nil, nil
	for _, p := range payloads {
		switch p.Kind {
		case wire.PayloadKE:
			m.gxr = p.Body
		case wire.PayloadNonce:
			m.nr = p.Body
		case wire.PayloadNATD:
			natd = append(natd, p.Body)
		default:
			return fmt.Errorf("message 4 has a payload of type %d", p.Kind)
		}
	}
	if len(m.nr) < 8 {
		return fmt.Errorf("message 4 has a nonce of %d octets", len(m.nr))
	}
	if !m.natTraversal() && len(natd) != 0 || m.natTraversal() && len(natd) < 2 {
		return fmt.Errorf("message 4 has %d NAT-D payloads", len(natd))
	}
	if m.natTraversal() {
		if !bytes.Equal(natd[0], keymat.NATD(m.hash, m.ckyI, m.ckyR, m.addr)) {
			return errors.New("message 4's first NAT-D is not the client's address and port")
		}
		if !bytes.Equal(natd[1], keymat.NATD(m.hash, m.ckyI, m.ckyR, m.server)) {
			return errors.New("message 4's second NAT-D is not the server's address and port")
		}
	}
	_, gxy, err := m.private.Exchange(m.gxr)
	if err != nil {
		return err
	}
	skeyid := keymat.SKEYIDFromPSK(m.hash, m.psk, m.ni, m.nr)
	m.keys = keymat.Derive(m.hash, skeyid, gxy, m.ckyI, m.ckyR)
	if m.cbc, err = keymat.NewCBC(keymat.CipherKey(m.hash, m.keys.SKEYIDe, m.bits/8)); err != nil {
		return err
	}
	m.iv = keymat.Phase1IV(m.hash, m.gxi, m.gxr)
	if m.natTraversal() && m.natted() && !m.encapsulated {
		m.float()
	}
	return nil
}

func (p *peer) float() {
	p.addr = netip.AddrPortFrom(p.addr.Addr(), p.floatPort)
	p.server = netip.AddrPortFrom(p.server.Addr(), 4500)
	p.encapsulated = true
}

// message5 advances the chain of IVs.
func (m *mainMode) message5(extra ...wire.Payload) []byte {
	body := m.identity.AppendBody(nil)
	hash := keymat.HashI(m.hash, m.keys.SKEYID, m.gxi, m.gxr, m.ckyI, m.ckyR, m.sai, body)
	payloads := append([]wire.Payload{m.identity, wire.Hash(hash)}, extra...)
	sealed, next, err := m.cbc.Encrypt(m.iv, wire.AppendChain(nil, payloads...))
	if err != nil {
		panic(err)
	}
	m.iv = next
	return wire.Sealed(m.header(), wire.PayloadID, sealed)
}

func (m *mainMode) takeMessage6(b []byte) error {
	h, err := wire.ParseHeader(b)
	if err != nil {
		return err
	}
	if h.InitiatorCookie != m.ckyI || h.ResponderCookie != m.ckyR || h.Exchange != wire.ExchangeMain || h.Flags != wire.FlagEncryption || h.MessageID != 0 {
		return fmt.Errorf("message 6 has the header %+v", h)
	}
	plain, next, err := m.cbc.Decrypt(m.iv, b[wire.HeaderLen:])
	if err != nil {
		return err
	}
	payloads, _, err := wire.ParseChain(h.NextPayload, plain)
	if err != nil {
		return err
	}
	if len(payloads) != 2 || payloads[0].Kind != wire.PayloadID || payloads[1].Kind != wire.PayloadHash {
		return fmt.Errorf("message 6 has the payloads %v", kinds(payloads))
	}
	if want := keymat.HashR(m.hash, m.keys.SKEYID, m.gxi, m.gxr, m.ckyI, m.ckyR, m.sai, payloads[0].Body); !bytes.Equal(want, payloads[1].Body) {
		return errors.New("message 6 does not authenticate the server")
	}
	id, err := wire.ParseID(payloads[0].Body)
	if a, ok := id.Addr(); err != nil || !ok || a != m.server.Addr() {
		return fmt.Errorf("message 6 names the server %v, %v", id, err)
	}
	m.iv = next
	return nil
}

// parse splits a message in the clear.
func parse(b []byte) (wire.Header, []wire.Raw, error) {
	h, err := wire.ParseHeader(b)
	if err != nil {
		return h, nil, err
	}
	payloads, n, err := wire.ParseChain(h.NextPayload, b[wire.HeaderLen:h.Length])
	if err == nil && n != len(b)-wire.HeaderLen {
		err = errors.New("octets after the last payload")
	}
	return h, payloads, err
}

func kinds(payloads []wire.Raw) []wire.PayloadType {
	var list []wire.PayloadType
	for _, p := range payloads {
		list = append(list, p.Kind)
	}
	return list
}
