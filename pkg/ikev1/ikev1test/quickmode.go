package ikev1test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// ESPTransform is one transform of a Quick Mode offer. auth 0 leaves the Authentication Algorithm attribute out.
func ESPTransform(number, id uint8, bits, auth, encapsulation uint16, more ...wire.Attribute) wire.Transform {
	t := wire.Transform{Number: number, ID: id, Attributes: []wire.Attribute{
		wire.ShortAttribute(wire.AttrEncapsulation, encapsulation), wire.ShortAttribute(wire.AttrSAKeyLength, bits),
	}}
	if auth != 0 {
		t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrAuthAlgorithm, auth))
	}
	t.Attributes = append(t.Attributes, more...)
	// Seconds and kilobytes, as Windows asks for.
	t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrSALifeType, 1), wire.LongAttribute(wire.AttrSALifeDuration, 3600),
		wire.ShortAttribute(wire.AttrSALifeType, 2), wire.LongAttribute(wire.AttrSALifeDuration, 250000))
	return t
}

// QuickMode is one Quick Mode of an ISAKMP SA, and then its pair of ESP SAs.
type QuickMode struct {
	*MainMode
	id        uint32
	Proposals []wire.Proposal // their SPI is ours
	Ours      uint32          // the SPI of what the server sends
	Theirs    uint32          // the SPI of what we send
	PFS       dh.Group        // 0 for none
	IDci      wire.Payload    // nil to leave it out
	IDcr      wire.Payload    // the same
	NATOA     []wire.Payload

	IV             []byte
	NonceI, NonceR []byte
	private        *dh.PrivateKey
	public         []byte
	gxyPFS         []byte
	Chosen         wire.Proposal       // with the one chosen transform
	Notified       []wire.Notification // of message 2
}

// QuickMode is what Windows does: one proposal for each transform, UDP port 1701 on both sides, NAT-OA behind a NAT.
func (m *MainMode) QuickMode(id uint32, adjust ...func(*QuickMode)) *QuickMode {
	q := &QuickMode{MainMode: m, id: id, Ours: binary.BigEndian.Uint32(m.Random(4)) | 0x1000, NonceI: m.Random(cmp.Or(m.NonceLen, 20))}
	mode := m.EncapsulationMode()
	if m.Encapsulated {
		q.NATOA = m.natOA()
	}
	q.Propose(ESPTransform(1, 12, 256, 2, mode), ESPTransform(1, 12, 128, 2, mode))
	q.IDci, q.IDcr = wire.AddrID(m.Inner.Addr(), 17, 1701), wire.AddrID(m.Target.Addr(), 17, 1701)
	for _, f := range adjust {
		f(q)
	}
	return q
}

// Propose makes a proposal of each transform.
func (q *QuickMode) Propose(transforms ...wire.Transform) {
	q.Proposals = nil
	for i, t := range transforms {
		q.Proposals = append(q.Proposals, wire.Proposal{Number: uint8(i + 1), Protocol: wire.ProtocolESP,
			SPI: binary.BigEndian.AppendUint32(nil, q.Ours), Transforms: []wire.Transform{t}})
	}
}

func (q *QuickMode) header() wire.Header {
	return wire.Header{InitiatorCookie: q.CookieI, ResponderCookie: q.CookieR, Exchange: wire.ExchangeQuick, MessageID: q.id}
}

// Message1 offers the proposals; it starts the exchange's chain of IVs anew.
func (q *QuickMode) Message1() []byte {
	payloads := []wire.Payload{&wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: q.Proposals}, wire.Nonce(q.NonceI)}
	if q.PFS != 0 {
		if q.private == nil {
			q.private, q.public = q.keyPair(q.PFS)
		}
		payloads = append(payloads, wire.KE(q.public))
	}
	for _, id := range []wire.Payload{q.IDci, q.IDcr} {
		if id != nil {
			payloads = append(payloads, id)
		}
	}
	payloads = append(payloads, q.NATOA...)
	q.IV = keymat.Phase2IV(q.Hash, q.MainMode.CBC.BlockSize(), q.MainMode.IV, q.id)
	return q.Seal(payloads, func(rest []byte) []byte { return keymat.Hash1(q.Hash, q.Keys.SKEYIDa, q.id, rest) })
}

// Seal puts a HASH payload in front and encrypts; the exchange's chain of IVs advances.
func (q *QuickMode) Seal(payloads []wire.Payload, hash func(rest []byte) []byte) []byte {
	h := hash(wire.AppendChain(nil, payloads...))
	plain := wire.AppendChain(nil, append([]wire.Payload{wire.Hash(h)}, payloads...)...)
	sealed, next, err := q.CBC.Encrypt(q.IV, plain)
	q.fail(err)
	q.IV = next
	return wire.Sealed(q.header(), wire.PayloadHash, sealed)
}

// TakeMessage2 checks the message's hash, and that transform, identities and NAT-OA come back as they have to.
func (q *QuickMode) TakeMessage2(b []byte) error {
	h, err := wire.ParseHeader(b)
	if err := errors.Join(q.err, err); err != nil {
		return err
	}
	if h.InitiatorCookie != q.CookieI || h.ResponderCookie != q.CookieR || h.Exchange != wire.ExchangeQuick || h.Flags != wire.FlagEncryption || h.MessageID != q.id {
		return fmt.Errorf("message 2 has the header %+v", h)
	}
	plain, next, err := q.CBC.Decrypt(q.IV, b[wire.HeaderLen:])
	if err != nil {
		return err
	}
	payloads, used, err := wire.ParseChain(h.NextPayload, plain)
	if err != nil {
		return err
	}
	if len(payloads) < 3 || payloads[0].Kind != wire.PayloadHash || payloads[1].Kind != wire.PayloadSA {
		return fmt.Errorf("message 2 has the payloads %v", kinds(payloads))
	}
	rest := plain[4+len(payloads[0].Body) : used]
	if !bytes.Equal(payloads[0].Body, keymat.Hash2(q.Hash, q.Keys.SKEYIDa, q.id, q.NonceI, rest)) {
		return errors.New("message 2 has a wrong HASH(2)")
	}
	if err := q.takeSA(payloads[1].Body); err != nil {
		return err
	}
	var ids, oas [][]byte
	q.Notified = nil
	var ke []byte
	for _, p := range payloads[2:] {
		switch p.Kind {
		case wire.PayloadNonce:
			q.NonceR = p.Body
		case wire.PayloadKE:
			ke = p.Body
		case wire.PayloadID:
			ids = append(ids, p.Body)
		case wire.PayloadNATOA, wire.PayloadNATOADraft:
			oas = append(oas, p.Body)
		default:
			notified, err := q.notifications([]wire.Raw{p})
			if err != nil {
				return fmt.Errorf("message 2: %w", err)
			}
			q.Notified = append(q.Notified, notified...)
		}
	}
	if len(q.NonceR) < 8 {
		return fmt.Errorf("message 2 has a nonce of %d octets", len(q.NonceR))
	}
	var named [][]byte
	for _, id := range []wire.Payload{q.IDci, q.IDcr} {
		if id != nil {
			named = append(named, id.AppendBody(nil))
		}
	}
	if !slices.EqualFunc(ids, named, bytes.Equal) {
		return fmt.Errorf("message 2 does not echo the identities: %x", ids)
	}
	if len(oas) != len(q.NATOA) {
		return fmt.Errorf("message 2 has %d NAT-OA payloads for our %d", len(oas), len(q.NATOA))
	}
	if (ke != nil) != (q.PFS != 0) {
		return errors.New("message 2 and message 1 disagree about PFS")
	}
	if ke != nil {
		if _, q.gxyPFS, err = q.private.Exchange(ke); err != nil {
			return err
		}
	}
	q.IV = next
	return nil
}

// takeSA compares the answered proposal octet for octet with each offered one that is cut down to one transform.
func (q *QuickMode) takeSA(body []byte) error {
	sa, err := wire.ParseSA(body)
	if err != nil {
		return err
	}
	if len(sa.Proposals) != 1 || len(sa.Proposals[0].SPI) != 4 {
		return fmt.Errorf("message 2 has the SA %+v", sa)
	}
	spi := sa.Proposals[0].SPI
	for _, p := range q.Proposals {
		for _, t := range p.Transforms {
			one := wire.Proposal{Number: p.Number, Protocol: p.Protocol, SPI: spi, Transforms: []wire.Transform{t}}
			want := wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: []wire.Proposal{one}}
			if bytes.Equal(want.AppendBody(nil), body) {
				q.Chosen, q.Theirs = one, binary.BigEndian.Uint32(spi)
				return nil
			}
		}
	}
	return fmt.Errorf("message 2's SA is no offered transform: %x", body)
}

// Message3 proves that we live; the SAs are in use from now on.
func (q *QuickMode) Message3() []byte {
	return q.Seal(nil, func([]byte) []byte { return keymat.Hash3(q.Hash, q.Keys.SKEYIDa, q.id, q.NonceI, q.NonceR) })
}

// KeysFor returns the keys of the direction whose receiver chose spi, of the given numbers of octets.
func (q *QuickMode) KeysFor(spi uint32, encryptionLen, integrityLen int) (encryption, integrity []byte) {
	k := keymat.ESPKeymat(q.Hash, q.Keys.SKEYIDd, q.gxyPFS, 3, spi, q.NonceI, q.NonceR, encryptionLen+integrityLen)
	return k[:encryptionLen], k[encryptionLen:]
}
