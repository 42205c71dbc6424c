package ikev1

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// An initiator repeats its message until it is answered: after a second, then after twice the pause before, at most callPauseMax,
// until [Config.HalfOpenTimeout] is over.
const (
	callPause    = time.Second
	callPauseMax = 8 * time.Second
)

// request is our latest message of a Main Mode that we began.
type request struct {
	message  []byte
	pause    time.Duration
	deadline time.Time // of the whole Main Mode

	// refusal is an error that came in the clear, which proves nothing, 0 for none.
	refusal wire.NotifyType

	// unreadable says that the peer has answered message 5 under other keys.
	unreadable bool
}

// mainMode begins a Main Mode of conn.
func (e *Engine) mainMode(conn *connection, local, remote netip.AddrPort, encapsulated bool) error {
	name, err := e.newName(func(ours wire.Cookie) cookies { return cookies{i: ours} })
	if err != nil {
		return err
	}
	e.lastSA++
	offer := conn.offer1()
	sa := &isakmpSA{
		name: name, serial: e.lastSA, cfg: e.cfg, state: awaitMessage2, initiator: true, connection: conn, method: conn.Method,
		local: local, remote: remote, encapsulated: encapsulated,
		offer: offer.AppendBody(nil), handshake: &handshake{request: &request{deadline: e.now.Add(e.cfg.HalfOpenTimeout)}},
	}
	sa.timer.owner = sa
	e.suspects.sas = append(e.suspects.sas, sa)
	e.sas[name] = sa
	conn.calling = sa
	e.call(sa, wire.Message(sa.header(), offer, wire.VendorID(vendorNATT), wire.VendorID(vendorDPD), wire.VendorID(vendorFragmentation)))
	return nil
}

// call sends a message and repeats it until the next one takes its place.
func (e *Engine) call(sa *isakmpSA, message []byte) {
	r := sa.handshake.request
	r.message, r.pause = e.send(sa, message), callPause
	e.timers.set(&sa.timer, earliest(e.now.Add(r.pause), r.deadline))
}

// callAgain repeats our message, or gives up.
func (e *Engine) callAgain(sa *isakmpSA) {
	r := sa.handshake.request
	if e.now.Before(r.deadline) {
		if r.message != nil {
			e.send(sa, r.message)
		}
		r.pause = min(2*r.pause, callPauseMax)
		e.timers.set(&sa.timer, earliest(e.now.Add(r.pause), r.deadline))
		return
	}
	cause, facts := CausePeerSilent, Facts{}
	switch {
	case r.refusal != 0:
		cause, facts.Detail = CausePeerRefuses, r.refusal.String()
	case sa.state == awaitMessage6:
		cause = CauseMessage6Lost
		if r.unreadable {
			facts.Detail = "it has sent what cannot be read, as with another pre-shared key"
		}
	case sa.state == awaitVerification:
		cause, facts = verificationLate(sa)
	}
	e.failHandshake(sa, DropTimeout, cause, facts)
}

// working stops the repetition while we compute.
func (e *Engine) working(sa *isakmpSA, state saState) {
	sa.state = state
	sa.handshake.request.message = nil
	e.timers.set(&sa.timer, sa.handshake.request.deadline)
}

// refused takes note of an error in the clear. It may be forged, so the Main Mode goes on.
func (sa *isakmpSA) refused(d Datagram, h wire.Header) {
	p, ok := readClear(d, h)
	if !ok || sa.handshake.request == nil {
		return
	}
	list, _ := readNotifications(p)
	for _, n := range list {
		if n.Kind.IsError() {
			sa.handshake.request.refusal = n.Kind
		}
	}
}

// proofRefused takes an Informational message in place of message 6. Who has computed the same keys can end the Main Mode.
func (e *Engine) proofRefused(sa *isakmpSA, d Datagram, h wire.Header) {
	m, ok := sa.openFirst(h, d.Payload)
	if !ok {
		sa.handshake.request.unreadable = true
		e.drop(d, DropHash)
		return
	}
	list, _ := readNotifications(m.payloads)
	for _, n := range list {
		if n.Kind.IsError() {
			e.failHandshake(sa, DropAuthentication, CauseProofRefused, Facts{Detail: n.Kind.String()})
			return
		}
	}
	e.drop(d, DropUnexpected)
}

// mainMode2 takes the peer's choice, and asks for our public value.
func (e *Engine) mainMode2(sa *isakmpSA, d Datagram, h wire.Header) {
	p, ok := readClear(d, h)
	if !ok {
		e.drop(d, DropMalformed)
		return
	}
	body, haveAnswer := p.only(wire.PayloadSA)
	answer, err := wire.ParseSA(body)
	if !haveAnswer || err != nil || len(answer.Proposals) != 1 || len(answer.Proposals[0].Transforms) != 1 {
		e.drop(d, DropMalformed)
		return
	}
	// Peers encode anew what they choose, so it is compared by what it means.
	chosen := readPhase1(answer.Proposals[0], answer.Proposals[0].Transforms[0])
	name := cookies{h.InitiatorCookie, h.ResponderCookie}
	// A responder that mirrors us would make HASH_R the same as HASH_I, which we are going to send.
	if h.ResponderCookie == h.InitiatorCookie {
		e.drop(d, DropMalformed)
		return
	}
	if !sa.connection.offers1(chosen) || e.sas[name] != nil {
		e.drop(d, DropNoProposal)
		return
	}
	sa.proposal, sa.lifetime = chosen.proposal, min(sa.connection.Lifetime, chosen.life.time)
	private, nonce, err := e.generateKey(sa)
	if err != nil {
		e.drop(d, DropInternal)
		return
	}
	delete(e.sas, sa.name)
	sa.name = name
	e.sas[name] = sa
	sa.peer = recognise(p.all(wire.PayloadVendorID), answer)
	if sa.peer.draft != nil { // which we did not offer
		sa.peer.natT, sa.peer.draft = false, nil
	}
	hs := sa.handshake
	hs.private, hs.initiatorNonce = private, nonce
	sa.cache.take(d.Payload)
	e.working(sa, awaitPublic)
	e.computeDH(pendingAction{kind: pendingMainModeDH, sa: sa}, private, nil)
}

// sendMessage3 sends our public value.
func (e *Engine) sendMessage3(sa *isakmpSA) {
	hs := sa.handshake
	message := []wire.Payload{wire.KE(hs.initiatorKE), wire.Nonce(hs.initiatorNonce)}
	message = append(message, sa.certificateRequests()...)
	if sa.peer.natT {
		message = append(message, e.natDs(sa)...)
	}
	sa.state = awaitMessage4
	e.call(sa, wire.Message(sa.header(), message...))
	sa.cache.reply = hs.request.message
}

// mainMode4 takes the peer's public value, and asks for the secret.
func (e *Engine) mainMode4(sa *isakmpSA, d Datagram, h wire.Header) {
	p, readable := readClear(d, h)
	ke, nonce, ok := p.keyExchange()
	if !readable || !ok || len(ke) != sa.proposal.Group.PublicLen() {
		e.drop(d, DropMalformed)
		return
	}
	hs := sa.handshake
	if bytes.Equal(ke, hs.initiatorKE) || bytes.Equal(nonce, hs.initiatorNonce) { // a mirror, see mainMode2
		e.drop(d, DropMalformed)
		return
	}
	hs.responderKE, hs.responderNonce = bytes.Clone(ke), bytes.Clone(nonce)
	if sa.peer.natT {
		e.learnNAT(sa, p)
	}
	sa.cache.take(d.Payload)
	e.working(sa, awaitDH)
	e.computeDH(pendingAction{kind: pendingMainModeDH, sa: sa}, hs.private, hs.responderKE)
}

// prove begins message 5 with our evidence, now that the keys are there.
func (e *Engine) prove(sa *isakmpSA) {
	if sa.peer.natHere || sa.peer.natThere {
		// RFC 3947 section 4: the initiator changes the ports with this message.
		sa.local, sa.remote = netip.AddrPortFrom(sa.local.Addr(), portNATT), netip.AddrPortFrom(sa.remote.Addr(), portNATT)
		sa.encapsulated = true
	}
	if sa.method == pki.PSK {
		e.sendMessage5(sa, wire.Hash(sa.proofHash(sa.initiator, sa.identity().AppendBody(nil))))
		return
	}
	e.sign(sa)
}

// sendMessage5 says who we are, with evidence of it.
func (e *Engine) sendMessage5(sa *isakmpSA, evidence ...wire.Payload) {
	message := append([]wire.Payload{sa.identity()}, evidence...)
	if e.perHost[hostOf(sa.remote.Addr())] == 0 { // we have nothing else with this peer
		message = append(message, wire.Notification{
			DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyInitialContact, SPI: sa.name.spi(),
		})
	}
	sealed, next := sa.encrypt(sa.header(), wire.PayloadID, sa.iv, wire.AppendChain(nil, message...))
	sa.iv = next
	sa.state = awaitMessage6
	e.call(sa, sealed)
	sa.cache.reply = sealed
}

// mainMode6 takes the peer's identity and proof.
func (e *Engine) mainMode6(sa *isakmpSA, d Datagram, h wire.Header) {
	p, ok := sa.openProof(d, h)
	if ok && sa.method == pki.PSK {
		ok = equalHash(p.evidence, sa.proofHash(!sa.initiator, p.identity))
	}
	if !ok {
		e.drop(d, DropAuthentication)
		return
	}
	sa.handshake.proof = p
	if sa.method == pki.PSK {
		e.reached(sa)
		return
	}
	e.working(sa, awaitVerification)
	e.verify(sa, p)
}

// reached ends a Main Mode of ours: both sides are authentic.
func (e *Engine) reached(sa *isakmpSA) {
	p, conn := sa.handshake.proof, sa.connection
	if p.lifetime != 0 {
		sa.lifetime = min(sa.lifetime, p.lifetime)
	}
	conn.calling = nil
	sa.iv = p.iv
	sa.cache = exchangeCache{request: p.request, taken: true}
	sa.local, sa.remote, sa.encapsulated = p.from.Local, p.from.Remote, p.from.Encapsulated
	e.establish(sa)
	before := conn.client
	if other := sa.client.connection; other != nil && other != conn {
		e.supersede(other)
	}
	conn.client, sa.client.connection = sa.client, conn
	if before != nil && before != sa.client {
		e.closeClient(before, "the peer is another one now", true)
	}
	e.scheduleReauthentication(sa)
	for _, old := range sa.client.sas {
		if old != sa && old.initiator {
			e.retire(old)
		}
	}
	if len(sa.client.children) == 0 {
		e.beginQuickMode(sa, conn.terms(), nil)
	}
}
