package concentrator

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

const (
	// maxVerifications bounds the certificates that are being checked at a time, each on a goroutine of its own.
	maxVerifications = 64
	// verificationWait is less than clients wait: what an OCSP responder or a CRL server has not said by then counts as unknown.
	verificationWait = 10 * time.Second
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

// compute hands an action to a worker. It is done at once, without success, if too much is waiting.
func (c *Concentrator) compute(a ikev1.Action, perform func() ikev1.Result) (result ikev1.Result, done bool) {
	select {
	case c.work <- func() { c.finish(a, perform) }:
		return nil, false
	default:
		return ikev1.SimpleResult{Err: errBusy}, true
	}
}

// verify checks a certificate beside the workers, because it may wait for the network.
func (c *Concentrator) verify(a ikev1.VerifyPeer) (result ikev1.Result, done bool) {
	select {
	case c.verifying <- struct{}{}:
	default:
		return ikev1.SimpleResult{Err: errBusy}, true
	}
	go func() {
		defer func() { <-c.verifying }()
		ctx, cancel := context.WithTimeout(context.Background(), verificationWait)
		defer cancel()
		c.finish(a, func() ikev1.Result { return a.Perform(ctx) })
	}()
	return nil, false
}

// finish performs an action and reports its result to the engine, on the loop.
func (c *Concentrator) finish(a ikev1.Action, perform func() ikev1.Result) {
	var result ikev1.Result
	if err := protect(func() error { result = perform(); return nil }); err != nil {
		result = ikev1.SimpleResult{Err: err}
	}
	c.post(func() {
		now := time.Now()
		c.applyIKE(now, c.IKE.Complete(now, a.ActionID(), result))
	})
}
