package concentrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const (
	// lostWait is how long a client may take to negotiate anew when its SAs were removed.
	lostWait = 30 * time.Second
	// maxLost bounds the events when many objects are gone at once; above it there is one for all.
	maxLost = 16
)

const saRemoved = "an SA of the client was removed from the kernel"

// HandleDeleted hands to the loop that somebody has deleted an SA, and waits until the loop takes it.
func (c *Concentrator) HandleDeleted(d xfrm.Deleted) {
	select {
	case c.clientInbox <- func() { c.onDeleted(time.Now(), d) }:
	case <-c.stopped:
	}
}

// onDeleted gives a child up whose SA somebody else has deleted. What we delete ourselves we have forgotten before, or have put somewhere
// else meanwhile, so the kernel is asked.
func (c *Concentrator) onDeleted(now time.Time, d xfrm.Deleted) {
	cl := c.ports[slot.Port(d.ReqID)]
	if cl == nil || !c.opt.Block.Owns(d.ReqID) {
		return
	}
	id, found := cl.childWith(d.ID)
	if !found {
		return
	}
	if _, err := c.SAs.Get(d.ID); errors.Is(err, os.ErrNotExist) {
		c.loseChildren(now, []expiring{{*cl.children[id], cl.id, id}}, saRemoved)
	}
}

// HandleOverrun looks for what the lost events of the kernel, or one that stands for many, may have told: SAs that are gone. It returns
// when that is done.
func (c *Concentrator) HandleOverrun() {
	// Before the kernel is asked, so that SAs that are installed meanwhile are not missed in its answer.
	asked := time.Now()
	var known []expiring
	if err := c.call(context.Background(), func() { known = c.expiring() }); err != nil {
		return // the loop has ended
	}
	list, err := c.SAs.List()
	if err != nil {
		c.Log.Warn("SAs may be gone, and those of the kernel cannot be listed; a client may have to connect anew", zap.Error(err))
		return
	}
	there := idsOf(list)
	c.post(func() {
		var gone []expiring
		for _, k := range known {
			in, out := k.lacks(there)
			if !in && !out {
				continue
			}
			cl := c.clients[k.client]
			switch {
			case cl == nil || cl.children[k.id] == nil: // we have removed it meanwhile
			case !cl.moved.Before(asked) && c.present(cl.children[k.id]): // it was on its way to another place
			default:
				c.offloads.noteLosses(k, in, out)
				gone = append(gone, k)
			}
		}
		c.loseChildren(time.Now(), gone, saRemoved)
	})
}

// present says that the kernel has the SAs of a child, where they are now.
func (c *Concentrator) present(ch *child) bool {
	for _, id := range []xfrm.ID{ch.in, ch.out} {
		if id.SPI == 0 {
			continue
		}
		if _, err := c.SAs.Get(id); errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	return true
}

// expiring is a child that the kernel may end.
type expiring struct {
	child
	client ikev1.ClientID
	id     ikev1.ChildID
}

// lacks tells which SAs of a child are not there.
func (k expiring) lacks(there map[xfrm.ID]bool) (in, out bool) {
	return !there[k.in], k.out.SPI != 0 && !there[k.out]
}

func idsOf(list []xfrm.State) map[xfrm.ID]bool {
	ids := make(map[xfrm.ID]bool, len(list))
	for _, st := range list {
		ids[st.ID] = true
	}
	return ids
}

func (c *Concentrator) expiring() (list []expiring) {
	for _, cl := range c.clients {
		for id, ch := range cl.children {
			list = append(list, expiring{*ch, cl.id, id})
		}
	}
	return list
}

// loseChildren gives up children that lack an SA: it cannot be made again without its keys, so that the client has to negotiate
// anew. One that does not is ended; see patience.
func (c *Concentrator) loseChildren(now time.Time, gone []expiring, reason string) {
	for _, k := range gone {
		cl := c.clients[k.client]
		if cl == nil {
			continue // an earlier one was its last, and took it along
		}
		c.counters.lostSAs++
		if len(gone) <= maxLost {
			ev := cl.event(eventSALost)
			ev.Severity = control.SeverityWarning
			causeRemoved.explain(&ev)
			ev.Text = reason + "; it has to negotiate anew"
			c.record("an SA is gone", ev, zap.String("spi_in", spi(k.in.SPI)), zap.String("spi_out", spi(k.out.SPI)))
		}
		c.applyIKE(now, c.IKE.Lost(now, k.client, k.id, reason))
		if c.clients[k.client] == cl && len(cl.children) == 0 {
			cl.lost = now
			c.ledger.client(cl)
			c.touch(cl)
		}
	}
	if len(gone) > maxLost {
		ev := control.Event{Kind: eventSALost, Severity: control.SeverityWarning}
		causeRemoved.explain(&ev)
		ev.Text = fmt.Sprintf("SAs of %d pairs were removed from the kernel; their clients have to negotiate anew", len(gone))
		c.record("many SAs are gone", ev)
	}
}
