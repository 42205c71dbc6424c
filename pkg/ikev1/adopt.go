package ikev1

import (
	"fmt"
	"slices"
)

// admitClient says whether the client of a handshake that is authenticated may be one more; otherwise the handshake ends.
func (e *Engine) admitClient(sa *isakmpSA, key clientKey) bool {
	switch {
	case e.byKey[key] != nil:
		return true
	case e.perHost[hostOf(key.remote.Addr())] >= e.cfg.MaxClientsPerAddr:
		e.failHandshake(sa, DropMaxClientsPerAddr, CauseTooManyClients, Facts{
			Limit: e.cfg.MaxClientsPerAddr, Setting: "ike.max_clients_per_address", Detail: "all at " + key.remote.Addr().String(),
		})
		return false
	case len(e.clients) >= e.cfg.MaxClients:
		e.failHandshake(sa, DropMaxClients, CauseTooManyClients, Facts{Limit: e.cfg.MaxClients})
		return false
	}
	return true
}

// adopt gives an SA that has just been authenticated to its client, which may be a new one.
func (e *Engine) adopt(sa *isakmpSA, p *proof) {
	key := sa.clientKey(p)
	c := e.byKey[key]
	rekey := c != nil
	if !rekey {
		c = e.newClient(key, p.name)
	}
	c.local, c.encapsulated, c.natHere = sa.local, sa.encapsulated, sa.peer.natHere
	e.keepNAT(c)
	c.method, c.vendorKind, c.ikeProposal = sa.method, sa.peer.kind, sa.proposal.String()
	c.sas = append(c.sas, sa)
	sa.client = c
	e.touch(c)
	var connection ConnectionID
	if sa.connection != nil {
		connection = sa.connection.id
	}
	e.emit(Phase1Established{
		Client: c.id, Connection: connection, Local: sa.local, Remote: sa.remote, Encapsulated: sa.encapsulated,
		Identity: c.identity, Proposal: c.ikeProposal, Method: sa.method, VendorKind: c.vendorKind, Rekey: rekey,
		RevocationUnknown: p.revocationUnknown,
	})
	for _, old := range c.sas[:len(c.sas)-1] {
		e.rearm(old) // dead peer detection is the newest SA's from now on
	}
	if len(c.sas) > maxSAs {
		e.deleteSA(c.sas[0], "too many ISAKMP SAs")
	}
	e.rearm(sa)
	e.awaitChild(c)
}

// childWait is the timer of a client that has no child.
type childWait struct {
	timer
	client *client
	begin  bool // the child that we began to make was lost with a restart: it is time to begin again
}

// awaitChild gives c its time to get a child, if it has none.
func (e *Engine) awaitChild(c *client) {
	if e.cfg.ChildWait > 0 && e.clients[c.id] == c && !slices.ContainsFunc(c.children, (*child).agreed) {
		e.timers.set(&c.wait.timer, e.now.Add(e.cfg.ChildWait))
	}
}

// expire implements expirer: c had its time.
func (w *childWait) expire(e *Engine) {
	if w.begin {
		w.begin = false
		e.awaitChild(w.client)
		e.revive(w.client)
		return
	}
	if w.client.fruitless() {
		e.emit(Dropped{Remote: w.client.key.remote, Reason: DropTimeout})
	}
	e.failChildless(w.client, "")
	e.closeClient(w.client, fmt.Sprintf("no child SA for %v", e.cfg.ChildWait), true)
}
