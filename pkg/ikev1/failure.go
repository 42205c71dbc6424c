package ikev1

import (
	"cmp"
	"errors"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// refusePhase1 answers an offer of which nothing is allowed, and tells the operator.
func (e *Engine) refusePhase1(d Datagram, h wire.Header, offer *wire.SA, methods []pki.Method, vendorIDs [][]byte) {
	explain := func() diagnosis {
		return explainPhase1(offer, e.cfg.Phase1, methods, recognise(vendorIDs, offer).kind)
	}
	if !e.failUnauthenticated(d, DropNoProposal, explain) {
		return
	}
	// The cookie is not kept: no SA has this name.
	b, err := e.random(12)
	if err != nil {
		return
	}
	notify := wire.Message(wire.Header{
		InitiatorCookie: h.InitiatorCookie, ResponderCookie: wire.Cookie(b[:8]),
		Exchange: wire.ExchangeInformational, MessageID: nonZero(b[8:]),
	}, wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyNoProposalChosen})
	if len(notify) <= len(d.Payload) {
		e.out.Send = append(e.out.Send, Datagram{Local: d.Local, Remote: d.Remote, Encapsulated: d.Encapsulated, Payload: notify})
	}
}

// diagnosis is why something failed, as far as the place where it failed knows.
type diagnosis struct {
	cause            Cause
	facts            Facts
	offered, allowed []string
}

// because returns a diagnosis that costs nothing to make.
func because(cause Cause, facts Facts) func() diagnosis {
	return func() diagnosis { return diagnosis{cause: cause, facts: facts} }
}

// failUnauthenticated counts a drop and explains it, unless there have been many in this second; then it returns false. The
// explanation may cost more than all the rest of a message: it is not made in vain.
func (e *Engine) failUnauthenticated(d Datagram, reason DropReason, explain func() diagnosis) bool {
	e.drop(d, reason)
	if !e.answers.allow(e.now, time.Second, answersPerSec) {
		return false
	}
	e.emit(explain().phase1Failed(d))
	return true
}

// phase1Failed words the diagnosis for the peer of d.
func (x diagnosis) phase1Failed(d Datagram) Phase1Failed {
	x.facts.Client = d.Remote.Addr()
	text, hint := x.cause.Explain(x.facts)
	return Phase1Failed{
		Local: d.Local, Remote: d.Remote, Code: x.cause, Cause: text, Hint: hint,
		Identity: x.facts.Identity, VendorKind: x.facts.Kind, Offered: x.offered, Allowed: x.allowed,
	}
}

// failHandshake ends a phase 1 exchange.
func (e *Engine) failHandshake(sa *isakmpSA, reason DropReason, cause Cause, facts Facts) {
	facts.Kind = sa.peer.kind
	d, explain := Datagram{Local: sa.local, Remote: sa.remote}, because(cause, facts)
	if sa.initiator { // nobody can flood us with our own failures
		e.drop(d, reason)
		ev := explain().phase1Failed(d)
		ev.Connection = sa.connection.id
		e.emit(ev)
	} else {
		e.failUnauthenticated(d, reason, explain)
	}
	e.dropSA(sa, string(cause))
}

// failWaiting ends a Main Mode whose message 5 did not come: a client that has got message 4 knows of NATs. Or an Aggressive Mode whose
// message 3 did not.
func (e *Engine) failWaiting(sa *isakmpSA) {
	cause, facts := CauseMessage5Lost, Facts{}
	switch {
	case sa.aggressive:
		cause, facts.Identity = CauseMessage3Lost, sa.handshake.proof.name
	case sa.refusedBehindNAT():
		cause, facts.Detail = CauseWindowsBehindNAT, "message 5 did not arrive"
	case sa.peer.natHere || sa.peer.natThere:
		cause = CausePort4500Blocked
	}
	e.failHandshake(sa, DropTimeout, cause, facts)
}

// verificationLate is why a handshake ends while a signature is still being checked: nothing else takes so long.
func verificationLate(sa *isakmpSA) (Cause, Facts) {
	return CauseRevocationUnknown, Facts{Identity: sa.handshake.proof.name, Detail: "no answer came within the time of the handshake"}
}

// signatureCauses are the causes of a signature that is not accepted.
var signatureCauses = map[pki.Cause]Cause{
	pki.Expired: CauseCertificateExpired, pki.NotYetValid: CauseCertificateFuture, pki.Untrusted: CauseUntrusted,
	pki.Revoked: CauseCertificateRevoked, pki.RevocationUnknown: CauseRevocationUnknown, pki.UnknownIdentity: CauseUnknownIdentity,
	pki.BadSignature: CauseBadSignature, pki.Malformed: CauseBadCertificate, pki.Limit: CauseBadCertificate,
}

// failSignature ends a Main Mode whose signature was not accepted.
func (e *Engine) failSignature(sa *isakmpSA, err error) {
	cause, facts := CauseInternal, Facts{Identity: sa.handshake.proof.name, Detail: err.Error()}
	if refused, ok := errors.AsType[*pki.Error](err); ok {
		cause = signatureCauses[refused.Cause]
		if len(sa.handshake.proof.certificates) == 0 {
			cause = CauseNoCertificate
		}
		facts.Identity, facts.Detail = cmp.Or(refused.Subject, facts.Identity), refused.Err.Error()
	}
	e.failHandshake(sa, DropAuthentication, cause, facts)
}

// refusedBehindNAT says whether the client is one that, as it comes from the factory, refuses a server behind a NAT.
func (sa *isakmpSA) refusedBehindNAT() bool { return sa.peer.natHere && sa.peer.kind == kindWindows }

// failQuick counts the failure of a Quick Mode and explains it, unless this client, or all together, had many of late. Who knows the
// pre-shared key of a whole company is not yet a friend.
func (e *Engine) failQuick(c *client, reason DropReason, explain func() diagnosis) {
	e.emit(Dropped{Remote: c.key.remote, Reason: reason})
	e.explainQuick(c, explain)
}

// explainQuick is failQuick where no message was dropped.
func (e *Engine) explainQuick(c *client, explain func() diagnosis) {
	c.failed = true
	e.touch(c)
	if !c.failures.allow(e.now, time.Minute, failuresPerMinute) || !e.failures.allow(e.now, time.Second, answersPerSec) {
		return
	}
	x := explain()
	x.facts.Client, x.facts.Kind, x.facts.Identity = c.key.remote.Addr(), c.vendorKind, c.identity
	text, hint := x.cause.Explain(x.facts)
	e.emit(Phase2Failed{
		Client: c.id, Remote: c.key.remote, Code: x.cause, Cause: text, Hint: hint,
		Identity: c.identity, VendorKind: c.vendorKind, Offered: x.offered, Allowed: x.allowed,
	})
}

// fruitless says whether a client has had no child, and nobody was told why.
func (c *client) fruitless() bool { return !c.failed && !c.hadChild }

// failChildless explains why a client goes that never got a child, unless a Quick Mode of it failed, which was explained then. how says in
// which way it goes, if not silently.
func (e *Engine) failChildless(c *client, how string) {
	if !c.fruitless() {
		return
	}
	cause, facts := CauseNoQuickMode, Facts{Detail: how}
	if sa := c.newest(); sa != nil {
		switch {
		case sa.refusedBehindNAT():
			cause, facts.Detail = CauseWindowsBehindNAT, "no Quick Mode followed phase 1"
		case sa.method != pki.PSK:
			facts.Setting = "ike.certificates"
		}
	}
	e.explainQuick(c, because(cause, facts))
}

// refuseQuick answers an offer that cannot be taken, and tells the operator.
func (e *Engine) refuseQuick(sa *isakmpSA, kind wire.NotifyType, reason DropReason, explain func() diagnosis) {
	e.failQuick(sa.client, reason, explain)
	e.inform(sa, wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, Kind: kind})
}
