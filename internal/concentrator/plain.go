package concentrator

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

const (
	// plainID is in the ids of clients without IPsec, which are otherwise their slots. IKE counts from 1 and does not come so far.
	plainID ikev1.ClientID = 1 << 48
	// plainIdle is how long a plain tunnel that is over keeps its slot, to acknowledge what its peer repeats; as long as the L2TP engine does.
	plainIdle = 30 * time.Second
	// plainTold is how often it is said that a peer has too many tunnels.
	plainTold = time.Minute
)

// Reasons, beside those of the L2TP engine, to drop a message of a peer without IPsec.
const (
	dropNotListed  = "not_listed"      // while the steering table was away
	dropPlainLimit = "plain_limit"     // too many tunnels of the peer, or no slot
	dropStopping   = "plain_stopping"  // the daemon ends
	dropPlainPeer  = "plain_other_end" // for the tunnel of another peer
)

// PlainOptions say who may do without IPsec.
type PlainOptions struct {
	Peers      []netip.Prefix // nobody if empty
	Block      slot.Block     // of their tunnels, apart from that of the clients; with the same tag
	MaxTunnels int            // of one address
}

// listed reports whether a peer may do without IPsec.
func (o PlainOptions) listed(peer netip.Addr) bool {
	return slices.ContainsFunc(o.Peers, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// contains reports whether a port is that of a plain tunnel.
func (o PlainOptions) contains(port slot.Port) bool {
	return len(o.Peers) > 0 && o.Block.Contains(port)
}

// plainKey tells the tunnels of peers without IPsec apart before they know theirs.
type plainKey struct {
	local  netip.Addr
	remote netip.AddrPort
	tunnel uint16 // that the peer has assigned
}

// plains are the tunnels without IPsec. They belong to the loop.
type plains struct {
	slots   *slot.Allocator // nil without such peers
	tunnels map[plainKey]*client
	each    map[netip.Addr]int // tunnels of an address
	told    time.Time          // when it was last said that there are too many
	refused uint64
	closed  bool
}

func newPlains(o PlainOptions, rest time.Duration) (*plains, error) {
	p := &plains{tunnels: make(map[plainKey]*client), each: make(map[netip.Addr]int)}
	if len(o.Peers) == 0 {
		return p, nil
	}
	var err error
	if p.slots, err = slot.NewAllocator(o.Block, rest); err != nil {
		return nil, fmt.Errorf("slots of plain tunnels: %w", err)
	}
	return p, nil
}

// HandlePlain hands what came to port 1701 to the loop, and waits until the loop takes it.
func (c *Concentrator) HandlePlain(d udp.Datagram) {
	select {
	case c.clientInbox <- func() { c.receivePlain(time.Now(), d) }:
	case <-c.stopped:
	}
}

// receivePlain finds the tunnel that an SCCRQ begins, or begins it.
func (c *Concentrator) receivePlain(now time.Time, d udp.Datagram) {
	c.counters.l2tpReceived++
	key := plainKey{local: d.Local.Addr(), remote: d.Remote}
	request := false
	key.tunnel, request = l2tp.Request(d.Payload)
	switch {
	case !c.opt.Plain.listed(d.Remote.Addr()):
		c.counters.l2tp[dropNotListed]++
		return
	case !request:
		c.counters.l2tp[string(l2tp.DropEarly)]++
		return
	case c.plain.closed:
		c.counters.l2tp[dropStopping]++
		return
	}
	cl := c.plain.tunnels[key]
	if cl == nil {
		var err error
		if cl, err = c.openPlain(now, key); err != nil {
			c.refusePlain(now, key, err)
			return
		}
	}
	c.applyL2TP(now, c.L2TP.Handle(now, l2tp.Datagram{Tunnel: uint16(cl.port), Remote: d.Remote, Payload: d.Payload}))
}

// openPlain gives a tunnel of a peer without IPsec a slot with its sockets.
func (c *Concentrator) openPlain(now time.Time, key plainKey) (*client, error) {
	if c.plain.each[key.remote.Addr()] >= c.opt.Plain.MaxTunnels {
		return nil, fmt.Errorf("it has %d tunnels (l2tp.plain_max_tunnels)", c.opt.Plain.MaxTunnels)
	}
	port, socket, err := c.openSlot(now, c.plain.slots, c.opt.Plain.Block, key.local)
	if err != nil {
		return nil, err
	}
	cl := &client{
		id: plainID | ikev1.ClientID(port), plain: &key, port: port, local: key.local, remote: key.remote, socket: socket, ready: true,
		sessions: make(map[uint16]*session), opened: now, idle: now,
	}
	c.clients[cl.id], c.ports[port] = cl, cl
	c.enterPlain(cl)
	c.touch(cl)
	c.ledger.client(cl)
	return cl, nil
}

// enterPlain and leavePlain do the books.
func (c *Concentrator) enterPlain(cl *client) {
	c.plain.tunnels[*cl.plain] = cl
	c.plain.each[cl.remote.Addr()]++
}

func (c *Concentrator) leavePlain(cl *client) {
	delete(c.plain.tunnels, *cl.plain)
	if c.plain.each[cl.remote.Addr()]--; c.plain.each[cl.remote.Addr()] == 0 {
		delete(c.plain.each, cl.remote.Addr())
	}
}

// refusePlain tells that a peer gets no tunnel. It is not answered, and asks again.
func (c *Concentrator) refusePlain(now time.Time, key plainKey, why error) {
	c.counters.l2tp[dropPlainLimit]++
	c.plain.refused++
	if !c.plain.told.IsZero() && now.Sub(c.plain.told) < plainTold {
		return
	}
	c.plain.told = now
	ev := control.Event{Kind: eventPlainRefused, Severity: control.SeverityWarning, Peer: key.remote}
	causePlainLimit.explain(&ev)
	ev.Text = "a tunnel without IPsec was refused: " + why.Error()
	c.record("a plain tunnel was refused", ev)
}

// answers reports whether a message comes from the peer of a client, as far as that is not for IPsec to say.
func (cl *client) answers(from netip.AddrPort) bool {
	return cl.plain == nil || cl.plain.remote == from
}

// allocator is what a slot is from.
func (c *Concentrator) allocator(port slot.Port) *slot.Allocator {
	if c.opt.Plain.contains(port) {
		return c.plain.slots
	}
	return c.slots
}

// plain is the key of a tunnel without IPsec that was there before; nil of a client with IPsec.
func (r clientRecord) plain() *plainKey {
	if r.Plain == 0 {
		return nil
	}
	return &plainKey{local: r.Local, remote: r.Remote, tunnel: r.Plain}
}

// entitled reports whether what there was of a client may go on: IKE knows it, or it may still do without IPsec.
func (a *adoption) entitled(r clientRecord) bool {
	if key := r.plain(); key != nil {
		return a.c.opt.Plain.contains(r.Port) && a.c.opt.Plain.listed(key.remote.Addr()) && a.c.plain.tunnels[*key] == nil
	}
	_, known := a.c.peers[r.ID]
	return known
}

// owns reports whether a port is that of a client or of a plain tunnel.
func (o Options) owns(port slot.Port) bool { return o.Block.Contains(port) || o.Plain.contains(port) }
