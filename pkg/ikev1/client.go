package ikev1

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// clientKey is what makes a client the same one as before.
type clientKey struct {
	local    netip.Addr
	remote   netip.AddrPort
	identity string // body of the ID payload
	by       authentication
}

// authentication is what stands behind an identity. Who knows the key that all have may call himself what he likes, but must not get at
// what belongs to a member of a group, or to the owner of a certificate, by the same name.
type authentication uint8

const (
	byKey authentication = iota
	byGroup
	byCertificate
)

// clientKey returns the key of the client that has sent a proof in sa.
func (sa *isakmpSA) clientKey(p *proof) clientKey {
	key := clientKey{local: p.from.Local.Addr(), remote: p.from.Remote, identity: string(p.identity)}
	switch {
	case sa.aggressive:
		key.by = byGroup
	case sa.method != pki.PSK:
		key.by = byCertificate
	}
	return key
}

// client is one IPsec client.
type client struct {
	id       ClientID
	key      clientKey
	identity string

	local        netip.AddrPort
	encapsulated bool
	natHere      bool        // there is a NAT in front of us
	connection   *connection // if we called it
	keepalive    timer
	failures     limiter
	refusals     limiter // of exchanges
	revivals     limiter // of Quick Modes that we begin
	failed       bool    // a Quick Mode failed
	hadChild     bool
	wait         childWait

	// sas are the established ISAKMP SAs, oldest first. children include those that are not established yet, oldest first.
	sas      []*isakmpSA
	children []*child

	touched  bool   // in the call that is being served
	recorded uint64 // sum of the latest record, 0 for none

	established             time.Time
	method                  pki.Method // of the newest ISAKMP SA
	vendorKind, ikeProposal string
}

func (e *Engine) newClient(key clientKey, identity string) *client {
	e.lastClient++
	c := &client{id: e.lastClient, key: key, identity: identity, established: e.now}
	c.own()
	e.suspects.client = c
	e.clients[c.id] = c
	e.byKey[key] = c
	e.countClient(key, 1)
	return c
}

// own makes c the owner of its timers.
func (c *client) own() {
	c.keepalive.owner = c
	c.wait.owner, c.wait.client = &c.wait, c
}

// countClient notes that a client has come to the address of key, or gone from it.
func (e *Engine) countClient(key clientKey, n int) {
	host := hostOf(key.remote.Addr())
	if e.perHost[host] += n; e.perHost[host] == 0 {
		delete(e.perHost, host)
	}
}

// newest returns the newest ISAKMP SA, nil for none.
func (c *client) newest() *isakmpSA {
	if len(c.sas) == 0 {
		return nil
	}
	return c.sas[len(c.sas)-1]
}

func (c *client) removeSA(sa *isakmpSA) {
	c.sas = slices.DeleteFunc(c.sas, func(s *isakmpSA) bool { return s == sa })
}

// rearmNewest lets dead peer detection go on in the SA that is the newest now.
func (e *Engine) rearmNewest(c *client) {
	if sa := c.newest(); sa != nil {
		e.rearm(sa)
	}
}

// reap forgets a client that has nothing left.
func (e *Engine) reap(c *client, reason string) {
	if len(c.sas) > 0 || len(c.children) > 0 || e.clients[c.id] != c {
		return
	}
	e.touch(c)
	e.timers.set(&c.keepalive, time.Time{})
	e.timers.set(&c.wait.timer, time.Time{})
	delete(e.clients, c.id)
	if c.connection != nil && c.connection.client == c {
		if calling := c.connection.calling; calling != nil {
			e.dropSA(calling, reason)
		}
		delete(e.connections, c.connection.id)
	}
	e.countClient(c.key, -1)
	if e.byKey[c.key] == c {
		delete(e.byKey, c.key)
	}
	e.emit(ClientGone{Client: c.id, Remote: c.key.remote, Reason: reason})
}

// closeClient removes everything of a client, and tells it if tell is set.
func (e *Engine) closeClient(c *client, reason string, tell bool) {
	for _, ch := range c.children {
		ch.switchAt = time.Time{} // nothing takes the place of anything any more
	}
	for _, ch := range slices.Clone(c.children) {
		if tell {
			e.sendDeleteChild(ch)
		}
		e.removeChild(ch, reason, false)
	}
	for _, sa := range slices.Clone(c.sas) {
		if tell {
			e.sendDeleteSA(sa)
		}
		e.dropSA(sa, reason)
	}
	e.reap(c, reason)
}

// move notes that an authenticated message of sa came from another port or address: a NAT has a new mapping for the client.
func (e *Engine) move(sa *isakmpSA, d Datagram) {
	if sa == sa.client.newest() && (d.Remote.Addr() == sa.remote.Addr() || sa.theirIDs.complete()) {
		e.relocate(sa.client, d)
	}
}

// Moved tells the engine that authentic ESP of a client came from another port or address than before, for a NAT has changed its
// mapping. Whoever tells has to know that the ESP is no repetition.
func (e *Engine) Moved(now time.Time, id ClientID, remote netip.AddrPort) Output {
	e.now = now
	if c := e.clients[id]; c != nil {
		e.relocate(c, Datagram{Local: c.local, Remote: remote, Encapsulated: c.encapsulated})
	}
	return e.take()
}

// relocate takes the addresses of d for those of c, unless another client has them. What comes to port 500 of a client that has floated
// is old (RFC 3947 section 4), and moves nothing.
func (e *Engine) relocate(c *client, d Datagram) {
	if d.Remote == c.key.remote && d.Local == c.local || c.encapsulated && !d.Encapsulated {
		return
	}
	if d.Remote.Addr() != c.key.remote.Addr() && !e.admitsRoaming(c, d) {
		return
	}
	key := c.key
	key.remote = d.Remote
	if other := e.byKey[key]; other != nil && other != c {
		return
	}
	e.touch(c)
	delete(e.byKey, c.key)
	e.countClient(c.key, -1)
	e.countClient(key, 1)
	c.key = key
	e.byKey[key] = c
	c.local, c.encapsulated = d.Local, d.Encapsulated
	for _, s := range c.sas {
		s.local, s.remote, s.encapsulated = d.Local, d.Remote, d.Encapsulated
	}
	for _, ch := range c.children {
		// A child stays what it was negotiated to be, in UDP or not.
		if ch.encapsulated == d.Encapsulated {
			ch.local, ch.remote = d.Local, d.Remote
		}
	}
	e.emit(ClientMoved{Client: c.id, Local: d.Local, Remote: d.Remote, Encapsulated: d.Encapsulated})
}

// info returns the snapshot of a client.
func (c *client) info() ClientInfo {
	info := ClientInfo{
		ID: c.id, Local: c.local, Remote: c.key.remote, Encapsulated: c.encapsulated, Identity: c.identity,
		State: either(len(c.sas) > 0, "established", "expired"), Method: c.method, IKEProposal: c.ikeProposal,
		Established: c.established, VendorKind: c.vendorKind,
	}
	if c.connection != nil {
		info.Connection = c.connection.id
	}
	for _, ch := range c.children {
		if ch.state != childEstablished {
			continue
		}
		info.ESPProposal = ch.proposal.String()
		info.Children = append(info.Children, ChildInfo{
			ID: ch.id, SPIIn: ch.spiIn, SPIOut: ch.spiOut, Proposal: ch.name, Established: ch.established, Expires: ch.expires,
		})
	}
	return info
}

// quickModes returns the exchanges under way, ordered by age.
func (sa *isakmpSA) quickModes() []*quickMode {
	return slices.SortedFunc(maps.Values(sa.quick), func(a, b *quickMode) int { return cmp.Compare(a.child.id, b.child.id) })
}
