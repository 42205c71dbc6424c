package concentrator

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/egress"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// way is by which device the packets of a child left when its SAs were installed.
type way struct {
	client        ikev1.ClientID
	child         ikev1.ChildID
	local, remote netip.Addr
	mark          uint32
	device        int
}

// HandleRoutes follows a change of routes or devices, and returns when that is done.
//
// An SA cannot be moved to another device, and in crypto mode it need not be: what does not pass its device the kernel does in
// software, packet by packet, so nothing is lost until a rekey puts the next SA where the packets leave then. In packet mode the
// kernel drops such packets, so the child ends and its client negotiates another. SAs whose device went down are no more, and with them
// the number of the last packet that was sent: nothing could go on with their keys, and their children end as well.
func (c *Concentrator) HandleRoutes(change egress.Change) {
	var ways []way
	lost := false
	if err := c.call(context.Background(), func() { ways, lost = c.affected(change) }); err != nil {
		return // the loop has ended
	}
	if lost {
		c.HandleOverrun()
	}
	var moved []way
	for _, w := range ways {
		if device, err := c.Egress.Device(w.local, w.remote, w.mark); err == nil && device != w.device {
			w.device = device
			moved = append(moved, w)
		}
	}
	if len(moved) > 0 {
		c.post(func() {
			for _, w := range moved {
				c.reroute(time.Now(), w)
			}
		})
	}
}

// affected are the children that may have another way now. lost says that SAs may have gone with their device.
func (c *Concentrator) affected(change egress.Change) (ways []way, lost bool) {
	if len(c.opt.Offload) == 0 {
		return nil, false
	}
	for device := range change.Down {
		c.offloads.forget(device)
	}
	for _, cl := range c.clients {
		affected := change.Affects(cl.remote.Addr())
		for id, ch := range cl.children {
			for _, p := range []placement{ch.inPlace, ch.outPlace} {
				if p.offload.Mode != xfrm.OffloadNone && (change.All || change.Down[p.offload.Device]) {
					lost = true
				}
			}
			if affected && ch.inPlace.device != 0 {
				ways = append(ways, way{cl.id, id, ch.in.Dst, cl.remote.Addr(), c.opt.Block.Mark(cl.port), ch.inPlace.device})
			}
		}
	}
	return ways, lost
}

// reroute takes note that the packets of a child leave by another device.
func (c *Concentrator) reroute(now time.Time, w way) {
	cl := c.clients[w.client]
	if cl == nil || cl.children[w.child] == nil {
		return
	}
	ch := cl.children[w.child]
	ch.inPlace.device, ch.outPlace.device = w.device, w.device
	c.ledger.client(cl)
	if ch.inPlace.offload.Mode == xfrm.OffloadNone && ch.outPlace.offload.Mode == xfrm.OffloadNone {
		return // in software every way is as good; a rekey will ask the other device
	}
	c.offloads.moved++
	packet := ch.inPlace.offload.Mode == xfrm.OffloadPacket || ch.outPlace.offload.Mode == xfrm.OffloadPacket
	c.Log.Info("packets of a client leave by another device", zap.Stringer("peer", cl.remote), zap.String("device", c.Egress.Name(w.device)),
		zap.String("offload", ch.offload(c.Egress.Name)))
	c.applyIKE(now, c.IKE.Expired(now, w.client, w.child, packet)) // not hard: rekeyed at once if that is for us to do
}
