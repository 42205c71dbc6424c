package concentrator

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// HandleExpire hands to the loop that the kernel has found an SA at a limit, and waits until the loop takes it.
func (c *Concentrator) HandleExpire(e xfrm.Expire) {
	select {
	case c.clientInbox <- func() { c.onExpire(time.Now(), e) }:
	case <-c.stopped:
	}
}

func (c *Concentrator) onExpire(now time.Time, e xfrm.Expire) {
	cl := c.ports[slot.Port(e.ReqID)]
	if cl == nil || !c.opt.Block.Owns(e.ReqID) {
		return
	}
	for id, ch := range cl.children {
		if ch.in == e.ID || ch.out == e.ID {
			c.applyIKE(now, c.IKE.Expired(now, cl.id, id, e.Hard))
			return
		}
	}
}

// HandleOverrun looks for what the lost events of the kernel may have told: SAs that it has ended. It returns when that is done.
func (c *Concentrator) HandleOverrun() {
	// Before the kernel is asked, so that SAs that are installed meanwhile are not missed in its answer.
	var known []expiring
	if err := c.call(context.Background(), func() { known = c.expiring() }); err != nil {
		return // the loop has ended
	}
	list, err := c.SAs.List()
	if err != nil {
		c.Log.Warn("events of the kernel were lost, and its SAs cannot be listed; a client may have to connect anew", zap.Error(err))
		return
	}
	there := make(map[xfrm.ID]bool, len(list))
	for _, st := range list {
		there[st.ID] = true
	}
	c.post(func() {
		now := time.Now()
		for _, k := range known {
			inGone, outGone := !there[k.in], k.out.SPI != 0 && !there[k.out]
			c.offloads.noteLoss(inGone, k.inPlace)
			c.offloads.noteLoss(outGone, k.outPlace)
			if inGone || outGone {
				c.applyIKE(now, c.IKE.Expired(now, k.client, k.id, true))
			}
		}
	})
}

// expiring is a child that the kernel may end.
type expiring struct {
	child
	client ikev1.ClientID
	id     ikev1.ChildID
}

func (c *Concentrator) expiring() (list []expiring) {
	for _, cl := range c.clients {
		for id, ch := range cl.children {
			list = append(list, expiring{*ch, cl.id, id})
		}
	}
	return list
}
