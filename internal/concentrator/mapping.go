package concentrator

import (
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// HandleMapping hands to the loop that authentic ESP of a client comes from another port or address, and waits until the loop takes it.
func (c *Concentrator) HandleMapping(m xfrm.Mapping) {
	select {
	case c.clientInbox <- func() { c.onMapping(time.Now(), m) }:
	case <-c.stopped:
	}
}

// onMapping makes a client's SAs, its tunnel and its IKE follow a NAT's new mapping. The kernel has checked the packet, and that it is no
// repetition.
func (c *Concentrator) onMapping(now time.Time, m xfrm.Mapping) {
	cl := c.ports[slot.Port(m.ReqID)]
	switch {
	case cl == nil || !c.opt.Block.Owns(m.ReqID) || !cl.has(m.ID):
	case m.New == cl.remote && now.Before(cl.moved.Add(moveInterval)):
		// another of its SAs, which was told of before all have moved
	case m.New == cl.remote:
		c.moveClient(now, cl) // one has not
	case m.New.Addr() == cl.left && now.Before(cl.leftAt.Add(lateWait)):
		c.Log.Debug("a packet of a client comes from where it has been", zap.Stringer("peer", cl.remote), zap.Stringer("from", m.New))
	default:
		c.applyIKE(now, c.IKE.Moved(now, cl.id, m.New))
	}
}

func (cl *client) has(inbound xfrm.ID) bool {
	for _, ch := range cl.children {
		if ch.in == inbound {
			return true
		}
	}
	return false
}

// moveInterval is how often the SAs of one client follow it, however often it moves: each time costs the loop some requests to
// the kernel, and who has the pre-shared key can send from two ports in turn.
const moveInterval = time.Second

// lateWait is how long packets from the address that a client has left may be under way, without moving it back.
const lateWait = 2 * time.Second

// clientMoved notes where a client is now.
func (c *Concentrator) clientMoved(now time.Time, cl *client, remote netip.AddrPort) {
	if remote.Addr() != cl.remote.Addr() {
		cl.left, cl.leftAt = cl.remote.Addr(), now
	}
	cl.remote = remote
	c.ledger.client(cl)
	if next := cl.moved.Add(moveInterval); now.Before(next) {
		cl.moveAt = next
		c.touch(cl)
		return
	}
	c.moveClient(now, cl)
}
