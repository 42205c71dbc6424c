package caller

import (
	"context"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// Answer is the engine as responder, without a kernel: SAs count as installed at once. As in the daemon, Diffie-Hellman is
// computed beside the loop. It opens UDP ports 500 and 4500 in the namespace of the calling thread, and returns when ctx ends.
func Answer(ctx context.Context, a Agreement) error {
	s, err := openStation(a)
	if err != nil {
		return err
	}
	defer s.Close()
	r := &responder{station: s, work: make(chan ikev1.ComputeDH, inboxSize), done: make(chan computed, inboxSize)}
	defer close(r.work)
	go r.compute()
	return r.loop(ctx)
}

type responder struct {
	*station
	work chan ikev1.ComputeDH
	done chan computed
}

// computed is the result of an action.
type computed struct {
	id     ikev1.ActionID
	result ikev1.DHResult
}

// compute is the worker.
func (r *responder) compute() {
	for a := range r.work {
		r.done <- computed{a.ID, a.Perform()}
	}
}

func (r *responder) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if next := r.engine.Next(); !next.IsZero() {
			timer.Reset(max(0, time.Until(next)))
		}
		var out ikev1.Output
		select {
		case d := <-r.inbox:
			out = r.engine.Handle(time.Now(), d)
		case d := <-r.strangers:
			out = r.engine.Handle(time.Now(), d)
		case c := <-r.done:
			out = r.engine.Complete(time.Now(), c.id, c.result)
		case <-timer.C:
			out = r.engine.Advance(time.Now())
		case <-ctx.Done():
			return nil
		}
		if err := r.apply(out); err != nil {
			return err
		}
	}
}

// apply carries out what the engine asks for.
func (r *responder) apply(out ikev1.Output) error {
	if err := r.send(out); err != nil {
		return err
	}
	for _, a := range out.Actions {
		if dh, ok := a.(ikev1.ComputeDH); ok {
			r.work <- dh
			continue
		}
		if err := r.apply(r.engine.Complete(time.Now(), a.ActionID(), ikev1.SimpleResult{})); err != nil {
			return err
		}
	}
	return nil
}
