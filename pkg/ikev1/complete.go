package ikev1

import (
	"cmp"
	"errors"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// pendingKind says what an action that was asked for was meant for.
type pendingKind uint8

const (
	pendingMainModeDH pendingKind = iota + 1
	pendingVerification
	pendingSignature
	pendingQuickModeDH
	pendingInbound
	pendingOutbound
	pendingRemoval
)

// pendingAction is an action that was not reported yet. What it points to may be dead when it is.
type pendingAction struct {
	kind  pendingKind
	sa    *isakmpSA
	quick *quickMode
	child *child
}

// errResult stands for a result of the wrong type, which is a mistake of the owner.
var errResult = errors.New("the action was completed with a result of the wrong type")

// act puts an action into the output; build gets its ID.
func (e *Engine) act(p pendingAction, build func(ActionID) Action) {
	e.lastAction++
	e.out.Actions = append(e.out.Actions, build(e.lastAction))
	e.pending[e.lastAction] = p
}

// computeDH asks for our public value and, if the peer's is there, for the secret.
func (e *Engine) computeDH(p pendingAction, private *dh.PrivateKey, peer []byte) {
	e.act(p, func(id ActionID) Action {
		return ComputeDH{ID: id, Group: private.Group(), Private: private, Peer: peer}
	})
}

// Complete takes the result of an action that an earlier Output asked for. An unknown id is ignored.
func (e *Engine) Complete(now time.Time, id ActionID, result Result) Output {
	e.now = now
	p, ok := e.pending[id]
	if !ok {
		return Output{}
	}
	delete(e.pending, id)
	e.suspects = p.suspects()
	e.touch(p.client())
	e.guarded(p.remote(), func() { e.complete(p, result) })
	return e.take()
}

// complete takes the result of an action.
func (e *Engine) complete(p pendingAction, result Result) {
	failed := simpleError(result)
	switch p.kind {
	case pendingMainModeDH, pendingQuickModeDH:
		r, ok := result.(DHResult)
		if !ok {
			r.Err = cmp.Or(failed, errResult)
		}
		if p.kind == pendingMainModeDH {
			e.mainModeComputed(p.sa, r)
		} else {
			e.quickModeComputed(p.quick, r)
		}
		keymat.Zero(r.Shared)
	case pendingVerification:
		r, ok := result.(VerifyResult)
		if !ok {
			r.Err = cmp.Or(failed, errResult)
		}
		e.verified(p.sa, r)
	case pendingSignature:
		r, ok := result.(SignResult)
		if !ok {
			r.Err = cmp.Or(failed, errResult)
		}
		e.signed(p.sa, r)
	case pendingInbound:
		e.inboundInstalled(p.quick, failed)
	case pendingOutbound:
		e.outboundInstalled(p.child, failed)
	case pendingRemoval:
		// Nothing waits for it; the owner knows best what to do about a failure.
	}
}

// suspects returns what is spoiled when something panics in complete.
func (p pendingAction) suspects() suspects {
	s := suspects{quick: p.quick}
	if p.sa != nil {
		s.sas = []*isakmpSA{p.sa}
	}
	if p.child != nil {
		s.client = p.child.client
	}
	return s
}

// client returns the client that the action was for, nil for none.
func (p pendingAction) client() *client {
	switch {
	case p.sa != nil:
		return p.sa.client
	case p.quick != nil:
		return p.quick.child.client
	case p.child != nil:
		return p.child.client
	}
	return nil
}

// remote returns whom the action was for, the zero value if nobody waits for it.
func (p pendingAction) remote() netip.AddrPort {
	switch {
	case p.sa != nil:
		return p.sa.remote
	case p.quick != nil:
		return p.quick.sa.remote
	case p.child != nil:
		return p.child.remote
	}
	return netip.AddrPort{}
}

// simpleError returns the error of a SimpleResult.
func simpleError(result Result) error {
	r, ok := result.(SimpleResult)
	if !ok {
		return errResult
	}
	return r.Err
}
