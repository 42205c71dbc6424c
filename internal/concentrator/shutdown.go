package concentrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

var errStopped = errors.New("the concentrator has stopped")

// ErrLeave is the cause of a context whose end leaves sessions as they are, for the next daemon.
var ErrLeave = errors.New("the sessions are left to the next daemon")

// settleWait bounds the wait for kernel operations at the end.
const settleWait = 5 * time.Second

// shutdown says goodbye to every peer, layer by layer, and removes everything from the kernel.
// It runs on the loop's goroutine after the loop.
func (c *Concentrator) shutdown() error {
	now := time.Now()
	c.IKE.Refuse()
	c.plain.closed = true
	c.record("stopping", control.Event{Kind: eventStopping, Text: fmt.Sprintf("the daemon ends; %d clients", len(c.clients))}, zap.Int("clients", len(c.clients)))
	for _, cl := range c.clients {
		c.endClient(now, cl, "the server is stopping")
	}
	c.drain(c.opt.TerminateWait+stopWait, func() bool { return len(c.clients) == 0 })

	now = time.Now()
	c.applyL2TP(now, c.L2TP.Shutdown(now))
	c.applyIKE(now, c.IKE.Shutdown(now))
	for _, cl := range c.clients { // the engine has told of all of them; this is for those it does not know
		c.closeClient(now, cl)
	}
	c.drain(settleWait, func() bool { return len(c.ports) == 0 && len(c.byNAS) == 0 })
	if n := len(c.ports); n > 0 {
		return fmt.Errorf("%d clients were not removed within %v; the next start will sweep", n, settleWait)
	}
	return nil
}

// leave writes down what there is.
func (c *Concentrator) leave() {
	c.writeDown()
	c.Log.Info("leaving the sessions to the next daemon", zap.Int("clients", len(c.clients)))
}

// drain goes on with the loop until finished says so, but no longer than limit.
func (c *Concentrator) drain(limit time.Duration, finished func() bool) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	alarm := newAlarm()
	defer alarm.timer.Stop()
	for !finished() && c.step(ctx, alarm) {
	}
}
