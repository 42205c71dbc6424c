package ikev1

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// clientKey is what makes a client the same one as before.
type clientKey struct {
	local    netip.Addr
	remote   netip.AddrPort
	identity string // body of the ID payload
}

// client is one IPsec client.
type client struct {
	id       ClientID
	key      clientKey
	identity string

	local        netip.AddrPort
	encapsulated bool

	// sas are the established ISAKMP SAs, oldest first. children include those that are not established yet, oldest first.
	sas      []*isakmpSA
	children []*child

	established             time.Time
	vendorKind, ikeProposal string
}

func (e *Engine) newClient(key clientKey, identity string) *client {
	e.lastClient++
	c := &client{id: e.lastClient, key: key, identity: identity, established: e.now}
	e.clients[c.id] = c
	e.byKey[key] = c
	return c
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
	delete(e.clients, c.id)
	if e.byKey[c.key] == c {
		delete(e.byKey, c.key)
	}
	e.emit(ClientGone{Client: c.id, Remote: c.key.remote, Reason: reason})
}

// closeClient removes everything of a client, and tells it if tell is set.
func (e *Engine) closeClient(c *client, reason string, tell bool) {
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

// move notes that an authenticated message of sa came from another port: a NAT has a new mapping for the client. Children that are
// installed stay as they are; the kernel tells the owner about their new address.
func (e *Engine) move(sa *isakmpSA, d Datagram) {
	c := sa.client
	if d.Remote == sa.remote && d.Local == sa.local || sa != c.newest() {
		return
	}
	key := clientKey{local: c.key.local, remote: d.Remote, identity: c.key.identity}
	if other := e.byKey[key]; other != nil && other != c {
		return
	}
	delete(e.byKey, c.key)
	c.key = key
	e.byKey[key] = c
	c.local, c.encapsulated = d.Local, d.Encapsulated
	for _, s := range c.sas {
		s.local, s.remote, s.encapsulated = d.Local, d.Remote, d.Encapsulated
	}
}

// info returns the snapshot of a client.
func (c *client) info() ClientInfo {
	info := ClientInfo{
		ID: c.id, Local: c.local, Remote: c.key.remote, Encapsulated: c.encapsulated, Identity: c.identity,
		State: either(len(c.sas) > 0, "established", "expired"), IKEProposal: c.ikeProposal,
		Established: c.established, VendorKind: c.vendorKind,
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
