package concentrator

import (
	"time"

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
	if id, found := cl.childWith(e.ID); found {
		c.applyIKE(now, c.IKE.Expired(now, cl.id, id, e.Hard))
	}
}

// childWith finds the child that has an SA.
func (cl *client) childWith(sa xfrm.ID) (ikev1.ChildID, bool) {
	for id, ch := range cl.children {
		if ch.in == sa || ch.out == sa {
			return id, true
		}
	}
	return 0, false
}
