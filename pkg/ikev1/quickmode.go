package ikev1

import (
	"bytes"
	"errors"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// quickState is the state of a Quick Mode.
type quickState uint8

const (
	quickWorking       quickState = iota + 1 // Diffie-Hellman or the installation of the inbound SA is under way
	quickAwaitMessage2                       // message 1 was sent
	quickAwaitMessage3                       // message 2 was sent
	quickDone                                // message 3 was sent, and is sent again if message 2 comes once more
	quickDead                                // done or given up; only pending actions still point here
)

// quickMode is one exchange that makes a child (RFC 2409 section 5.5).
type quickMode struct {
	sa    *isakmpSA
	child *child
	id    uint32
	state quickState
	timer timer

	// initiator says that we began; request is message 1 then, replaces the child that the new one is to replace, nil for none.
	initiator bool
	request   []byte
	replaces  *child

	cache    exchangeCache
	deadline time.Time
	pause    time.Duration // until the next repetition of our message

	ni, nr []byte
	iv     []byte // of the next message
	answer *wire.SA
	ids    []wire.Payload // of both sides, the same in both directions
	natOA  []wire.Payload

	// shortened says that we allow less than the lifetime that was offered.
	shortened bool

	private *dh.PrivateKey // for PFS
	public  []byte
	peer    []byte // public value of the peer
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
	case sa.state == awaitHashI:
		// Message 3 of Aggressive Mode was lost. The client, who takes it for arrived, sends it again when it sees message 2 again.
		e.repeat(sa, &sa.cache, d, maxDuplicates)
	case sa.state != established:
		e.drop(d, DropUnexpected)
	case h.MessageID == 0:
		e.drop(d, DropMalformed)
	case q != nil && q.cache.isDuplicate(d.Payload):
		e.repeat(sa, &q.cache, d, maxDuplicates)
		if !q.child.switchAt.IsZero() {
			e.switchLater(q.child) // message 3 was lost
		}
	case q != nil && q.state == quickAwaitMessage2:
		e.quickMode2(q, d, h)
	case q != nil && q.state == quickAwaitMessage3:
		e.quickMode3(q, d, h)
	case q != nil:
		e.drop(d, DropUnexpected)
	case sa.used(h.MessageID):
		e.drop(d, DropDuplicate)
	case sa.quickModesOfPeer() >= maxQuickModes:
		e.drop(d, DropExchangeLimit)
	default:
		e.quickMode1(sa, d, h)
	}
}

// beginExchange takes note of a Quick Mode that begins.
func (e *Engine) beginExchange(q *quickMode) {
	q.timer.owner = q
	q.sa.quick[q.id] = q
	e.timers.set(&q.timer, q.deadline)
}

// pfsKey draws our secret for PFS, nil if there is no group for it.
func (e *Engine) pfsKey(g dh.Group) (*dh.PrivateKey, error) {
	if g == 0 {
		return nil, nil
	}
	return dh.GenerateKey(g, e.rand)
}

// keyChild asks for the secret of PFS once both public values are there, and goes on at once where there is no PFS.
func (e *Engine) keyChild(q *quickMode) {
	if q.private == nil {
		e.installInbound(q, nil)
		return
	}
	e.computeDH(pendingAction{kind: pendingQuickModeDH, quick: q}, q.private, q.peer)
}

// quickModeComputed takes the result of the Diffie-Hellman for PFS.
func (e *Engine) quickModeComputed(q *quickMode, r DHResult) {
	waiting := q.initiator && q.peer == nil // only the public value was computed
	if !waiting || q.state != quickWorking {
		q.private.Destroy()
	}
	if q.state != quickWorking {
		return
	}
	if r.Err != nil {
		e.failQuick(q.child.client, DropKeyExchange, because(CauseKeyExchange, Facts{Detail: "PFS: " + r.Err.Error()}))
		e.dropQuickMode(q, "PFS failed")
		return
	}
	q.public = bytes.Clone(r.Public)
	if waiting {
		e.sendQuick1(q)
		return
	}
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

// inboundInstalled sends message 2, or 3 if we began: from now on the peer may use the SA.
func (e *Engine) inboundInstalled(q *quickMode, err error) {
	ch := q.child
	ch.in.lent = false
	ch.in.zero()
	if q.state != quickWorking {
		return
	}
	if err != nil {
		cause, detail := CauseInstall, "inbound: "+err.Error()
		if errors.Is(err, ErrFull) {
			cause, detail = CauseNoSlot, err.Error()
		}
		e.failQuick(ch.client, DropInstall, because(cause, Facts{Detail: detail}))
		e.dropQuickMode(q, "the inbound SA could not be installed")
		return
	}
	if q.initiator {
		e.sendQuick3(q)
		return
	}
	e.sendQuick2(q)
}

// endQuickMode forgets the exchange, not its child.
func (e *Engine) endQuickMode(q *quickMode) {
	q.state = quickDead
	e.timers.set(&q.timer, time.Time{})
	delete(q.sa.quick, q.id)
}

// dropQuickMode gives an exchange up, with its child. The caller reaps the client if the ISAKMP SA goes with it.
func (e *Engine) dropQuickMode(q *quickMode, reason string) {
	switch q.state {
	case quickDead:
		return
	case quickDone:
		e.endQuickMode(q)
		return
	}
	// A Diffie-Hellman that is being computed still uses the secret.
	if q.private != nil && q.state != quickWorking {
		q.private.Destroy()
	}
	told := q.state == quickAwaitMessage3
	e.endQuickMode(q)
	if told && q.child.state != childDead {
		// The client may have sent message 3, and take the child for established.
		e.sendDeleteChild(q.child)
	}
	e.removeChild(q.child, reason, false)
}

// expire repeats our message, or gives up.
func (q *quickMode) expire(e *Engine) {
	if !e.now.Before(q.deadline) {
		switch q.state {
		case quickAwaitMessage2:
			c := q.child.client
			e.quickRefused(q, "the peer does not answer Quick Mode message 1")
			e.revive(c)
			return
		case quickAwaitMessage3:
			e.failQuick(q.child.client, DropTimeout, because(CauseQuickMessage3Lost, Facts{}))
		}
		e.dropQuickMode(q, "Quick Mode timed out")
		return
	}
	if q.initiator {
		e.send(q.sa, q.request)
	} else {
		e.send(q.sa, q.cache.reply)
	}
	q.pause = min(2*q.pause, retransmitMax)
	e.timers.set(&q.timer, earliest(e.now.Add(q.pause), q.deadline))
}
