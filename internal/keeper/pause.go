package keeper

import (
	"context"
	"time"
)

// pausing is a wish to hear nothing of the daemon for a while.
type pausing struct {
	heard  chan struct{} // closed by the reader: it reads no more
	resume chan struct{} // closed by who wished: it may go on
}

// pause ends the reading of requests, waits until those that were read are done and answered, and nothing is being written. All of that goes on
// when resume is called. A daemon that has gone has nothing to say either.
func (c *connection) pause(ctx context.Context) (_ func(), err error) {
	p := &pausing{heard: make(chan struct{}), resume: make(chan struct{})}
	select {
	case <-c.pauses: // a wish that was over before it was heard
	default:
	}
	c.pauses <- p
	c.t.Interrupt()
	resume := func() {
		c.out.hold(false)
		c.t.Resume()
		close(p.resume)
	}
	defer func() {
		if err != nil {
			resume()
		}
	}()
	select {
	case <-p.heard:
	case <-c.gone:
		return resume, nil
	case <-ctx.Done():
		return nil, ctx.Err() // the reader is within a message; if it sees the wish yet, that is over at once
	}
	for len(c.places) > 0 || !c.out.hold(true) { // not long.Wait: it would go on beside the requests that follow if it is given up
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return resume, nil
}

// paused does what was wished for, if it was, and otherwise returns false.
func (c *connection) paused() bool {
	select {
	case p := <-c.pauses:
		close(p.heard)
		<-p.resume
		return true
	default:
		return false
	}
}

// hold ends the writing between two messages if nothing waits, or lets it go on. It returns whether nothing is being written now.
func (o *outbox) hold(held bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if held && (len(o.waiting) > 0 || o.writing) && !o.failed {
		return false
	}
	o.held = held
	o.changed.Broadcast()
	return held
}
