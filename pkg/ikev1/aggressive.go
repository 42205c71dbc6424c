package ikev1

import (
	"bytes"
	"crypto/sha256"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// handleAggressive takes a message of Aggressive Mode with a pre-shared key (RFC 2409 section 5.4), in which we only ever are the
// responder. In message 1 the client says which group's key it has, so that the key depends on no address.
func (e *Engine) handleAggressive(d Datagram, h wire.Header) {
	if e.cfg.GroupPSK == nil && e.sas[cookies{h.InitiatorCookie, h.ResponderCookie}] == nil {
		e.failUnauthenticated(d, DropAggressive, func() diagnosis { return diagnosis{cause: CauseAggressiveMode, facts: introduction(d, h)} })
		return
	}
	if h.MessageID != 0 {
		e.drop(d, DropMalformed)
		return
	}
	if h.ResponderCookie == (wire.Cookie{}) {
		e.aggressive1(d, h)
		return
	}
	sa := e.find(d, h)
	switch {
	case sa == nil:
		e.drop(d, DropUnknownSA)
	case !sa.aggressive:
		e.drop(d, DropUnexpected)
	case sa.cache.isDuplicate(d.Payload):
		e.drop(d, DropDuplicate) // message 3 has no answer
	case sa.state == awaitHashI:
		e.aggressive3(sa, d, h)
	default:
		e.drop(d, DropUnexpected)
	}
}

// introduction is what a message 1 of Aggressive Mode says of its sender, as far as it can be read.
func introduction(d Datagram, h wire.Header) (f Facts) {
	p, ok := readClear(d, h)
	if !ok || h.Flags&wire.FlagEncryption != 0 {
		return f
	}
	if offer, ok := p.only(wire.PayloadSA); ok && len(offer) <= maxOffer {
		if parsed, err := wire.ParseSA(offer); err == nil {
			f.Kind = recognise(p.all(wire.PayloadVendorID), parsed).kind
		}
	}
	if identity, ok := p.only(wire.PayloadID); ok {
		if id, err := wire.ParseID(identity); err == nil && len(id.Data) <= maxGroupName {
			f.Identity = id.String()
		}
	}
	return f
}

// aggressive1 takes the offer, which comes with the public value: message 2 has to be authentic already, and costs a Diffie-Hellman
// before anything shows that the sender is where it says. So there is none unless the group exists, and only so many in a second; and the
// handshake gives way to any newcomer, like every one that has proved nothing.
func (e *Engine) aggressive1(d Datagram, h wire.Header) {
	p, offer, parsed, ok := e.initialOffer(d, h)
	if !ok {
		return
	}
	ke, nonce, ok := p.keyExchange()
	identity, haveID := p.only(wire.PayloadID)
	id, err := wire.ParseID(identity)
	if !ok || !haveID || err != nil {
		e.drop(d, DropMalformed)
		return
	}
	vendorIDs := p.all(wire.PayloadVendorID)
	if len(e.cfg.groupKey(id)) == 0 {
		e.failUnauthenticated(d, DropUnknownGroup, func() diagnosis { return diagnosis{cause: CauseUnknownGroup, facts: introduction(d, h)} })
		return
	}
	methods := []pki.Method{pki.PSK}
	choice, ok := choosePhase1(e.phase1, methods, withPublicLen(parsed, len(ke)))
	if !ok {
		e.refusePhase1(d, h, parsed, methods, vendorIDs)
		return
	}
	if !e.hurried.allow(e.now, time.Second, aggressivePerSec) {
		e.failUnauthenticated(d, DropAggressiveLimit, because(CauseAggressiveLimit, Facts{Limit: aggressivePerSec}))
		return
	}
	if !e.admit(d) {
		return
	}
	sa, err := e.newSA(d, h.InitiatorCookie)
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	sa.aggressive = true
	sa.proposal, sa.method, sa.lifetime = choice.proposal, choice.method, choice.life.within(e.cfg.MaxLifetime)
	sa.peer = recognise(vendorIDs, parsed)
	private, ours, err := e.generateKey(sa)
	if err != nil {
		e.dropSA(sa, "no randomness")
		e.drop(d, DropInternal)
		return
	}
	id.Data = bytes.Clone(id.Data)
	sa.offer = bytes.Clone(offer)
	sa.handshake = &handshake{
		answer: choice.answer.AppendBody(nil), asked: len(d.Payload),
		private: private, responderNonce: ours, initiatorKE: bytes.Clone(ke), initiatorNonce: bytes.Clone(nonce),
		proof: &proof{id: id, identity: bytes.Clone(identity), name: id.String()},
	}
	sa.state = awaitDH
	sa.cache.take(d.Payload)
	e.computeDH(pendingAction{kind: pendingMainModeDH, sa: sa}, private, sa.handshake.initiatorKE)
}

// groupKey returns the key of the group that a client names, empty if it names none. The same name comes as a key ID or as a text,
// whichever the client's vendor thought right.
func (c *Config) groupKey(id wire.ID) []byte {
	switch id.Kind {
	case wire.IDKeyID, wire.IDFQDN, wire.IDUserFQDN:
		if len(id.Data) > 0 && len(id.Data) <= maxGroupName {
			return c.GroupPSK(id.Data)
		}
	}
	return nil
}

// withPublicLen returns what an offer has for groups with public values of this length: the initiator has chosen the group when it
// sends the value along (RFC 2409 section 5).
func withPublicLen(offer *wire.SA, length int) *wire.SA {
	fitting := *offer
	fitting.Proposals = nil
	for _, p := range offer.Proposals {
		transforms := p.Transforms
		p.Transforms = nil
		for _, t := range transforms {
			if readPhase1(p, t).proposal.Group.PublicLen() == length {
				p.Transforms = append(p.Transforms, t)
			}
		}
		fitting.Proposals = append(fitting.Proposals, p)
	}
	return &fitting
}

// sendAggressive2 answers message 1, now that the keys are there, and forgets all that message 3 needs no more.
//
// The answer is about as long as the question, and may be a little longer: HASH_R and the NAT-D payloads against the transforms that were
// not chosen. Nothing is left out that a client cannot do without, only our vendor ID of DPD. An answer that is longer is given, but once:
// a repetition of the question gets none, as its sender might be a forger who wants somebody else to be answered.
func (e *Engine) sendAggressive2(sa *isakmpSA) {
	hs := sa.handshake
	ours := sa.identity()
	answer := []wire.Payload{
		wire.Raw{Kind: wire.PayloadSA, Body: hs.answer}, wire.KE(hs.responderKE), wire.Nonce(hs.responderNonce), ours,
		wire.Hash(sa.proofHash(false, ours.AppendBody(nil))),
	}
	if sa.peer.natT {
		answer = append(append(answer, sa.peer.natTVendorID()), e.natDs(sa)...)
	}
	message := wire.Message(sa.header(), answer...)
	if sa.peer.dpd {
		if whole := wire.Message(sa.header(), append(answer, wire.VendorID(vendorDPD))...); len(whole) <= hs.asked {
			message = whole
		}
	}
	sa.handshake = &handshake{proof: hs.proof, hashI: sa.proofHash(true, hs.proof.identity)}
	sa.offer = nil
	sa.state = awaitHashI
	sa.cache.reply = e.send(sa, message)
	if len(message) > hs.asked {
		sa.cache.repeats = maxUnproved
	}
}

// aggressive3 takes the client's proof, encrypted or not (RFC 2409 section 5: the initiator may put off its Diffie-Hellman). As with
// message 5 of Main Mode, what proves nothing changes nothing.
func (e *Engine) aggressive3(sa *isakmpSA, d Datagram, h wire.Header) {
	if sa.provedBadly(d) {
		e.drop(d, DropAuthentication)
		return
	}
	hs := sa.handshake
	list, iv, ok := sa.openMessage3(d, h)
	evidence, have := list.only(wire.PayloadHash)
	if !ok || !have || !equalHash(evidence, hs.hashI) {
		e.badProof(sa, d, hs.proof.name)
		return
	}
	p := hs.proof
	p.from = Datagram{Local: d.Local, Remote: d.Remote, Encapsulated: d.Encapsulated}
	p.request, p.iv = sha256.Sum256(d.Payload), iv
	// HASH_I covers no notification: in the clear it might be anybody's.
	p.initialContact = h.Flags&wire.FlagEncryption != 0 && hasInitialContact(list)
	if !e.admitClient(sa, sa.clientKey(p)) {
		return
	}
	e.float(sa, p.from, list)
	sa.iv = p.iv
	sa.cache = exchangeCache{request: p.request, taken: true}
	e.establish(sa)
}

// openMessage3 returns the payloads of message 3 of Aggressive Mode and the IV that later exchanges begin with: in the clear it is that
// of phase 1 itself.
func (sa *isakmpSA) openMessage3(d Datagram, h wire.Header) (list payloads, iv []byte, ok bool) {
	if h.Flags&wire.FlagEncryption != 0 {
		m, ok := sa.decrypt(h, d.Payload, sa.iv)
		return m.payloads, m.iv, ok
	}
	list, ok = readClear(d, h)
	return list, sa.iv, ok
}

// float takes the addresses of message 3 of Aggressive Mode: with it the client changes to port 4500 if our NAT-D payloads have told it
// of a NAT (RFC 3947 section 4). Its own may be made for the ports before or after that.
func (e *Engine) float(sa *isakmpSA, d Datagram, p payloads) {
	if !sa.peer.natT {
		p = nil
	}
	e.learnNAT(sa, p)
	before := sa.peer
	sa.local, sa.remote, sa.encapsulated = d.Local, d.Remote, d.Encapsulated
	e.learnNAT(sa, p)
	sa.peer.natThere, sa.peer.natHere = sa.peer.natThere && before.natThere, sa.peer.natHere && before.natHere
}
