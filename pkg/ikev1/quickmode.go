package ikev1

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// quickState is the state of a Quick Mode.
type quickState uint8

const (
	quickWorking       quickState = iota + 1 // Diffie-Hellman or the installation of the inbound SA is under way
	quickAwaitMessage3                       // message 2 was sent
	quickDead                                // done or given up; only pending actions still point here
)

// quickMode is one exchange that makes a child (RFC 2409 section 5.5).
type quickMode struct {
	sa    *isakmpSA
	child *child
	id    uint32
	state quickState
	timer timer

	cache    exchangeCache
	deadline time.Time
	pause    time.Duration // until the next repetition of message 2

	ni, nr  []byte
	iv      []byte // of the next message
	answer  *wire.SA
	ids     []wire.Payload // of the client, to be repeated
	natOA   []wire.Payload
	private *dh.PrivateKey // for PFS
	public  []byte
}

// handleQuick takes a message of Quick Mode. Exchanges are told apart by cookies and message ID, which need not be random: Windows
// counts from 1 in each ISAKMP SA.
func (e *Engine) handleQuick(d Datagram, h wire.Header) {
	sa := e.find(d, h)
	if sa == nil {
		e.drop(d, DropUnknownSA)
		return
	}
	q := sa.quick[h.MessageID]
	switch {
	case h.Flags&wire.FlagEncryption == 0:
		e.drop(d, DropUnencrypted)
	case sa.state != established:
		e.drop(d, DropUnexpected)
	case h.MessageID == 0:
		e.drop(d, DropMalformed)
	case q != nil && q.cache.isDuplicate(d.Payload):
		e.repeat(sa, &q.cache, d, maxDuplicates)
	case q != nil && q.state == quickAwaitMessage3:
		e.quickMode3(q, d, h)
	case q != nil:
		e.drop(d, DropUnexpected)
	case sa.used(h.MessageID):
		e.drop(d, DropDuplicate)
	case len(sa.quick) >= maxQuickModes:
		e.drop(d, DropExchangeLimit)
	default:
		e.quickMode1(sa, d, h)
	}
}

// quickMode1 takes an offer.
func (e *Engine) quickMode1(sa *isakmpSA, d Datagram, h wire.Header) {
	m, ok := sa.open(h, d.Payload, sa.iv2(h.MessageID))
	if !ok || !equalHash(m.hash, keymat.Hash1(sa.proposal.Hash, sa.keys.SKEYIDa, h.MessageID, m.rest)) {
		e.drop(d, DropHash)
		return
	}
	sa.theirIDs.add(h.MessageID)
	e.heard(sa, d)

	offerBody, haveOffer := m.only(wire.PayloadSA)
	nonceBody, haveNonce := m.only(wire.PayloadNonce)
	nonce, nonceErr := wire.ParseNonce(nonceBody)
	kes := m.all(wire.PayloadKE)
	if !haveOffer || !haveNonce || nonceErr != nil || len(kes) > 1 {
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
	terms := phase2Terms{encapsulated: sa.encapsulated, groups: e.cfg.PFSGroups}
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
	var private *dh.PrivateKey
	if choice.group != 0 {
		if private, err = dh.GenerateKey(dh.Group(choice.group), e.rand); err != nil {
			e.drop(d, DropInternal)
			return
		}
	}
	ch, err := e.newChild(sa)
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	ch.proposal, ch.lifetime, ch.spiOut, ch.name = choice.proposal, choice.lifetime, choice.spi, choice.String()
	q := &quickMode{
		sa: sa, child: ch, id: h.MessageID, state: quickWorking, deadline: e.now.Add(e.cfg.HalfOpenTimeout), pause: retransmitInitial,
		ni: bytes.Clone(nonce), nr: nr, iv: m.iv, ids: ids, natOA: sa.natOA(m.payloads), private: private,
		// The answer is kept until message 2: it must not refer to the datagram.
		answer: cloneSA(answerSA(offer, choice.from, binary.BigEndian.AppendUint32(nil, ch.spiIn), choice.transform)),
	}
	q.timer.owner = q
	q.cache.take(d.Payload)
	sa.quick[q.id] = q
	e.timers.set(&q.timer, q.deadline)
	if private == nil {
		e.installInbound(q, nil)
		return
	}
	e.act(pendingAction{kind: pendingQuickModeDH, quick: q}, func(id ActionID) Action {
		return ComputeDH{ID: id, Group: private.Group(), Private: private, Peer: bytes.Clone(kes[0])}
	})
}

// quickModeComputed takes the result of the Diffie-Hellman for PFS.
func (e *Engine) quickModeComputed(q *quickMode, r DHResult) {
	q.private.Destroy()
	if q.state != quickWorking {
		return
	}
	if r.Err != nil {
		e.failQuick(q.child.client, DropKeyExchange, because(CauseKeyExchange, Facts{Detail: "PFS: " + r.Err.Error()}))
		e.dropQuickMode(q, "PFS failed")
		return
	}
	q.public = bytes.Clone(r.Public)
	e.installInbound(q, r.Shared)
}

// installInbound derives the keys and asks for the inbound SA.
func (e *Engine) installInbound(q *quickMode, shared []byte) {
	ch := q.child
	ch.derive(q.sa, shared, q.ni, q.nr)
	ch.in.asked, ch.in.lent = true, true
	e.act(pendingAction{kind: pendingInbound, quick: q}, func(id ActionID) Action {
		return InstallInbound{ID: id, SA: ch.sa(ch.spiIn, ch.in)}
	})
}

// inboundInstalled sends message 2: from now on the client may use the SA.
func (e *Engine) inboundInstalled(q *quickMode, err error) {
	ch, sa := q.child, q.sa
	ch.in.lent = false
	ch.in.zero()
	if q.state != quickWorking {
		return
	}
	if err != nil {
		e.failQuick(ch.client, DropInstall, because(CauseInstall, Facts{Detail: "inbound: " + err.Error()}))
		e.dropQuickMode(q, "the inbound SA could not be installed")
		return
	}
	answer := []wire.Payload{q.answer, wire.Nonce(q.nr)}
	if q.public != nil {
		answer = append(answer, wire.KE(q.public))
	}
	// Windows refuses an answer without the identities, everybody one with other identities than asked for.
	answer = append(answer, q.ids...)
	answer = append(answer, q.natOA...)
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
	e.heard(sa, d)
	e.endQuickMode(q)
	e.installOutbound(q.child)
}

// endQuickMode forgets the exchange, not its child.
func (e *Engine) endQuickMode(q *quickMode) {
	q.state = quickDead
	e.timers.set(&q.timer, time.Time{})
	delete(q.sa.quick, q.id)
}

// dropQuickMode gives an exchange up, with its child. The caller reaps the client if the ISAKMP SA goes with it.
func (e *Engine) dropQuickMode(q *quickMode, reason string) {
	if q.state == quickDead {
		return
	}
	told := q.state == quickAwaitMessage3
	e.endQuickMode(q)
	if told && q.sa.state == established {
		// The client may have sent message 3, and take the child for established.
		e.sendDeleteChild(q.child)
	}
	e.removeChild(q.child, reason, false)
}

// expire repeats message 2, or gives up.
func (q *quickMode) expire(e *Engine) {
	if !e.now.Before(q.deadline) {
		if q.state == quickAwaitMessage3 {
			e.failQuick(q.child.client, DropTimeout, because(CauseQuickMessage3Lost, Facts{}))
		}
		e.dropQuickMode(q, "Quick Mode timed out")
		return
	}
	e.send(q.sa, q.cache.reply)
	q.pause = min(2*q.pause, retransmitMax)
	e.timers.set(&q.timer, earliest(e.now.Add(q.pause), q.deadline))
}
