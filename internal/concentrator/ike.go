package concentrator

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// applyIKE carries out what the IKE engine asks for: effects first, then the messages that promise
// them, then the facts. Results of effects are reported afterwards, each giving a new output.
func (c *Concentrator) applyIKE(now time.Time, out ikev1.Output) {
	var results []func() ikev1.Output
	for _, a := range out.Actions {
		if result, done := c.performIKE(now, a); done {
			results = append(results, func() ikev1.Output { return c.IKE.Complete(now, a.ActionID(), result) })
		}
	}
	c.ledger.ike(out.Records)
	if len(out.Send) > 0 {
		c.writeDown()
	}
	for _, d := range out.Send {
		c.counters.ikeSent++
		if err := c.IKEIO.Send(udp.Datagram(d)); err != nil {
			c.counters.sendErrors++
			c.Log.Debug("sending an IKE message failed", zap.Stringer("peer", d.Remote), zap.Error(err))
		}
	}
	for _, e := range out.Events {
		c.onIKEEvent(now, e)
	}
	for _, result := range results {
		c.applyIKE(now, result())
	}
}

// performIKE does one action. done is false if the result comes later.
func (c *Concentrator) performIKE(now time.Time, action ikev1.Action) (result ikev1.Result, done bool) {
	switch a := action.(type) {
	case ikev1.ComputeDH:
		return c.compute(a, func() ikev1.Result { return a.Perform() })
	case ikev1.Sign:
		return c.compute(a, func() ikev1.Result { return a.Perform(rand.Reader) })
	case ikev1.VerifyPeer:
		return c.verify(a)
	case ikev1.InstallInbound:
		return ikev1.SimpleResult{Err: c.installInbound(now, a.SA)}, true
	case ikev1.InstallOutbound:
		return ikev1.SimpleResult{Err: c.installOutbound(now, a.SA)}, true
	case ikev1.RemoveChild:
		return ikev1.SimpleResult{Err: c.removeChild(a)}, true
	}
	return ikev1.SimpleResult{Err: fmt.Errorf("unknown action %T", action)}, true
}

// installInbound gives a new client its slot, and installs the SA by which it reaches it.
func (c *Concentrator) installInbound(now time.Time, sa ikev1.ChildSA) error {
	cl, err := c.openClient(now, sa)
	if err != nil {
		return err
	}
	var place placement
	st, err := inboundSA(sa, c.opt.Block, cl.port)
	if err == nil {
		place, err = c.addSA(now, cl, st, 0)
	}
	if err != nil {
		if len(cl.children) == 0 {
			c.closeClient(now, cl)
		}
		return fmt.Errorf("install inbound SA of slot %d: %w", cl.port, err)
	}
	cl.children[sa.Child] = &child{in: st.ID, inPlace: place, encapsulated: sa.Encapsulated, integrity: sa.Integrity}
	c.ledger.client(cl)
	return nil
}

func (c *Concentrator) installOutbound(now time.Time, sa ikev1.ChildSA) error {
	cl := c.clients[sa.Client]
	if cl == nil || cl.children[sa.Child] == nil {
		return fmt.Errorf("install outbound SA: client %d has no child %d", sa.Client, sa.Child)
	}
	if cl.children[sa.Child].out.SPI == sa.SPI {
		return nil // the daemon before has done it, maybe where the client was then: with the same keys, numbers must not begin anew
	}
	var place placement
	st, err := outboundSA(sa, c.opt.Block, cl.port)
	if err == nil {
		place, err = c.addSA(now, cl, st, cl.children[sa.Child].inPlace.device)
	}
	if err != nil {
		return fmt.Errorf("install outbound SA of slot %d: %w", cl.port, err)
	}
	cl.children[sa.Child].out, cl.children[sa.Child].outPlace = st.ID, place
	c.ledger.client(cl)
	return nil
}

func (c *Concentrator) removeChild(a ikev1.RemoveChild) error {
	cl := c.clients[a.Client]
	if cl == nil || cl.children[a.Child] == nil {
		return nil
	}
	ch := cl.children[a.Child]
	delete(cl.children, a.Child)
	c.ledger.client(cl)
	cl.ready = cl.answerable()
	return c.deleteSAs(cl, ch)
}

// deleteSAs deletes those of children that are no more, and looks at what they have counted.
func (c *Concentrator) deleteSAs(cl *client, children ...*child) error {
	var ids []xfrm.ID
	for _, ch := range children {
		ids = append(ids, ch.in)
		if ch.out.SPI != 0 {
			ids = append(ids, ch.out)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	counted, err := c.SAs.Delete(ids...)
	if err != nil {
		c.Log.Warn("removing SAs failed", zap.Stringers("sas", ids), zap.Error(err))
		return err
	}
	for _, ch := range children {
		c.inspect(cl, ch, counted[slices.Index(ids, ch.in)])
	}
	return nil
}

func (c *Concentrator) onIKEEvent(now time.Time, event ikev1.Event) {
	if e, ok := event.(ikev1.Phase1Established); ok {
		c.peers[e.Client] = peer{e.Identity, e.VendorKind}
	}
	c.recordIKE(event)
	switch e := event.(type) {
	case ikev1.Dropped:
		c.counters.ike[string(e.Reason)]++
		if negotiationFailures[e.Reason] {
			c.counters.ikeFailed++
		}
	case ikev1.Panicked:
		c.counters.panics++
	case ikev1.Phase1Established:
		c.counters.phase1++
	case ikev1.ChildEstablished:
		c.counters.children++
		if cl := c.clients[e.Client]; cl != nil {
			c.childUp(now, cl, e)
		}
	case ikev1.ClientMoved:
		if cl := c.clients[e.Client]; cl != nil && e.Encapsulated {
			c.clientMoved(now, cl, e.Remote)
		}
	case ikev1.ClientGone:
		if cl := c.clients[e.Client]; cl != nil {
			c.closeClient(now, cl)
		}
		delete(c.peers, e.Client)
	}
}
