package ikev1

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// quickTerms are what a Quick Mode of ours asks for.
type quickTerms struct {
	proposals []Phase2Proposal
	group     dh.Group // of PFS, 0 for none
	esn       bool
	life      life

	// selectors are our ID payload and that of the peer, or none.
	selectors []wire.Payload
}

// terms returns what a connection asks for.
func (c *connection) terms() quickTerms {
	return quickTerms{
		proposals: c.Phase2, group: c.PFS, esn: c.ESN, life: life{c.ChildLifetime, c.LifetimeBytes},
		selectors: []wire.Payload{
			wire.AddrID(c.Local.Addr(), protocolUDP, c.LocalPort), wire.AddrID(c.Remote.Addr(), protocolUDP, c.RemotePort),
		},
	}
}

// offer returns the SA payload of message 1: a proposal for each cipher, as all peers understand it.
func (t quickTerms) offer(spi uint32, encapsulated bool) *wire.SA {
	mode := uint16(modeTransport)
	if encapsulated {
		mode = modeUDPTransport
	}
	sa := &wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly}
	for i, p := range t.proposals {
		list := []wire.Attribute{
			wire.ShortAttribute(wire.AttrSALifeType, lifeSeconds), wire.LongAttribute(wire.AttrSALifeDuration, uint32(t.life.time/time.Second)),
		}
		if t.life.bytes > 0 {
			list = append(list, wire.ShortAttribute(wire.AttrSALifeType, lifeKilobytes),
				wire.LongAttribute(wire.AttrSALifeDuration, uint32(min(t.life.bytes/1000, 1<<32-1))))
		}
		list = append(list, wire.ShortAttribute(wire.AttrEncapsulation, mode))
		if p.KeyBits != 0 {
			list = append(list, wire.ShortAttribute(wire.AttrSAKeyLength, uint16(p.KeyBits)))
		}
		if p.Integrity != None {
			list = append(list, wire.ShortAttribute(wire.AttrAuthAlgorithm, p.Integrity.onWire()))
		}
		if t.group != 0 {
			list = append(list, wire.ShortAttribute(wire.AttrSAGroup, uint16(t.group)))
		}
		if t.esn {
			list = append(list, wire.ShortAttribute(wire.AttrSAExtendedSequence, extendedSequence))
		}
		sa.Proposals = append(sa.Proposals, wire.Proposal{
			Number: uint8(i + 1), Protocol: wire.ProtocolESP, SPI: binary.BigEndian.AppendUint32(nil, spi),
			Transforms: []wire.Transform{{Number: 1, ID: uint8(p.Encryption), Attributes: list}},
		})
	}
	return sa
}

// chosen returns the proposal that an answer means; false: it is none of those that were offered.
func (t quickTerms) chosen(o phase2Offer, encapsulated bool) (Phase2Proposal, bool) {
	i := slices.IndexFunc(t.proposals, func(p Phase2Proposal) bool {
		p.Integrity = Integrity(p.Integrity.onWire())
		return p == o.proposal
	})
	if i < 0 || !o.acceptable || !o.fits(encapsulated) || dh.Group(o.group) != t.group || o.esn && !t.esn {
		return Phase2Proposal{}, false
	}
	return t.proposals[i], true
}

// beginQuickMode begins an exchange of ours in sa. The new child takes the place of an old one, if there is one to replace.
func (e *Engine) beginQuickMode(sa *isakmpSA, terms quickTerms, replaces *child) {
	id, err := e.newMessageID(sa)
	if err != nil {
		return
	}
	ni, err := e.random(nonceLen)
	if err != nil {
		return
	}
	private, err := e.pfsKey(terms.group)
	if err != nil {
		return
	}
	ch, err := e.newChild(sa)
	if err != nil {
		return
	}
	ch.initiator, ch.terms = true, terms
	q := &quickMode{
		sa: sa, child: ch, id: id, state: quickWorking, initiator: true, replaces: replaces, private: private,
		deadline: e.now.Add(e.cfg.HalfOpenTimeout), pause: callPause, ni: ni, ids: terms.selectors,
	}
	e.beginExchange(q)
	if private == nil {
		e.sendQuick1(q)
		return
	}
	e.computeDH(pendingAction{kind: pendingQuickModeDH, quick: q}, private, nil)
}

// sendQuick1 makes the offer.
func (e *Engine) sendQuick1(q *quickMode) {
	sa, ch := q.sa, q.child
	message := []wire.Payload{ch.terms.offer(ch.spiIn, sa.encapsulated), wire.Nonce(q.ni)}
	if q.public != nil {
		message = append(message, wire.KE(q.public))
	}
	message = append(message, q.ids...)
	if sa.encapsulated {
		// RFC 3947 section 5.2: the addresses of initiator and responder, as we see them.
		message = append(message, wire.NATOA{Kind: wire.PayloadNATOA, Addr: sa.local.Addr()}, wire.NATOA{Kind: wire.PayloadNATOA, Addr: sa.remote.Addr()})
	}
	sealed, next := sa.seal(wire.ExchangeQuick, q.id, sa.iv2(q.id), func(rest []byte) []byte {
		return keymat.Hash1(sa.proposal.Hash, sa.keys.SKEYIDa, q.id, rest)
	}, message...)
	q.iv = next
	q.state = quickAwaitMessage2
	q.request = e.send(sa, sealed)
	e.timers.set(&q.timer, earliest(e.now.Add(q.pause), q.deadline))
}

// quickMode2 takes the peer's choice, and asks for the inbound SA.
func (e *Engine) quickMode2(q *quickMode, d Datagram, h wire.Header) {
	sa, ch := q.sa, q.child
	m, ok := sa.open(h, d.Payload, q.iv)
	if !ok || !equalHash(m.hash, keymat.Hash2(sa.proposal.Hash, sa.keys.SKEYIDa, q.id, q.ni, m.rest)) {
		e.drop(d, DropHash)
		return
	}
	e.suspects.quick = q
	e.heard(sa, d)
	body, haveAnswer := m.only(wire.PayloadSA)
	nonce, haveNonce := m.nonce()
	answer, err := wire.ParseSA(body)
	if !haveAnswer || !haveNonce || err != nil || len(answer.Proposals) != 1 || len(answer.Proposals[0].Transforms) != 1 {
		e.drop(d, DropMalformed)
		e.quickRefused(q, "Quick Mode message 2 is malformed")
		return
	}
	chosen := readPhase2(answer.Proposals[0], answer.Proposals[0].Transforms[0])
	proposal, ok := ch.terms.chosen(chosen, sa.encapsulated)
	kes := m.all(wire.PayloadKE)
	switch {
	case !ok:
		e.quickRefused(q, "the peer chose what was not offered: "+chosen.String())
		return
	case ch.terms.group == 0 && len(kes) > 0, ch.terms.group != 0 && (len(kes) != 1 || len(kes[0]) != ch.terms.group.PublicLen()):
		e.quickRefused(q, "the peer's public value does not fit the group of PFS")
		return
	case !repeats(m.all(wire.PayloadID), q.ids, sa.encapsulated):
		e.quickRefused(q, "the peer changed the identities")
		return
	}
	ch.proposal, ch.esn, ch.spiOut, ch.name = proposal, chosen.esn, chosen.spi, phase2Choice{phase2Offer: chosen}.String()
	ch.lifetime, ch.lifetimeBytes = chosen.life.within(ch.terms.life.time), chosen.life.bytes
	notifications, _ := readNotifications(m.payloads)
	if most := noticedLifetime(notifications, wire.ProtocolESP, binary.BigEndian.AppendUint32(nil, ch.spiOut)); most != 0 {
		ch.lifetime = min(ch.lifetime, most)
	}
	q.nr, q.iv, q.peer = bytes.Clone(nonce), m.iv, bytes.Clone(first(kes))
	q.cache.take(d.Payload)
	q.state = quickWorking
	e.timers.set(&q.timer, q.deadline)
	e.keyChild(q)
}

// repeats says whether an answer names our identities octet for octet, or none, as some do when they mean the addresses. Where there is a
// NAT, strongSwan and others name the addresses that they see; the SAs are bound to the outer ones in any case.
func repeats(answer [][]byte, ours []wire.Payload, nat bool) bool {
	if len(answer) == 0 {
		return true
	}
	if len(answer) != len(ours) {
		return false
	}
	for i, p := range ours {
		body := p.AppendBody(nil)
		if !bytes.Equal(answer[i], body) && !(nat && elsewhere(answer[i], body)) {
			return false
		}
	}
	return true
}

// elsewhere says whether two identities differ in their addresses only.
func elsewhere(a, b []byte) bool {
	one, errOne := wire.ParseID(a)
	other, errOther := wire.ParseID(b)
	_, isAddr := one.Addr()
	return errOne == nil && errOther == nil && isAddr && one.Kind == other.Kind && one.Protocol == other.Protocol && one.Port == other.Port
}

// sendQuick3 proves that we are there. It is kept for a while: if it is lost, message 2 comes again.
func (e *Engine) sendQuick3(q *quickMode) {
	sa, ch := q.sa, q.child
	plain := wire.AppendChain(nil, wire.Hash(keymat.Hash3(sa.proposal.Hash, sa.keys.SKEYIDa, q.id, q.ni, q.nr)))
	message, _ := sa.encrypt(wire.Header{Exchange: wire.ExchangeQuick, MessageID: q.id}, wire.PayloadHash, q.iv, plain)
	q.cache.reply = e.send(sa, message)
	q.state = quickDone
	q.deadline = e.now.Add(e.cfg.HalfOpenTimeout)
	e.timers.set(&q.timer, q.deadline)
	if q.replaces != nil && q.replaces.state != childDead {
		ch.replaces = q.replaces
	}
	q.replaces = nil
	e.agree(ch)
	e.switchLater(ch)
}

// quickRefused ends an exchange of ours without success.
func (e *Engine) quickRefused(q *quickMode, cause string) {
	c := q.child.client
	e.failQuick(c, DropNoProposal, func() diagnosis {
		return diagnosis{cause: CauseQuickRefused, facts: Facts{Detail: cause}, offered: names(q.child.terms.proposals)}
	})
	if q.replaces != nil {
		e.rekeyLater(q.replaces)
	}
	e.dropQuickMode(q, cause)
	if c.wait.at.IsZero() {
		e.awaitChild(c)
	}
}

// quickModesOfPeer counts the exchanges that the peer has begun.
func (sa *isakmpSA) quickModesOfPeer() int {
	n := 0
	for _, q := range sa.quick {
		if !q.initiator {
			n++
		}
	}
	return n
}
