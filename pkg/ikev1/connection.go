package ikev1

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// ConnectionID names one [Connection] that was begun. It is never used again; zero is none.
type ConnectionID uint64

// Connection is a peer that the engine calls: it is the initiator then, and rekeys both phases in time. Only Local and Remote are
// required; the zero value of every other field is its default.
type Connection struct {
	// Local and Remote are the addresses with the ports to begin on, usually 500. The ports become 4500 if there is a NAT.
	Local, Remote netip.AddrPort

	// Method is how both sides authenticate, by default with the pre-shared key that [Config.PSK] has for the addresses.
	Method pki.Method

	// Allow says whose certificate counts as that of this peer, beside the rules of [Config.Trust]: one has to fit. Without it, whoever
	// has a certificate that the trust allows, a client for example, and is in the way passes for the peer.
	Allow []pki.Rule

	// Phase1 and Phase2 are what is offered, most wanted first. nil: the beginnings of the lists of [Config].
	Phase1 []Phase1Proposal
	Phase2 []Phase2Proposal

	// PFS is the group of perfect forward secrecy, 0 for none.
	PFS dh.Group

	// ESN asks for sequence numbers of 64 bits in ESP.
	ESN bool

	// Lifetime and ChildLifetime are offered, the longest that Config allows by default. LifetimeBytes limits the traffic of a
	// child, 0 for not at all: see [Engine.Expired].
	Lifetime, ChildLifetime time.Duration
	LifetimeBytes           uint64

	// LocalPort and RemotePort are the UDP ports whose traffic is protected. 0: 1701.
	LocalPort, RemotePort uint16
}

// maxOffered bounds the proposals of one offer. Unless they are named, fewer are offered in phase 1, whose first message goes in no
// fragments: the list of [Compatible] begins with what most have.
const (
	maxOffered     = 32
	usuallyOffered = 16
)

// connection is a Connection that was begun.
type connection struct {
	Connection
	id     ConnectionID
	client *client // nil before the first Main Mode is done

	// restored says that nobody has connected it since the restart.
	restored bool

	// calling is the Main Mode that is under way, nil for none.
	calling *isakmpSA
}

// Connect calls a peer. What becomes of it comes as events: [Phase1Established] and [Phase1Failed] with this ID, then the same as
// for clients that call us. When the client is gone, or the first Main Mode has failed, the connection is over. One that
// reaches the client of another takes its place, and the other is over. One that [Engine.Restore] has brought back is returned to the
// first who connects the same, without events: it is up. The error says which part of c cannot be used.
func (e *Engine) Connect(now time.Time, c Connection) (ConnectionID, Output, error) {
	e.now = now
	id, err := ConnectionID(0), errPanic
	e.guarded(c.Remote, func() { id, err = e.connect(c) })
	if err != nil {
		return 0, e.take(), fmt.Errorf("ikev1: connecting to %s: %w", c.Remote, err)
	}
	return id, e.take(), nil
}

var errPanic = errors.New("a defect of this program, please report it")

func (e *Engine) connect(c Connection) (ConnectionID, error) {
	c, err := e.connectionDefaults(c)
	if err != nil {
		return 0, err
	}
	if conn := e.restoredConnection(c); conn != nil {
		conn.restored = false
		return conn.id, nil
	}
	e.lastConnection++
	conn := &connection{Connection: c, id: e.lastConnection}
	if err := e.mainMode(conn, c.Local, c.Remote, false); err != nil {
		return 0, err
	}
	e.connections[conn.id] = conn
	return conn.id, nil
}

// restoredConnection returns a connection that is the same as c and that nobody knows of since the restart, nil for none.
func (e *Engine) restoredConnection(c Connection) *connection {
	wanted := &connection{Connection: c}
	for _, id := range slices.Sorted(maps.Keys(e.connections)) {
		if conn := e.connections[id]; conn.restored {
			wanted.id = id
			if reflect.DeepEqual(wanted.record(), conn.record()) {
				return conn
			}
		}
	}
	return nil
}

// Disconnect ends a connection, and tells the peer. An unknown id is no error.
func (e *Engine) Disconnect(now time.Time, id ConnectionID, reason string) Output {
	e.now = now
	conn := e.connections[id]
	if conn == nil {
		return e.take()
	}
	if conn.calling != nil {
		e.dropSA(conn.calling, reason)
	}
	if conn.client != nil {
		e.closeGuarded(conn.client, reason)
	}
	delete(e.connections, id)
	return e.take()
}

// supersede forgets a connection whose client belongs to another now.
func (e *Engine) supersede(conn *connection) {
	delete(e.connections, conn.id)
	conn.client = nil
	if conn.calling != nil {
		e.dropSA(conn.calling, "another connection has reached the peer")
	}
}

func (e *Engine) connectionDefaults(c Connection) (Connection, error) {
	c.Local, c.Remote = unmapped(c.Local), unmapped(c.Remote)
	if c.Method == 0 {
		c.Method = pki.PSK
	}
	if c.Phase1 == nil {
		c.Phase1 = e.cfg.Phase1[:min(len(e.cfg.Phase1), usuallyOffered)]
	}
	if c.Phase2 == nil {
		c.Phase2 = e.cfg.Phase2[:min(len(e.cfg.Phase2), maxOffered)]
	}
	c.Lifetime = min(defaulted(c.Lifetime, e.cfg.MaxLifetime), e.cfg.MaxLifetime)
	c.ChildLifetime = min(defaulted(c.ChildLifetime, e.cfg.MaxChildLifetime), e.cfg.MaxChildLifetime)
	if c.LocalPort == 0 {
		c.LocalPort = portL2TP
	}
	if c.RemotePort == 0 {
		c.RemotePort = portL2TP
	}
	if e.refusing {
		return c, errors.New("the engine is about to end")
	}
	if err := c.validate(); err != nil {
		return c, err
	}
	return c, e.cfg.serves(c)
}

// validate says which part of c, of which every field has a value, cannot be used.
func (c Connection) validate() error {
	switch {
	case !c.Local.IsValid() || !c.Remote.IsValid() || c.Local.Addr().Is4() != c.Remote.Addr().Is4():
		return fmt.Errorf("%s and %s are no pair of addresses", c.Local, c.Remote)
	case len(c.Phase1) == 0 || len(c.Phase1) > maxOffered || len(c.Phase2) == 0 || len(c.Phase2) > maxOffered:
		return fmt.Errorf("offer 1 to %d proposals in each phase", maxOffered)
	case c.PFS != 0 && !dh.Supported(c.PFS):
		return fmt.Errorf("PFS group %s is not supported", c.PFS)
	}
	for _, p := range c.Phase1 {
		if err := p.validate(); err != nil {
			return fmt.Errorf("phase 1 proposal %s: %w", p, err)
		}
	}
	for _, p := range c.Phase2 {
		if err := p.validate(); err != nil {
			return fmt.Errorf("phase 2 proposal %s: %w", p, err)
		}
	}
	return nil
}

// offer1 returns what a connection offers in phase 1.
func (c *connection) offer1() *wire.SA {
	p := wire.Proposal{Number: 1, Protocol: wire.ProtocolISAKMP}
	for i, allowed := range c.Phase1 {
		t := wire.Transform{Number: uint8(i + 1), ID: wire.TransformKeyIKE}
		t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrEncryption, uint16(allowed.Cipher)))
		if allowed.KeyBits != 0 {
			t.Attributes = append(t.Attributes, wire.ShortAttribute(wire.AttrKeyLength, uint16(allowed.KeyBits)))
		}
		t.Attributes = append(t.Attributes,
			wire.ShortAttribute(wire.AttrHash, uint16(allowed.Hash)),
			wire.ShortAttribute(wire.AttrGroup, uint16(allowed.Group)),
			wire.ShortAttribute(wire.AttrAuthMethod, uint16(c.Method)),
			wire.ShortAttribute(wire.AttrLifeType, lifeSeconds),
			wire.LongAttribute(wire.AttrLifeDuration, uint32(c.Lifetime/time.Second)))
		p.Transforms = append(p.Transforms, t)
	}
	return &wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: []wire.Proposal{p}}
}

// offers1 says whether a transform is one of those that c offers.
func (c *connection) offers1(o phase1Offer) bool {
	return o.acceptable && o.method == c.Method && slices.Contains(c.Phase1, o.proposal)
}
