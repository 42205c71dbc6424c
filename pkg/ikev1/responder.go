package ikev1

import (
	"bytes"
	"crypto/sha256"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// methods returns the ways in which a stranger at this address may authenticate.
func (e *Engine) methods(d Datagram) []pki.Method {
	var list []pki.Method
	if len(e.cfg.PSK(d.Local.Addr(), d.Remote.Addr())) > 0 {
		list = append(list, pki.PSK)
	}
	if e.cfg.Trust != nil {
		for _, c := range e.cfg.Credentials {
			list = append(list, c.Method())
		}
	}
	return list
}

// initialOffer reads message 1 of either exchange of phase 1: all payloads, and the SA in octets and parsed. false: it has been dealt with.
func (e *Engine) initialOffer(d Datagram, h wire.Header) (p payloads, offer []byte, parsed *wire.SA, ok bool) {
	if sa := e.initiated[initiationOf(d, h.InitiatorCookie)]; sa != nil {
		if (sa.state == awaitMessage3 || sa.state == awaitHashI) && sa.cache.isDuplicate(d.Payload) {
			e.repeat(sa, &sa.cache, d, maxUnproved)
		} else {
			e.drop(d, DropDuplicate)
		}
		return nil, nil, nil, false
	}
	if e.refusing {
		e.drop(d, DropShuttingDown)
		return nil, nil, nil, false
	}
	if h.Flags&wire.FlagEncryption != 0 {
		e.drop(d, DropMalformed)
		return nil, nil, nil, false
	}
	if p, ok = readClear(d, h); !ok {
		e.drop(d, DropMalformed)
		return nil, nil, nil, false
	}
	offer, ok = p.only(wire.PayloadSA)
	if !ok || p[0].Kind != wire.PayloadSA || len(offer) > maxOffer {
		e.drop(d, DropMalformed)
		return nil, nil, nil, false
	}
	parsed, err := wire.ParseSA(offer)
	if err != nil {
		e.drop(d, DropMalformed)
		return nil, nil, nil, false
	}
	return p, offer, parsed, true
}

// mainMode1 takes the offer. It costs no Diffie-Hellman, and the answer is not longer than the question.
func (e *Engine) mainMode1(d Datagram, h wire.Header) {
	p, offer, parsed, ok := e.initialOffer(d, h)
	if !ok {
		return
	}
	methods := e.methods(d)
	if len(methods) == 0 {
		e.failUnauthenticated(d, DropNoPSK, because(CauseNoPSK, Facts{}))
		return
	}
	choice, ok := choosePhase1(e.phase1, methods, parsed)
	if !ok {
		e.refusePhase1(d, h, parsed, methods, p.all(wire.PayloadVendorID))
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
	sa.proposal, sa.method, sa.lifetime = choice.proposal, choice.method, choice.life.within(e.cfg.MaxLifetime)
	sa.offer, sa.shortened = bytes.Clone(offer), choice.life.time > sa.lifetime
	sa.peer = recognise(p.all(wire.PayloadVendorID), parsed)

	sa.cache.take(d.Payload)
	sa.cache.reply = e.send(sa, sa.message2(choice.answer, len(d.Payload)))
}

// message2 answers an offer of most octets with no more than that: a stranger's question may have a false source. It has only an SA
// and vendor IDs, as racoon refuses anything else, and of these only what the initiator sent too.
func (sa *isakmpSA) message2(chosen *wire.SA, most int) []byte {
	answer := []wire.Payload{chosen}
	if sa.peer.natT {
		answer = append(answer, sa.peer.natTVendorID())
	}
	if sa.peer.dpd {
		answer = append(answer, wire.VendorID(vendorDPD))
	}
	whole := wire.Message(sa.header(), answer...)
	if !sa.peer.fragmentation {
		return whole
	}
	// Ours may be 4 octets longer than the initiator's.
	if longer := wire.Message(sa.header(), append(answer, wire.VendorID(vendorFragmentation))...); len(longer) <= most {
		return longer
	}
	return whole
}

// mainMode3 takes the initiator's public value and nonce, and asks for the Diffie-Hellman computation.
func (e *Engine) mainMode3(sa *isakmpSA, d Datagram, h wire.Header) {
	if d.Remote != sa.remote || d.Local != sa.local {
		e.drop(d, DropUnknownSA)
		return
	}
	p, readable := readClear(d, h)
	ke, nonce, ok := p.keyExchange()
	if !readable || !ok || len(ke) != sa.proposal.Group.PublicLen() {
		e.drop(d, DropMalformed)
		return
	}
	if !e.admitProved(d) {
		return
	}
	private, ours, err := e.generateKey(sa)
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	hs := &handshake{private: private, responderNonce: ours, initiatorKE: bytes.Clone(ke), initiatorNonce: bytes.Clone(nonce)}
	sa.handshake = hs
	if sa.peer.natT {
		e.learnNAT(sa, p)
	}
	sa.state = awaitDH
	e.halfOpen.prove(sa)
	sa.cache.take(d.Payload)
	e.computeDH(pendingAction{kind: pendingMainModeDH, sa: sa}, private, hs.initiatorKE)
}

// sendMessage4 answers message 3, now that the keys are there.
func (e *Engine) sendMessage4(sa *isakmpSA) {
	hs := sa.handshake
	answer := []wire.Payload{wire.KE(hs.responderKE), wire.Nonce(hs.responderNonce)}
	answer = append(answer, sa.certificateRequests()...)
	if hs.natD {
		answer = append(answer, e.natDs(sa)...)
	}
	sa.state = awaitMessage5
	e.halfOpen.wait(sa)
	sa.cache.reply = e.send(sa, wire.Message(sa.header(), answer...))
}

// mainMode5 takes the initiator's identity and proof. Whatever does not prove the key changes nothing, so that a forged
// message cannot spoil a handshake.
func (e *Engine) mainMode5(sa *isakmpSA, d Datagram, h wire.Header) {
	hs := sa.handshake
	if sa.provedBadly(d) {
		e.drop(d, DropAuthentication)
		return
	}
	p, ok := sa.openProof(d, h)
	switch {
	case ok && sa.method != pki.PSK:
		hs.proof = p
		e.verify(sa, p)
	case ok && equalHash(p.evidence, sa.proofHash(!sa.initiator, p.identity)):
		hs.proof = p
		e.sendMessage6(sa, wire.Hash(sa.proofHash(sa.initiator, sa.identity().AppendBody(nil))))
	default:
		e.badProof(sa, d, "")
	}
}

// provedBadly says whether a message that has to prove the key need not be looked at: it is the same as the bad one before, or there
// were too many.
func (sa *isakmpSA) provedBadly(d Datagram) bool {
	hs := sa.handshake
	return hs.message5Bad >= maxBadMessage5 || hs.message5Bad > 0 && hs.lastBad == sha256.Sum256(d.Payload)
}

// badProof counts a message that proves nothing. identity is who its sender claims to be, if that is known.
func (e *Engine) badProof(sa *isakmpSA, d Datagram, identity string) {
	hs := sa.handshake
	hs.lastBad = sha256.Sum256(d.Payload)
	if hs.message5Bad++; hs.message5Bad > 1 {
		e.drop(d, DropAuthentication)
		return
	}
	e.failUnauthenticated(d, DropAuthentication, because(CausePSKMismatch, Facts{Kind: sa.peer.kind, Identity: identity}))
}

// sendMessage6 answers a message 5 that was authentic with our identity and evidence of it: the client is established.
func (e *Engine) sendMessage6(sa *isakmpSA, evidence ...wire.Payload) {
	p := sa.handshake.proof
	if !e.admitClient(sa, sa.clientKey(p)) {
		return
	}
	ours := sa.identity()
	// The client is where message 5 came from: it floats to port 4500 with it (RFC 3947 section 4).
	sa.local, sa.remote, sa.encapsulated = p.from.Local, p.from.Remote, p.from.Encapsulated
	answer := append([]wire.Payload{ours}, evidence...)
	if sa.shortened {
		// Only then: some clients refuse notifications that they do not expect.
		answer = append(answer, sa.lifetimeNotice())
	}
	message, last := sa.encrypt(sa.header(), wire.PayloadID, p.iv, wire.AppendChain(nil, answer...))
	sa.iv = last
	sa.cache = exchangeCache{request: p.request, taken: true}
	sa.cache.reply = e.send(sa, message)
	e.establish(sa)
}
