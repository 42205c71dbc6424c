package ikev1

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// quickMode1 takes an offer.
func (e *Engine) quickMode1(sa *isakmpSA, d Datagram, h wire.Header) {
	m, ok := sa.openFirst(h, d.Payload)
	if !ok {
		e.drop(d, DropHash)
		return
	}
	sa.theirIDs.add(h.MessageID)
	e.heard(sa, d)

	offerBody, haveOffer := m.only(wire.PayloadSA)
	nonce, haveNonce := m.nonce()
	kes := m.all(wire.PayloadKE)
	if !haveOffer || !haveNonce || len(kes) > 1 {
		e.drop(d, DropMalformed)
		return
	}
	offer, err := wire.ParseSA(offerBody)
	if err != nil {
		e.drop(d, DropMalformed)
		return
	}
	ids, complaint := selectors(m.all(wire.PayloadID))
	if complaint != "" {
		e.refuseQuick(sa, wire.NotifyInvalidIDInformation, DropIdentities, because(CauseSelectors, Facts{Detail: complaint}))
		return
	}
	terms := phase2Terms{encapsulated: sa.encapsulated, groups: e.cfg.PFSGroups, sha256: e.cfg.SHA256Truncation.with(sa.peer.kind)}
	if len(kes) == 1 {
		terms.keLen = len(kes[0])
	}
	choice, ok := choosePhase2(e.phase2, offer, terms)
	if !ok {
		e.refuseQuick(sa, wire.NotifyNoProposalChosen, DropNoProposal, func() diagnosis { return explainPhase2(offer, e.cfg.Phase2, terms) })
		return
	}
	nr, err := e.random(nonceLen)
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	private, err := e.pfsKey(dh.Group(choice.group))
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	ch, err := e.newChild(sa)
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	ch.proposal, ch.esn, ch.spiOut, ch.name = choice.proposal, choice.esn, choice.spi, choice.String()
	ch.lifetime, ch.lifetimeBytes = choice.life.within(e.cfg.MaxChildLifetime), choice.life.bytes
	ch.terms = quickTerms{
		proposals: []Phase2Proposal{choice.proposal}, group: dh.Group(choice.group), esn: choice.esn,
		life: life{ch.lifetime, ch.lifetimeBytes}, selectors: reversed(ids),
	}
	q := &quickMode{
		sa: sa, child: ch, id: h.MessageID, state: quickWorking, deadline: e.now.Add(e.cfg.HalfOpenTimeout), pause: retransmitInitial,
		ni: bytes.Clone(nonce), nr: nr, iv: m.iv, ids: ids, natOA: sa.natOA(m.payloads), private: private, peer: bytes.Clone(first(kes)),
		shortened: choice.life.time > ch.lifetime,
		// The answer is kept until message 2: it must not refer to the datagram.
		answer: cloneSA(answerSA(offer, choice.from, binary.BigEndian.AppendUint32(nil, ch.spiIn), choice.transform)),
	}
	q.cache.take(d.Payload)
	e.beginExchange(q)
	e.keyChild(q)
}

// sendQuick2 says what was chosen.
func (e *Engine) sendQuick2(q *quickMode) {
	sa := q.sa
	answer := []wire.Payload{q.answer, wire.Nonce(q.nr)}
	if q.public != nil {
		answer = append(answer, wire.KE(q.public))
	}
	// Windows refuses an answer without the identities, everybody one with other identities than asked for.
	answer = append(answer, q.ids...)
	answer = append(answer, q.natOA...)
	if q.shortened {
		answer = append(answer, q.child.lifetimeNotice())
	}
	message, next := sa.seal(wire.ExchangeQuick, q.id, q.iv, func(rest []byte) []byte {
		return keymat.Hash2(sa.proposal.Hash, sa.keys.SKEYIDa, q.id, q.ni, rest)
	}, answer...)
	q.iv = next
	q.state = quickAwaitMessage3
	q.cache.reply = e.send(sa, message)
	e.timers.set(&q.timer, earliest(e.now.Add(q.pause), q.deadline))
}

// quickMode3 takes the proof that the client is there, and asks for the outbound SA.
func (e *Engine) quickMode3(q *quickMode, d Datagram, h wire.Header) {
	sa := q.sa
	m, ok := sa.open(h, d.Payload, q.iv)
	if !ok || !equalHash(m.hash, keymat.Hash3(sa.proposal.Hash, sa.keys.SKEYIDa, q.id, q.ni, q.nr)) {
		e.drop(d, DropHash)
		return
	}
	e.suspects.quick = q
	e.heard(sa, d)
	e.endQuickMode(q)
	e.agree(q.child)
	e.installOutbound(q.child)
}

// first returns the first of the bodies, nil if there is none.
func first(bodies [][]byte) []byte {
	if len(bodies) == 0 {
		return nil
	}
	return bodies[0]
}

// reversed returns a copy of the list from its end.
func reversed(ids []wire.Payload) []wire.Payload {
	list := slices.Clone(ids)
	slices.Reverse(list)
	return list
}
