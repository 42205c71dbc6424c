package ikev1test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// AggressiveMode begins an Aggressive Mode with a new cookie and nonce; the peer's Identity is the name of its group. Its messages are
// [MainMode.Aggressive1], [MainMode.TakeAggressive2] and one of [MainMode.Aggressive3] and [MainMode.Aggressive3Clear].
func (p *Peer) AggressiveMode() *MainMode {
	m := p.MainMode()
	m.exchange = wire.ExchangeAggressive
	return m
}

// Aggressive1 offers the peer's transforms, with a public value for the group of the first.
func (m *MainMode) Aggressive1() []byte {
	if m.private == nil {
		for _, a := range m.Offer[0].Attributes {
			if v, _ := a.Uint(); a.Type == wire.AttrGroup {
				m.private, m.GXI = m.keyPair(dh.Group(v))
			}
		}
	}
	sa := m.offered()
	m.sai = sa.AppendBody(nil)
	payloads := []wire.Payload{sa, wire.KE(m.GXI), wire.Nonce(m.NonceI), m.Identity}
	for _, v := range m.VendorIDs {
		payloads = append(payloads, wire.VendorID(v))
	}
	return wire.Message(m.Header(), payloads...)
}

// TakeAggressive2 derives the keys and checks that the server has proved to know the key of the group. Behind a NAT the peer floats to
// port 4500.
func (m *MainMode) TakeAggressive2(b []byte) error {
	h, payloads, err := Parse(b)
	if err := errors.Join(m.err, err); err != nil {
		return err
	}
	if h.InitiatorCookie != m.CookieI || h.ResponderCookie == (wire.Cookie{}) || h.Exchange != wire.ExchangeAggressive || h.Flags != 0 || h.MessageID != 0 {
		return fmt.Errorf("message 2 has the header %+v", h)
	}
	if len(payloads) == 0 || payloads[0].Kind != wire.PayloadSA {
		return errors.New("message 2 does not begin with an SA")
	}
	if err := m.takeChoice(payloads[0].Body); err != nil {
		return err
	}
	m.CookieR = h.ResponderCookie
	m.GXR, m.NonceR, m.AnsweredVendorIDs = nil, nil, nil
	var natd [][]byte
	var natdKind wire.PayloadType
	var identity, hash []byte
	for _, p := range payloads[1:] {
		switch p.Kind {
		case wire.PayloadKE:
			m.GXR = p.Body
		case wire.PayloadNonce:
			m.NonceR = p.Body
		case wire.PayloadID:
			identity = p.Body
		case wire.PayloadHash:
			hash = p.Body
		case wire.PayloadVendorID:
			m.AnsweredVendorIDs = append(m.AnsweredVendorIDs, p.Body)
		case wire.PayloadNATD, wire.PayloadNATDDraft:
			natd = append(natd, p.Body)
			natdKind = p.Kind
		default:
			return fmt.Errorf("message 2 has a payload of type %d", p.Kind)
		}
	}
	if err := m.checkVendorIDs(); err != nil {
		return err
	}
	if len(natd) > 0 && natdKind != m.natDType() {
		return fmt.Errorf("message 2 has NAT-D payloads of type %d", natdKind)
	}
	if len(m.NonceR) < 8 {
		return fmt.Errorf("message 2 has a nonce of %d octets", len(m.NonceR))
	}
	if err := errors.Join(m.checkNATD(natd), m.derive()); err != nil {
		return err
	}
	if want := keymat.HashR(m.Hash, m.Keys.SKEYID, m.GXI, m.GXR, m.CookieI, m.CookieR, m.sai, identity); !bytes.Equal(want, hash) {
		return errors.New("message 2 does not authenticate the server")
	}
	id, err := wire.ParseID(identity)
	if a, ok := id.Addr(); err != nil || !ok || a != m.Server.Addr() {
		return fmt.Errorf("message 2 names the server %v, %v", id, err)
	}
	if m.natTraversal() && m.Natted() && !m.Encapsulated {
		m.float()
	}
	return nil
}

// Aggressive3 is the peer's proof, encrypted. It advances the chain of IVs.
func (m *MainMode) Aggressive3(extra ...wire.Payload) []byte {
	sealed, next, err := m.CBC.Encrypt(m.IV, wire.AppendChain(nil, m.aggressiveProof(extra)...))
	m.fail(err)
	m.IV = next
	return wire.Sealed(m.Header(), wire.PayloadHash, sealed)
}

// Aggressive3Clear is the peer's proof in the clear, as racoon sends it.
func (m *MainMode) Aggressive3Clear(extra ...wire.Payload) []byte {
	return wire.Message(m.Header(), m.aggressiveProof(extra)...)
}

// aggressiveProof has NAT-D payloads for the ports that the message goes from and to.
func (m *MainMode) aggressiveProof(extra []wire.Payload) []wire.Payload {
	hash := keymat.HashI(m.Hash, m.Keys.SKEYID, m.GXI, m.GXR, m.CookieI, m.CookieR, m.sai, m.Identity.AppendBody(nil))
	return append(append([]wire.Payload{wire.Hash(hash)}, m.natD(m.Inner, m.Target)...), extra...)
}
