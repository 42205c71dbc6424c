package caller

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// Report is what became of calls.
type Report struct {
	// Took are the times from message 1 to the child SA, of the calls that succeeded.
	Took []time.Duration
	// Failures are the causes of those that did not.
	Failures []string
}

// campaign is one Call.
type campaign struct {
	*Caller
	under   map[ikev1.ConnectionID]time.Time // since when
	clients map[ikev1.ClientID]ikev1.ConnectionID
	report  Report
}

// Call connects n clients, so many at a time, and ends the connection of each as soon as it has its child SA. It returns when all
// have succeeded or failed. The error says that ctx has ended before, or that a message could not be sent.
func (c *Caller) Call(ctx context.Context, n, parallel int) (Report, error) {
	p := &campaign{Caller: c, under: make(map[ikev1.ConnectionID]time.Time), clients: make(map[ikev1.ClientID]ikev1.ConnectionID)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	begun := 0
	for {
		for ; begun < n && len(p.under) < parallel; begun++ {
			if err := p.begin(); err != nil {
				return p.report, err
			}
		}
		if len(p.under) == 0 {
			return p.report, nil
		}
		if next := c.engine.Next(); !next.IsZero() {
			timer.Reset(max(0, time.Until(next)))
		}
		var out ikev1.Output
		select {
		case d := <-c.inbox:
			out = c.engine.Handle(time.Now(), d)
		case <-timer.C:
			out = c.engine.Advance(time.Now())
		case <-ctx.Done():
			return p.report, fmt.Errorf("%d of %d calls done: %w", len(p.report.Took)+len(p.report.Failures), n, ctx.Err())
		}
		if err := p.apply(out); err != nil {
			return p.report, err
		}
	}
}

// begin calls in the name of the next client.
func (p *campaign) begin() error {
	now := time.Now()
	id, out, err := p.engine.Connect(now, ikev1.Connection{
		Local: netip.AddrPortFrom(p.address(), udp.IKEPort), Remote: netip.AddrPortFrom(p.cfg.Server, udp.IKEPort),
	})
	if err != nil {
		return err
	}
	p.under[id] = now
	return p.apply(out)
}

// apply carries out what the engine asks for. SAs are not installed.
func (p *campaign) apply(out ikev1.Output) error {
	if err := p.send(out); err != nil {
		return err
	}
	for _, e := range out.Events {
		if err := p.note(e); err != nil {
			return err
		}
	}
	for _, a := range out.Actions {
		var result ikev1.Result = ikev1.SimpleResult{}
		if dh, ok := a.(ikev1.ComputeDH); ok {
			result = dh.Perform()
		}
		if err := p.apply(p.engine.Complete(time.Now(), a.ActionID(), result)); err != nil {
			return err
		}
	}
	return nil
}

// note takes down what became of a call.
func (p *campaign) note(event ikev1.Event) error {
	switch e := event.(type) {
	case ikev1.Phase1Established:
		p.clients[e.Client] = e.Connection
	case ikev1.Phase1Failed:
		p.failed(e.Connection, e.Cause)
	case ikev1.Phase2Failed:
		p.failed(p.clients[e.Client], e.Cause)
	case ikev1.ClientGone:
		p.failed(p.clients[e.Client], e.Reason)
		delete(p.clients, e.Client)
	case ikev1.ChildEstablished:
		id := p.clients[e.Client]
		if since, ok := p.under[id]; ok {
			p.report.Took = append(p.report.Took, time.Since(since))
			delete(p.under, id)
		}
		return p.apply(p.engine.Disconnect(time.Now(), id, "the call is over"))
	}
	return nil
}

// failed notes the end of a call that has not succeeded.
func (p *campaign) failed(id ikev1.ConnectionID, cause string) {
	if _, ok := p.under[id]; ok {
		p.report.Failures = append(p.report.Failures, cause)
		delete(p.under, id)
	}
}
