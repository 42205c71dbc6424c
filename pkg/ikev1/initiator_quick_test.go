package ikev1_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// espTransform is one transform of a Quick Mode offer. auth 0 leaves the Authentication Algorithm attribute out.
func espTransform(number, id uint8, bits, auth, encapsulation uint16, more ...wire.Attribute) wire.Transform {
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

// quickMode is one Quick Mode of an ISAKMP SA, and then its pair of ESP SAs.
type quickMode struct {
	*mainMode
	id        uint32
	proposals []wire.Proposal // their SPI is ours
	ours      uint32          // the SPI of what the server sends
	theirs    uint32          // the SPI of what we send
	pfs       dh.Group        // 0 for none
	idci      wire.Payload    // nil to leave both out
	idcr      wire.Payload
	natOA     []wire.Payload

	iv      []byte
	ni, nr  []byte
	private *dh.PrivateKey
	gxyPFS  []byte
	chosen  wire.Proposal // with the one chosen transform
}

// quickMode is what Windows does: one proposal for each transform, UDP port 1701 on both sides, NAT-OA behind a NAT.
func (m *mainMode) quickMode(id uint32, adjust ...func(*quickMode)) *quickMode {
	q := &quickMode{mainMode: m, id: id, ours: binary.BigEndian.Uint32(m.random(4)) | 0x1000, ni: m.random(20)}
	mode := uint16(2)
	if m.encapsulated {
		mode = 4
		q.natOA = []wire.Payload{wire.NATOA{Kind: wire.PayloadNATOA, Addr: m.inner.Addr()}, wire.NATOA{Kind: wire.PayloadNATOA, Addr: m.target.Addr()}}
	}
	q.propose(espTransform(1, 12, 256, 2, mode), espTransform(1, 12, 128, 2, mode))
	q.idci, q.idcr = wire.AddrID(m.inner.Addr(), 17, 1701), wire.AddrID(m.target.Addr(), 17, 1701)
	for _, f := range adjust {
		f(q)
	}
	return q
}

// propose makes a proposal of each transform.
func (q *quickMode) propose(transforms ...wire.Transform) {
	q.proposals = nil
	for i, t := range transforms {
		q.proposals = append(q.proposals, wire.Proposal{Number: uint8(i + 1), Protocol: wire.ProtocolESP,
			SPI: binary.BigEndian.AppendUint32(nil, q.ours), Transforms: []wire.Transform{t}})
	}
}

func (q *quickMode) header() wire.Header {
	return wire.Header{InitiatorCookie: q.ckyI, ResponderCookie: q.ckyR, Exchange: wire.ExchangeQuick, MessageID: q.id}
}

func (q *quickMode) message1() []byte {
	payloads := []wire.Payload{&wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: q.proposals}, wire.Nonce(q.ni)}
	if q.pfs != 0 {
		if q.private == nil {
			var err error
			if q.private, err = dh.GenerateKey(q.pfs, q.rand); err != nil {
				panic(err)
			}
		}
		public, err := q.private.Public()
		if err != nil {
			panic(err)
		}
		payloads = append(payloads, wire.KE(public))
	}
	if q.idci != nil {
		payloads = append(payloads, q.idci, q.idcr)
	}
	payloads = append(payloads, q.natOA...)
	q.iv = keymat.Phase2IV(q.hash, q.mainMode.iv, q.id)
	return q.seal(payloads, func(rest []byte) []byte { return keymat.Hash1(q.hash, q.keys.SKEYIDa, q.id, rest) })
}

// seal puts a HASH payload in front and encrypts; the exchange's chain of IVs advances.
func (q *quickMode) seal(payloads []wire.Payload, hash func(rest []byte) []byte) []byte {
	h := hash(wire.AppendChain(nil, payloads...))
	plain := wire.AppendChain(nil, append([]wire.Payload{wire.Hash(h)}, payloads...)...)
	sealed, next, err := q.cbc.Encrypt(q.iv, plain)
	if err != nil {
		panic(err)
	}
	q.iv = next
	return wire.Sealed(q.header(), wire.PayloadHash, sealed)
}

// takeMessage2 checks the message's hash, and that transform, identities and NAT-OA come back as they have to.
func (q *quickMode) takeMessage2(b []byte) error {
	h, err := wire.ParseHeader(b)
	if err != nil {
		return err
	}
	if h.InitiatorCookie != q.ckyI || h.ResponderCookie != q.ckyR || h.Exchange != wire.ExchangeQuick || h.Flags != wire.FlagEncryption || h.MessageID != q.id {
		return fmt.Errorf("message 2 has the header %+v", h)
	}
	plain, next, err := q.cbc.Decrypt(q.iv, b[wire.HeaderLen:])
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
	if !bytes.Equal(payloads[0].Body, keymat.Hash2(q.hash, q.keys.SKEYIDa, q.id, q.ni, rest)) {
		return errors.New("message 2 has a wrong HASH(2)")
	}
	if err := q.takeSA(payloads[1].Body); err != nil {
		return err
	}
	var ids, oas [][]byte
	var ke []byte
	for _, p := range payloads[2:] {
		switch p.Kind {
		case wire.PayloadNonce:
			q.nr = p.Body
		case wire.PayloadKE:
			ke = p.Body
		case wire.PayloadID:
			ids = append(ids, p.Body)
		case wire.PayloadNATOA, wire.PayloadNATOADraft:
			oas = append(oas, p.Body)
		default:
			return fmt.Errorf("message 2 has a payload of type %d", p.Kind)
		}
	}
	if len(q.nr) < 8 {
		return fmt.Errorf("message 2 has a nonce of %d octets", len(q.nr))
	}
	if q.idci != nil && (len(ids) != 2 || !bytes.Equal(ids[0], q.idci.AppendBody(nil)) || !bytes.Equal(ids[1], q.idcr.AppendBody(nil))) {
		return fmt.Errorf("message 2 does not echo the identities: %x", ids)
	}
	if len(oas) != len(q.natOA) {
		return fmt.Errorf("message 2 has %d NAT-OA payloads for our %d", len(oas), len(q.natOA))
	}
	if (ke != nil) != (q.pfs != 0) {
		return errors.New("message 2 and message 1 disagree about PFS")
	}
	if ke != nil {
		if _, q.gxyPFS, err = q.private.Exchange(ke); err != nil {
			return err
		}
	}
	q.iv = next
	return nil
}

// takeSA compares the answered proposal octet for octet with each offered one that is cut down to one transform.
func (q *quickMode) takeSA(body []byte) error {
	sa, err := wire.ParseSA(body)
	if err != nil {
		return err
	}
	if len(sa.Proposals) != 1 || len(sa.Proposals[0].SPI) != 4 {
		return fmt.Errorf("message 2 has the SA %+v", sa)
	}
	spi := sa.Proposals[0].SPI
	for _, p := range q.proposals {
		for _, t := range p.Transforms {
			one := wire.Proposal{Number: p.Number, Protocol: p.Protocol, SPI: spi, Transforms: []wire.Transform{t}}
			want := wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: []wire.Proposal{one}}
			if bytes.Equal(want.AppendBody(nil), body) {
				q.chosen, q.theirs = one, binary.BigEndian.Uint32(spi)
				return nil
			}
		}
	}
	return fmt.Errorf("message 2's SA is no offered transform: %x", body)
}

func (q *quickMode) message3() []byte {
	return q.seal(nil, func([]byte) []byte { return keymat.Hash3(q.hash, q.keys.SKEYIDa, q.id, q.ni, q.nr) })
}

// keysFor returns the keys of the direction whose receiver chose spi.
func (q *quickMode) keysFor(spi uint32, sa ikev1.ChildSA) (encryption, integrity []byte) {
	k := keymat.ESPKeymat(q.hash, q.keys.SKEYIDd, q.gxyPFS, 3, spi, q.ni, q.nr, len(sa.EncryptionKey)+len(sa.IntegrityKey))
	return k[:len(sa.EncryptionKey)], k[len(sa.EncryptionKey):]
}

// agree checks that the kernel of w has this child's SAs with our keys; outbound says whether that direction must be there.
func (q *quickMode) agree(w *world, outbound bool) error {
	in, ok := w.inbound[q.theirs]
	if !ok {
		return fmt.Errorf("SPI %#x of message 2 is not installed", q.theirs)
	}
	bits, auth := uint64(0), uint64(0)
	for _, a := range q.chosen.Transforms[0].Attributes {
		switch v, _ := a.Uint(); a.Type {
		case wire.AttrSAKeyLength:
			bits = v
		case wire.AttrAuthAlgorithm:
			auth = v
		}
	}
	check := func(sa ikev1.ChildSA, spi uint32) error {
		keyLen := int(bits / 8)
		if sa.Encryption == ikev1.AESGCM16 {
			keyLen += 4
		}
		if uint8(sa.Encryption) != q.chosen.Transforms[0].ID || uint64(sa.Integrity) != auth || len(sa.EncryptionKey) != keyLen ||
			len(sa.IntegrityKey) != sa.Integrity.KeyLen() {
			return fmt.Errorf("installed %v with %d octets and %v with %d, chosen was %+v", sa.Encryption, len(sa.EncryptionKey), sa.Integrity,
				len(sa.IntegrityKey), q.chosen)
		}
		encryption, integrity := q.keysFor(spi, sa)
		if !bytes.Equal(encryption, sa.EncryptionKey) || !bytes.Equal(integrity, sa.IntegrityKey) {
			return fmt.Errorf("the keys of SPI %#x differ", spi)
		}
		if sa.SPI != spi || sa.Local != q.server || sa.Remote != q.addr || sa.Encapsulated != q.encapsulated {
			return fmt.Errorf("SPI %#x is installed as %#x from %v to %v, encapsulated %v", spi, sa.SPI, sa.Local, sa.Remote, sa.Encapsulated)
		}
		return nil
	}
	if err := check(in, q.theirs); err != nil {
		return fmt.Errorf("inbound: %w", err)
	}
	out, ok := w.outbound[in.Child]
	if !outbound {
		return nil
	}
	if !ok {
		return errors.New("the outbound SA is not installed")
	}
	if err := check(out, q.ours); err != nil {
		return fmt.Errorf("outbound: %w", err)
	}
	return nil
}

// informational seals payloads as an Informational exchange.
func (m *mainMode) informational(payloads ...wire.Payload) []byte {
	id := binary.BigEndian.Uint32(m.random(4)) | 1
	rest := wire.AppendChain(nil, payloads...)
	return m.sealedInformational(id, keymat.HashInfo(m.hash, m.keys.SKEYIDa, id, rest), payloads...)
}

func (m *mainMode) sealedInformational(id uint32, hash []byte, payloads ...wire.Payload) []byte {
	plain := wire.AppendChain(nil, append([]wire.Payload{wire.Hash(hash)}, payloads...)...)
	sealed, _, err := m.cbc.Encrypt(keymat.Phase2IV(m.hash, m.iv, id), plain)
	if err != nil {
		panic(err)
	}
	h := wire.Header{InitiatorCookie: m.ckyI, ResponderCookie: m.ckyR, Exchange: wire.ExchangeInformational, MessageID: id}
	return wire.Sealed(h, wire.PayloadHash, sealed)
}

// openInformational returns the payloads after a right HASH.
func (m *mainMode) openInformational(b []byte) ([]wire.Raw, error) {
	h, err := wire.ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if h.InitiatorCookie != m.ckyI || h.ResponderCookie != m.ckyR || h.Exchange != wire.ExchangeInformational || h.Flags != wire.FlagEncryption || h.MessageID == 0 {
		return nil, fmt.Errorf("the informational has the header %+v", h)
	}
	plain, _, err := m.cbc.Decrypt(keymat.Phase2IV(m.hash, m.iv, h.MessageID), b[wire.HeaderLen:])
	if err != nil {
		return nil, err
	}
	payloads, used, err := wire.ParseChain(h.NextPayload, plain)
	if err != nil {
		return nil, err
	}
	if len(payloads) < 2 || payloads[0].Kind != wire.PayloadHash {
		return nil, fmt.Errorf("the informational has the payloads %v", kinds(payloads))
	}
	if !bytes.Equal(payloads[0].Body, keymat.HashInfo(m.hash, m.keys.SKEYIDa, h.MessageID, plain[4+len(payloads[0].Body):used])) {
		return nil, errors.New("the informational has a wrong HASH")
	}
	return payloads[1:], nil
}

// deleteISAKMP and deleteESP are the Delete payloads of a client that hangs up.
func (m *mainMode) deleteISAKMP() wire.Delete {
	return wire.Delete{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, SPILen: 16, SPIs: [][]byte{m.cookies()}}
}

func (q *quickMode) deleteESP() wire.Delete {
	return wire.Delete{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, SPILen: 4, SPIs: [][]byte{binary.BigEndian.AppendUint32(nil, q.ours)}}
}

func (m *mainMode) cookies() []byte { return append(bytes.Clone(m.ckyI[:]), m.ckyR[:]...) }

// dpd is a dead peer detection notification (RFC 3706 section 5.3).
func (m *mainMode) dpd(kind wire.NotifyType, sequence uint32) wire.Notification {
	return wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: kind, SPI: m.cookies(),
		Data: binary.BigEndian.AppendUint32(nil, sequence)}
}

func (m *mainMode) initialContact() wire.Notification {
	return wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyInitialContact, SPI: m.cookies()}
}
