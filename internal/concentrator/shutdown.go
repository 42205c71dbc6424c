package concentrator

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

var errStopped = errors.New("the concentrator has stopped")

// settleWait bounds the wait for kernel operations at the end.
const settleWait = 5 * time.Second

// shutdown says goodbye to every peer, layer by layer, and removes everything from the kernel.
// It runs on the loop's goroutine after the loop.
func (c *Concentrator) shutdown() error {
	now := time.Now()
	c.IKE.Refuse()
	c.Log.Info("stopping", zap.Int("clients", len(c.clients)))
	for _, cl := range c.clients {
		c.endClient(now, cl, "the server is stopping")
	}
	c.drain(now.Add(c.opt.TerminateWait), func() bool { return len(c.clients) == 0 })

	now = time.Now()
	c.applyL2TP(now, c.L2TP.Shutdown(now))
	c.applyIKE(now, c.IKE.Shutdown(now))
	for _, cl := range c.clients { // the engine has told of all of them; this is for those it does not know
		c.closeClient(now, cl)
	}
	c.drain(now.Add(settleWait), func() bool { return len(c.ports) == 0 && len(c.byNAS) == 0 })
	if n := len(c.ports); n > 0 {
		return fmt.Errorf("%d clients were not removed within %v; the next start will sweep", n, settleWait)
	}
	return nil
}

// drain goes on with the loop until finished says so, or until deadline.
func (c *Concentrator) drain(deadline time.Time, finished func() bool) {
	end := time.NewTimer(time.Until(deadline))
	defer end.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !finished() {
		c.arm(timer)
		select {
		case f := <-c.control:
			c.guard(f)
		case f := <-c.inbox:
			c.guard(f)
		case f := <-c.clientInbox:
			c.guard(f)
		case <-timer.C:
			c.guard(func() { c.advance(time.Now()) })
		case <-end.C:
			return
		}
	}
}
