package concentrator

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// A client is one IPsec peer with its slot: everything that exists in the kernel on its behalf. Of a peer without IPsec it is one tunnel.
type client struct {
	id       ikev1.ClientID
	plain    *plainKey // of a tunnel without IPsec; nil otherwise
	peer     peer
	port     slot.Port
	local    netip.Addr
	remote   netip.AddrPort // outer, as IKE knows it
	socket   ClientSocket
	children map[ikev1.ChildID]*child
	sessions map[uint16]*session // by L2TP session id
	ops      queue
	opened   time.Time
	links    int // sessions so far: numbers the interfaces

	ready  bool             // an outbound SA is installed: we can answer; see childUp and removeChild
	early  []l2tp.Datagram  // what came before that
	made   bool             // the kernel has the tunnel
	check  bool             // a look whether it still has waits in ops
	tunnel bool             // an L2TP tunnel is open or being opened
	dialed bool             // there was one
	judged bool             // it was said why there was none; see inspect
	idle   time.Time        // since when there is no tunnel; zero while there is one
	proved bool             // a user has authenticated
	left   netip.Addr       // where the client was before
	leftAt time.Time        // when it left there
	moved  time.Time        // when the SAs last followed the client
	moveAt time.Time        // when they will again; zero if they are where it is
	astray l2tp.TunnelMoved // what is to be done when there is an SA again; zero for nothing
	lost   time.Time        // when the last SAs were removed by somebody; zero while there are some
	ending string           // why the client is to go as soon as its sessions have; empty otherwise
	stopBy time.Time        // until when it may take to acknowledge StopCCN before it goes
}

// A child is a pair of SAs; out is zero until Quick Mode is through.
type child struct {
	in, out           xfrm.ID
	inPlace, outPlace placement
	encapsulated      bool
	integrity         ikev1.Integrity
}

// openClient returns the client that sa belongs to; a new one gets a slot and its socket.
func (c *Concentrator) openClient(now time.Time, sa ikev1.ChildSA) (*client, error) {
	if cl := c.clients[sa.Client]; cl != nil {
		return cl, nil
	}
	port, socket, err := c.takeSlot(now, sa.Local.Addr())
	if err != nil {
		return nil, err
	}
	cl := &client{
		id:       sa.Client,
		peer:     c.peers[sa.Client],
		port:     port,
		local:    sa.Local.Addr(),
		remote:   sa.Remote,
		socket:   socket,
		children: make(map[ikev1.ChildID]*child),
		sessions: make(map[uint16]*session),
		opened:   now,
		idle:     now,
	}
	c.clients[cl.id] = cl
	c.ports[port] = cl
	c.touch(cl)
	c.ledger.client(cl)
	return cl, nil
}

// closeClient removes what is left of a client: tunnel, sessions, SAs, sockets, slot. Nothing is
// said to the peer; that is the engines' business and has happened before.
func (c *Concentrator) closeClient(now time.Time, cl *client) {
	if c.clients[cl.id] != cl {
		return
	}
	delete(c.clients, cl.id)
	if cl.plain != nil {
		c.leavePlain(cl)
	}
	c.ledger.client(cl)
	for _, s := range cl.sessions {
		c.ledger.session(s)
	}
	c.applyL2TP(now, c.L2TP.Forget(now, uint16(cl.port)))
	_ = c.deleteSAs(cl, slices.Collect(maps.Values(cl.children))...) // it has told the log
	clear(cl.children)
	c.release(cl)
}

// release gives up the sockets and the slot of a client that has gone, after the operations on its tunnel and sessions. Of those
// each is asked for when the one before it has been reported, so it looks again until none is left.
func (c *Concentrator) release(cl *client) {
	wait := false
	c.enqueue(&cl.ops,
		func() func() error {
			if wait = len(cl.ops.waiting) > 0; wait {
				return func() error { return nil }
			}
			return cl.socket.Close
		},
		func(err error) {
			if wait {
				c.release(cl)
				return
			}
			if err != nil {
				c.Log.Warn("closing a client's sockets failed", zap.Uint16("tunnel", uint16(cl.port)), zap.Error(err))
			}
			delete(c.ports, cl.port)
			c.allocator(cl.port).Free(time.Now(), cl.port)
		})
}

// maxEarly bounds the L2TP messages that wait for Quick Mode message 3.
const maxEarly = 4

// hold keeps an L2TP message that has overtaken Quick Mode message 3: the client may send as soon as it has message 2, but
// nothing can be answered before message 3 has authenticated the outbound SA.
func (cl *client) hold(d l2tp.Datagram) bool {
	if cl.ready {
		return false
	}
	if len(cl.early) < maxEarly {
		cl.early = append(cl.early, d)
	}
	return true
}

// childUp takes over the outer addresses of the client's newest SAs, and handles the L2TP messages that waited for them.
func (c *Concentrator) childUp(now time.Time, cl *client, e ikev1.ChildEstablished) {
	cl.remote, cl.ready, cl.lost = e.Remote, true, time.Time{}
	c.ledger.client(cl)
	if cl.astray.Tunnel != 0 {
		c.reconnect(cl.astray)
	}
	early := cl.early
	cl.early = nil
	for _, d := range early {
		c.applyL2TP(now, c.L2TP.Handle(now, d))
	}
}

// answerable reports whether cl has an outbound SA.
func (cl *client) answerable() bool {
	for _, ch := range cl.children {
		if ch.out.SPI != 0 {
			return true
		}
	}
	return false
}

// endClient closes everything of a client in order: PPP says goodbye, then L2TP, then IKE.
func (c *Concentrator) endClient(now time.Time, cl *client, reason string) {
	c.doom(now, cl, reason)
	for _, s := range cl.sessions {
		c.endSession(now, s, reason)
	}
	c.retire(now, cl)
}

// doom makes a client go when its last session has, and lets it begin no other.
func (c *Concentrator) doom(now time.Time, cl *client, reason string) {
	cl.ending = reason
	c.ledger.client(cl)
	c.applyL2TP(now, c.L2TP.Refuse(now, uint16(cl.port)))
}

// disconnect ends a session. The last one of a client takes the client with it; a tunnel without IPsec is there for others.
func (c *Concentrator) disconnect(now time.Time, s *session, reason string) {
	for _, other := range s.client.sessions {
		if other != s && other.down == nil || s.client.plain != nil {
			c.endSession(now, s, reason)
			return
		}
	}
	c.endClient(now, s.client, reason)
}

// stopWait is how long a client may take to acknowledge StopCCN. Without its SAs it would do so in the clear, or not hear a repetition.
const stopWait = 2 * time.Second

// retire takes the next step of ending a client, when nothing is left that the step would cut off.
func (c *Concentrator) retire(now time.Time, cl *client) {
	if cl.ending == "" || len(cl.sessions) > 0 || c.clients[cl.id] != cl {
		return
	}
	if cl.tunnel {
		c.applyL2TP(now, c.L2TP.CloseTunnel(now, uint16(cl.port), l2tp.Result{Code: l2tp.StopGeneral, Message: cl.ending}))
		return
	}
	if cl.ready && now.Before(cl.stopBy) && c.L2TP.Stopping(uint16(cl.port)) { // without an SA it hears nothing, and may be dialling again
		return
	}
	if cl.plain != nil {
		c.closeClient(now, cl)
		return
	}
	c.applyIKE(now, c.IKE.CloseClient(now, cl.id, cl.ending))
}

// deadline is when advanceClients has something to do for cl.
func (cl *client) deadline(opt Options) time.Time {
	end, _ := cl.patience(opt)
	next := earliest(earliest(end, cl.moveAt), cl.stopBy)
	for _, s := range cl.sessions {
		next = earliest(next, s.killAt)
	}
	return next
}

// patience is until when a client may go on without SAs that were removed, without a tunnel, and without a user who has authenticated, and
// why it ends then; zero for ever.
func (cl *client) patience(opt Options) (end time.Time, reason string) {
	switch {
	case cl.ending != "":
		return time.Time{}, ""
	case cl.plain != nil && !cl.idle.IsZero():
		return cl.idle.Add(plainIdle), "its tunnel is over"
	case cl.plain != nil:
		return time.Time{}, ""
	case !cl.lost.IsZero():
		return cl.lost.Add(lostWait), saRemoved + ", and it did not negotiate another"
	case !cl.proved:
		return cl.opened.Add(opt.TunnelWait), fmt.Sprintf("no session for %v", opt.TunnelWait)
	case !cl.idle.IsZero():
		return cl.idle.Add(opt.TunnelWait), fmt.Sprintf("no session for %v", opt.TunnelWait)
	}
	return time.Time{}, ""
}

// touch makes the loop wake up for a deadline of cl that has just been set.
func (c *Concentrator) touch(cl *client) {
	c.nextClient = earliest(c.nextClient, cl.deadline(c.opt))
}

func (c *Concentrator) advanceClients(now time.Time) {
	if c.nextClient.IsZero() || now.Before(c.nextClient) {
		return
	}
	c.nextClient = time.Time{}
	for _, cl := range c.clients {
		for _, s := range cl.sessions {
			if !s.killAt.IsZero() && !now.Before(s.killAt) {
				s.killAt = time.Time{}
				c.ledger.session(s)
				c.bury(s)
				s.kill()
			}
		}
		if !cl.moveAt.IsZero() && !now.Before(cl.moveAt) {
			c.moveClient(now, cl)
		}
		if end, reason := cl.patience(c.opt); !end.IsZero() && !now.Before(end) {
			c.endClient(now, cl, reason)
		}
		if !cl.stopBy.IsZero() && !now.Before(cl.stopBy) {
			cl.stopBy = time.Time{}
			c.retire(now, cl)
		}
		c.touch(cl)
	}
}
