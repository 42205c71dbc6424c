package concentrator

import (
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// HandleMapping hands to the loop that authentic ESP of a client comes from another port, and waits until the loop takes it.
func (c *Concentrator) HandleMapping(m xfrm.Mapping) {
	select {
	case c.clientInbox <- func() { c.onMapping(time.Now(), m) }:
	case <-c.stopped:
	}
}

// onMapping makes a client's SAs and its IKE follow a NAT's new mapping. A new address is another matter: the SAs and the
// tunnel's socket are bound to the old one, and the client has to negotiate anew.
func (c *Concentrator) onMapping(now time.Time, m xfrm.Mapping) {
	cl := c.ports[slot.Port(m.ReqID)]
	if cl == nil || !c.opt.Block.Owns(m.ReqID) || !cl.has(m.ID) {
		return
	}
	if m.New.Addr() != cl.remote.Addr() {
		c.Log.Info("client comes from another address; it has to connect anew", zap.Stringer("old", cl.remote), zap.Stringer("new", m.New))
		return
	}
	c.applyIKE(now, c.IKE.Moved(now, cl.id, m.New))
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

// clientMoved notes the new port of a client.
func (c *Concentrator) clientMoved(now time.Time, cl *client, remote netip.AddrPort) {
	cl.remote = remote
	c.ledger.client(cl)
	if next := cl.moved.Add(moveInterval); now.Before(next) {
		cl.moveAt = next
		c.touch(cl)
		return
	}
	c.moveClient(now, cl)
}

// moveClient gives the installed SAs of a client the port that it has now.
func (c *Concentrator) moveClient(now time.Time, cl *client) {
	cl.moved, cl.moveAt = now, time.Time{}
	port := cl.remote.Port()
	for _, ch := range cl.children {
		if !ch.encapsulated {
			continue
		}
		err := c.SAs.UpdateEncap(ch.in, xfrm.Encap{SrcPort: port, DstPort: udp.IKENATPort})
		if ch.out.SPI != 0 {
			err = errors.Join(err, c.SAs.UpdateEncap(ch.out, xfrm.Encap{SrcPort: udp.IKENATPort, DstPort: port}))
		}
		if err != nil {
			c.counters.kernelErrors++
			c.Log.Warn("an SA could not follow its client to another port", zap.Stringer("peer", cl.remote), zap.Error(err))
		}
	}
}
