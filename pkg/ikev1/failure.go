package ikev1

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// refusePhase1 answers an offer of which nothing is allowed, and tells the operator.
func (e *Engine) refusePhase1(d Datagram, h wire.Header, offer *wire.SA) {
	if !e.failUnauthenticated(d, DropNoProposal, func() Phase1Failed { return explainPhase1(d, offer, e.cfg.Phase1) }) {
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

// failUnauthenticated counts a drop and explains it, unless there have been many in this second; then it returns false. The
// explanation may cost more than all the rest of a message: it is not made in vain.
func (e *Engine) failUnauthenticated(d Datagram, reason DropReason, explain func() Phase1Failed) bool {
	e.drop(d, reason)
	if !e.answers.allow(e.now, time.Second, answersPerSec) {
		return false
	}
	e.emit(explain())
	return true
}

// failHandshake ends a Main Mode.
func (e *Engine) failHandshake(sa *isakmpSA, reason DropReason, cause, hint string) {
	e.failUnauthenticated(Datagram{Remote: sa.remote}, reason, func() Phase1Failed {
		return Phase1Failed{Local: sa.local, Remote: sa.remote, Cause: cause, Hint: hint}
	})
	e.dropSA(sa, cause)
}

// failQuick counts the failure of a Quick Mode and explains it, unless this client, or all together, had many of late. Who knows the
// pre-shared key of a whole company is not yet a friend.
func (e *Engine) failQuick(c *client, reason DropReason, explain func() Phase2Failed) {
	e.emit(Dropped{Remote: c.key.remote, Reason: reason})
	if !c.failures.allow(e.now, time.Minute, failuresPerMinute) || !e.failures.allow(e.now, time.Second, answersPerSec) {
		return
	}
	ev := explain()
	ev.Client, ev.Remote = c.id, c.key.remote
	e.emit(ev)
}

// refuseQuick answers an offer that cannot be taken, and tells the operator.
func (e *Engine) refuseQuick(sa *isakmpSA, kind wire.NotifyType, reason DropReason, explain func() Phase2Failed) {
	e.failQuick(sa.client, reason, explain)
	e.inform(sa, wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, Kind: kind})
}
