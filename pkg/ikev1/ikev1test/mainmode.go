package ikev1test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// MainMode is one Main Mode of a peer, or an Aggressive Mode, and then its ISAKMP SA. The message functions build a new message each time: keep the
// octets to repeat one.
type MainMode struct {
	*Peer
	exchange          wire.ExchangeType
	CookieI, CookieR  wire.Cookie
	sai               []byte // body of the offer
	Chosen            int    // index into peer.offer
	AnsweredVendorIDs [][]byte

	Cipher         keymat.Cipher
	Hash           keymat.Hash
	Bits           int
	group          dh.Group
	private        *dh.PrivateKey
	GXI, GXR       []byte
	NonceI, NonceR []byte
	Keys           keymat.Keys
	CBC            keymat.CBC
	IV             []byte              // of message 5, then of message 6, then the last block of phase 1
	Notified       []wire.Notification // of message 6
}

// MainMode begins a Main Mode with a new cookie and nonce.
func (p *Peer) MainMode() *MainMode {
	return &MainMode{Peer: p, exchange: wire.ExchangeMain, CookieI: wire.Cookie(p.Random(8)), NonceI: p.Random(cmp.Or(p.NonceLen, 24))}
}

// Header is that of a phase 1 message in the clear.
func (m *MainMode) Header() wire.Header {
	return wire.Header{InitiatorCookie: m.CookieI, ResponderCookie: m.CookieR, Exchange: m.exchange}
}

func (m *MainMode) offered() *wire.SA {
	return &wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly,
		Proposals: []wire.Proposal{{Number: m.Proposal, Protocol: wire.ProtocolISAKMP, Transforms: m.Offer}}}
}

// Message1 offers the peer's transforms.
func (m *MainMode) Message1() []byte {
	sa := m.offered()
	m.sai = sa.AppendBody(nil)
	payloads := []wire.Payload{sa}
	for _, v := range m.VendorIDs {
		payloads = append(payloads, wire.VendorID(v))
	}
	return wire.Message(m.Header(), payloads...)
}

// TakeMessage2 checks that one of the offered transforms came back octet for octet.
func (m *MainMode) TakeMessage2(b []byte) error {
	h, payloads, err := Parse(b)
	if err := errors.Join(m.err, err); err != nil {
		return err
	}
	if h.InitiatorCookie != m.CookieI || h.ResponderCookie == (wire.Cookie{}) || h.Exchange != wire.ExchangeMain || h.Flags != 0 || h.MessageID != 0 {
		return fmt.Errorf("message 2 has the header %+v", h)
	}
	if len(payloads) == 0 || payloads[0].Kind != wire.PayloadSA {
		return errors.New("message 2 does not begin with an SA")
	}
	if err := m.takeChoice(payloads[0].Body); err != nil {
		return err
	}
	m.AnsweredVendorIDs = nil
	for _, p := range payloads[1:] {
		if p.Kind != wire.PayloadVendorID { // racoon refuses anything else
			return fmt.Errorf("message 2 has a payload of type %d", p.Kind)
		}
		m.AnsweredVendorIDs = append(m.AnsweredVendorIDs, p.Body)
	}
	if err := m.checkVendorIDs(); err != nil {
		return err
	}
	m.CookieR = h.ResponderCookie
	return nil
}

// takeChoice finds out which of the offered transforms came back.
func (m *MainMode) takeChoice(body []byte) error {
	m.Chosen = -1
	for i, t := range m.Offer {
		sa := m.offered()
		sa.Proposals[0].Transforms = []wire.Transform{t}
		if bytes.Equal(sa.AppendBody(nil), body) {
			m.Chosen = i
		}
	}
	if m.Chosen < 0 {
		return fmt.Errorf("message 2's SA is no offered transform: %x", body)
	}
	m.Cipher, m.Bits = keymat.AES, 0
	for _, a := range m.Offer[m.Chosen].Attributes {
		v, _ := a.Uint()
		switch a.Type {
		case wire.AttrEncryption:
			m.Cipher = keymat.Cipher(v)
		case wire.AttrKeyLength:
			m.Bits = int(v)
		case wire.AttrHash:
			m.Hash = keymat.Hash(v)
		case wire.AttrGroup:
			m.group = dh.Group(v)
		}
	}
	return nil
}

// Message3 has the public value and nonce, and NAT-D payloads if both sides support NAT traversal.
func (m *MainMode) Message3() []byte {
	if m.private == nil {
		m.private, m.GXI = m.keyPair(m.group)
	}
	payloads := []wire.Payload{wire.KE(m.GXI), wire.Nonce(m.NonceI)}
	return wire.Message(m.Header(), append(payloads, m.natD(m.Inner, m.Target)...)...)
}

// natD are the NAT-D payloads for what the client takes for its own and for the server's address, if both sides support NAT traversal.
func (m *MainMode) natD(own, server netip.AddrPort) []wire.Payload {
	if !m.natTraversal() {
		return nil
	}
	var list []wire.Payload
	for _, a := range []netip.AddrPort{server, own} {
		list = append(list, wire.Raw{Kind: m.natDType(), Body: keymat.NATD(m.Hash, m.CookieI, m.CookieR, a)})
	}
	return list
}

// TakeMessage4 checks the NAT-D payloads and derives the keys. Behind a NAT the peer floats to port 4500.
func (m *MainMode) TakeMessage4(b []byte) error {
	h, payloads, err := Parse(b)
	if err := errors.Join(m.err, err); err != nil {
		return err
	}
	if h.InitiatorCookie != m.CookieI || h.ResponderCookie != m.CookieR || h.Exchange != wire.ExchangeMain || h.Flags != 0 || h.MessageID != 0 {
		return fmt.Errorf("message 4 has the header %+v", h)
	}
	var natd [][]byte
	m.GXR, m.NonceR = nil, nil
	for _, p := range payloads {
		switch p.Kind {
		case wire.PayloadKE:
			m.GXR = p.Body
		case wire.PayloadNonce:
			m.NonceR = p.Body
		case m.natDType():
			natd = append(natd, p.Body)
		default:
			return fmt.Errorf("message 4 has a payload of type %d", p.Kind)
		}
	}
	if len(m.NonceR) < 8 {
		return fmt.Errorf("message 4 has a nonce of %d octets", len(m.NonceR))
	}
	if err := errors.Join(m.checkNATD(natd), m.derive()); err != nil {
		return err
	}
	if m.natTraversal() && m.Natted() && !m.Encapsulated {
		m.float()
	}
	return nil
}

// checkNATD checks the bodies of the server's NAT-D payloads.
func (m *MainMode) checkNATD(natd [][]byte) error {
	if !m.natTraversal() && len(natd) != 0 || m.natTraversal() && len(natd) < 2 {
		return fmt.Errorf("the server sends %d NAT-D payloads", len(natd))
	}
	if m.natTraversal() {
		if bytes.Equal(natd[0], keymat.NATD(m.Hash, m.CookieI, m.CookieR, m.Addr)) == m.Forced {
			return fmt.Errorf("the server's first NAT-D is the client's address and port: %v, should be: %v", m.Forced, !m.Forced)
		}
		if !bytes.Equal(natd[1], keymat.NATD(m.Hash, m.CookieI, m.CookieR, m.Server)) {
			return errors.New("the server's second NAT-D is not the server's address and port")
		}
		if m.RefusesServerBehindNAT && !bytes.Equal(natd[1], keymat.NATD(m.Hash, m.CookieI, m.CookieR, m.Target)) {
			return ErrServerBehindNAT
		}
	}
	return nil
}

// derive computes the keys once the server's public value and nonce are there.
func (m *MainMode) derive() error {
	_, gxy, err := m.private.Exchange(m.GXR)
	if err != nil {
		return err
	}
	skeyid := keymat.SKEYIDFromPSK(m.Hash, m.PSK, m.NonceI, m.NonceR)
	m.Keys = keymat.Derive(m.Hash, skeyid, gxy, m.CookieI, m.CookieR)
	if m.CBC, err = keymat.NewCBC(m.Cipher, keymat.CipherKey(m.Hash, m.Keys.SKEYIDe, m.Cipher.KeyLen(m.Bits))); err != nil {
		return err
	}
	m.IV = keymat.Phase1IV(m.Hash, m.CBC.BlockSize(), m.GXI, m.GXR)
	return nil
}

// Message5 advances the chain of IVs.
func (m *MainMode) Message5(extra ...wire.Payload) []byte {
	body := m.Identity.AppendBody(nil)
	hash := keymat.HashI(m.Hash, m.Keys.SKEYID, m.GXI, m.GXR, m.CookieI, m.CookieR, m.sai, body)
	payloads := append([]wire.Payload{m.Identity, wire.Hash(hash)}, extra...)
	sealed, next, err := m.CBC.Encrypt(m.IV, wire.AppendChain(nil, payloads...))
	m.fail(err)
	m.IV = next
	return wire.Sealed(m.Header(), wire.PayloadID, sealed)
}

// TakeMessage6 checks that the server is authenticated by its address.
func (m *MainMode) TakeMessage6(b []byte) error {
	h, err := wire.ParseHeader(b)
	if err := errors.Join(m.err, err); err != nil {
		return err
	}
	if h.InitiatorCookie != m.CookieI || h.ResponderCookie != m.CookieR || h.Exchange != wire.ExchangeMain || h.Flags != wire.FlagEncryption || h.MessageID != 0 {
		return fmt.Errorf("message 6 has the header %+v", h)
	}
	plain, next, err := m.CBC.Decrypt(m.IV, b[wire.HeaderLen:])
	if err != nil {
		return err
	}
	payloads, _, err := wire.ParseChain(h.NextPayload, plain)
	if err != nil {
		return err
	}
	if len(payloads) < 2 || payloads[0].Kind != wire.PayloadID || payloads[1].Kind != wire.PayloadHash {
		return fmt.Errorf("message 6 has the payloads %v", kinds(payloads))
	}
	if m.Notified, err = m.notifications(payloads[2:]); err != nil {
		return fmt.Errorf("message 6: %w", err)
	}
	if want := keymat.HashR(m.Hash, m.Keys.SKEYID, m.GXI, m.GXR, m.CookieI, m.CookieR, m.sai, payloads[0].Body); !bytes.Equal(want, payloads[1].Body) {
		return errors.New("message 6 does not authenticate the server")
	}
	id, err := wire.ParseID(payloads[0].Body)
	if a, ok := id.Addr(); err != nil || !ok || a != m.Server.Addr() {
		return fmt.Errorf("message 6 names the server %v, %v", id, err)
	}
	m.IV = next
	return nil
}

// notifications reads the payloads at the end of an answer. Like racoon the peer refuses what it does not expect.
func (p *Peer) notifications(rest []wire.Raw) ([]wire.Notification, error) {
	var list []wire.Notification
	for _, raw := range rest {
		if raw.Kind != wire.PayloadNotification || !p.TakesNotices {
			return nil, fmt.Errorf("an unexpected payload of type %d", raw.Kind)
		}
		n, err := wire.ParseNotification(raw.Body)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// Parse splits a message in the clear.
func Parse(b []byte) (wire.Header, []wire.Raw, error) {
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
