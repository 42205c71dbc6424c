package concentrator

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// moveClient takes the installed SAs of a client to where it is now, and the tunnel after them. A child that cannot follow is of no more use:
// it ends, and its client, who is told, negotiates another.
func (c *Concentrator) moveClient(now time.Time, cl *client) {
	cl.moved, cl.moveAt = now, time.Time{}
	c.ledger.client(cl)
	c.writeDown() // where to look for its SAs, should this daemon not see the end of it
	var left []ikev1.ChildID
	for id, ch := range cl.children {
		if !ch.encapsulated {
			continue
		}
		if err := c.moveChild(cl, ch); err != nil {
			c.counters.kernelErrors++
			c.Log.Warn("an SA could not follow its client; it ends", zap.Stringer("peer", cl.remote), zap.Error(err))
			left = append(left, id)
		}
	}
	c.ledger.client(cl) // outbound SAs have another name there
	c.applyL2TP(now, c.L2TP.Moved(now, uint16(cl.port), cl.remote.Addr()))
	for _, id := range left {
		c.applyIKE(now, c.IKE.Lost(now, cl.id, id, "an SA could not follow its client"))
	}
	if len(left) > 0 && c.clients[cl.id] == cl && len(cl.children) == 0 {
		cl.lost = now
		c.ledger.client(cl)
		c.touch(cl)
	}
	c.followWays(now, cl)
}

// moveChild moves both SAs of a child. Those that are where they are to be stay as they are.
func (c *Concentrator) moveChild(cl *client, ch *child) error {
	local, remote := ch.in.Dst, cl.remote.Addr()
	in, err := c.SAs.Move(ch.in, xfrm.Place{
		Src: remote, Dst: local, Encap: &xfrm.Encap{SrcPort: cl.remote.Port(), DstPort: udp.IKENATPort},
		Selector: slotSelector(local, remote, cl.port),
	})
	if err != nil {
		return err
	}
	ch.in = in
	if ch.out.SPI == 0 {
		return nil // it will be installed where the client is
	}
	out, err := c.SAs.Move(ch.out, xfrm.Place{
		Src: local, Dst: remote, Encap: &xfrm.Encap{SrcPort: udp.IKENATPort, DstPort: cl.remote.Port()},
	})
	if err != nil {
		return err
	}
	ch.out = out
	return nil
}

// followWays looks by which device the packets of a client leave now, if that matters.
func (c *Concentrator) followWays(now time.Time, cl *client) {
	if len(c.opt.Offload) == 0 {
		return
	}
	var ways []way
	for id, ch := range cl.children {
		w := way{cl.id, id, ch.in.Dst, cl.remote.Addr(), c.opt.Block.Mark(cl.port), ch.inPlace.device}
		if device, err := c.Egress.Device(w.local, w.remote, w.mark); err == nil && w.device != 0 && device != w.device {
			w.device = device
			ways = append(ways, w)
		}
	}
	for _, w := range ways {
		c.reroute(now, w)
	}
}

// reconnect connects the socket of a tunnel to where its peer is now, in its turn. A tunnel that cannot follow ends, and its peer is told.
func (c *Concentrator) reconnect(e l2tp.TunnelMoved) {
	c.onClient(e.Tunnel, func(err error) {
		cl := c.ports[slot.Port(e.Tunnel)]
		switch {
		case cl == nil || err == nil:
			return
		case errors.Is(err, udp.ErrNoSA) && !cl.answerable():
			cl.astray = e // until there is an SA
			return
		}
		c.counters.kernelErrors++
		c.Log.Warn("a tunnel could not follow its peer; it ends", zap.Uint16("tunnel", e.Tunnel), zap.Error(err))
		now := time.Now()
		c.applyL2TP(now, c.L2TP.CloseTunnel(now, e.Tunnel, l2tp.Result{Code: l2tp.StopGeneral, Message: "the tunnel could not follow its peer"}))
	}, func(cl *client) func() error {
		cl.astray = l2tp.TunnelMoved{}
		if !cl.made {
			return func() error { return nil }
		}
		socket := cl.socket
		return func() error {
			if err := socket.Reconnect(e.Remote); err != nil {
				return fmt.Errorf("connect tunnel %d to %v: %w", e.Tunnel, e.Remote, err)
			}
			return nil
		}
	})
}

// where is the address of the peer of a tunnel that is to be made. It may have moved since it asked.
func (cl *client) where(asked netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(cl.remote.Addr(), asked.Port())
}

// find finds the SAs of clients that the daemon before was about to move: they are where they were or where the clients are.
func (a *adoption) find() {
	at := make(map[xfrm.ID]netip.AddrPort, len(a.states)) // where the peer is, as an SA in UDP has it
	for _, st := range a.states {
		if st.Encap != nil && a.c.opt.Block.Owns(st.ReqID) {
			at[st.ID] = outerPeer(&st)
		}
	}
	for _, cl := range a.c.clients {
		behind := false
		for _, ch := range cl.children {
			if !ch.encapsulated {
				continue
			}
			moved := xfrm.ID{Dst: cl.remote.Addr(), SPI: ch.out.SPI}
			if !at[ch.out].IsValid() && at[moved].IsValid() {
				ch.out = moved
				a.c.ledger.client(cl)
			}
			for _, id := range []xfrm.ID{ch.in, ch.out} {
				behind = behind || at[id].IsValid() && at[id] != cl.remote
			}
		}
		if behind {
			a.behind = append(a.behind, cl)
		}
	}
}

// outerPeer is where the peer of an SA in UDP is.
func outerPeer(st *xfrm.State) netip.AddrPort {
	if st.Direction == xfrm.In {
		return netip.AddrPortFrom(st.Src, st.Encap.SrcPort)
	}
	return netip.AddrPortFrom(st.Dst, st.Encap.DstPort)
}

// catchUp ends the moves that the daemon before has begun.
func (a *adoption) catchUp() {
	c := a.c
	for _, cl := range a.behind {
		c.moveClient(a.now, cl)
	}
	for _, cl := range c.clients {
		if cl.plain != nil || !cl.encapsulated() && cl.answerable() {
			continue
		}
		c.applyL2TP(a.now, c.L2TP.Moved(a.now, uint16(cl.port), cl.remote.Addr()))
		if t, ok := c.L2TP.Tunnel(uint16(cl.port)); ok && cl.made {
			c.reconnect(l2tp.TunnelMoved{Tunnel: t.Tunnel, Remote: t.Remote}) // as nearly all are already
		}
	}
}

// encapsulated says that a client has SAs in UDP, which can move.
func (cl *client) encapsulated() bool {
	for _, ch := range cl.children {
		if ch.encapsulated {
			return true
		}
	}
	return false
}
