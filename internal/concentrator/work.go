package concentrator

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

const (
	// maxLookups bounds the clients whose certificates are being looked up, each on a goroutine of its own.
	maxLookups = 1024
	// lookupWait is less than clients wait: what an OCSP responder or a CRL server has not said by then counts as unknown.
	lookupWait = 10 * time.Second
)

var errBusy = errors.New("too much is waiting to be computed")

// workers leaves one processor to the loop.
func workers() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// runWork is a worker: it computes what the engines ask for, until the loop has ended.
func (c *Concentrator) runWork() {
	for do := range c.work {
		do()
	}
}

// hand gives work to a worker. It is done at once, without success, if too much is waiting.
func (c *Concentrator) hand(do func()) (result ikev1.Result, done bool) {
	select {
	case c.work <- do:
		return nil, false
	default:
		return ikev1.SimpleResult{Err: errBusy}, true
	}
}

// compute has a worker perform an action.
func (c *Concentrator) compute(a ikev1.Action, perform func() ikev1.Result) (result ikev1.Result, done bool) {
	return c.hand(func() { c.report(a, c.perform(perform)) })
}

// verification is an [ikev1.VerifyPeer].
type verification interface {
	ikev1.Action
	Prove() (look func(context.Context) ikev1.VerifyResult, refused ikev1.VerifyResult)
}

// verify has a worker check a certificate and the signature, as costly as a key agreement: all that a stranger can ask for. Only who proves to
// have a certificate by one of our authorities takes a place among those who wait for the network. If there is none left, what is
// known at this moment has to do.
func (c *Concentrator) verify(a verification) (result ikev1.Result, done bool) {
	return c.hand(func() {
		var look func(context.Context) ikev1.VerifyResult
		result := c.perform(func() ikev1.Result {
			rest, refused := a.Prove()
			look = rest
			return refused
		})
		if look == nil {
			c.report(a, result)
			return
		}
		select {
		case c.lookups <- struct{}{}:
			go func() {
				defer func() { <-c.lookups }()
				c.lookUp(a, look, lookupWait)
			}()
		default:
			c.lookUp(a, look, 0)
		}
	})
}

// lookUp does the rest of a verification, in this time.
func (c *Concentrator) lookUp(a verification, look func(context.Context) ikev1.VerifyResult, within time.Duration) {
	ctx, cancel := context.WithTimeout(c.serving, within)
	defer cancel()
	c.report(a, c.perform(func() ikev1.Result { return look(ctx) }))
}

// perform returns the result of an action, also if it panics.
func (c *Concentrator) perform(do func() ikev1.Result) (result ikev1.Result) {
	if err := protect(func() error { result = do(); return nil }); err != nil {
		return ikev1.SimpleResult{Err: err}
	}
	return result
}

// report tells the engine of a result, on the loop.
func (c *Concentrator) report(a ikev1.Action, result ikev1.Result) {
	c.post(func() {
		if r, ok := result.(ikev1.SimpleResult); ok {
			c.notePanic(r.Err)
		}
		now := time.Now()
		c.applyIKE(now, c.IKE.Complete(now, a.ActionID(), result))
	})
}
