package ikev1

import (
	"fmt"
	"slices"
)

// Inconsistencies says what is wrong with the tables of an engine between two calls: each object is where it can be found and has
// its deadline, and nothing else is anywhere. In a flood it does not look: it would have to after each message.
func Inconsistencies(e *Engine) (list []string) {
	if len(e.sas) > 100 {
		return nil
	}
	complain := func(ok bool, format string, args ...any) {
		if !ok {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	halfOpen := 0
	for name, sa := range e.sas {
		complain(sa.name == name && sa.state != dead, "ISAKMP SA %d is in the table, in state %d, by another name", sa.serial, sa.state)
		complain(!sa.timer.at.IsZero(), "ISAKMP SA %d in state %d has no deadline", sa.serial, sa.state)
		complain(sa.state != established || sa.handshake == nil, "ISAKMP SA %d is established and has a handshake", sa.serial)
		complain((sa.state == established) == (sa.client != nil), "ISAKMP SA %d in state %d: client %v", sa.serial, sa.state, sa.client != nil)
		complain(sa.client == nil || slices.Contains(sa.client.sas, sa), "the client of ISAKMP SA %d does not know it", sa.serial)
		if sa.halfOpen.stage != notHalfOpen {
			halfOpen++
		}
		complain((sa.halfOpen.stage != notHalfOpen) == (sa.state != established && !sa.initiator), "ISAKMP SA %d in state %d: stage %d", sa.serial, sa.state, sa.halfOpen.stage)
		for id, q := range sa.quick {
			complain(q.sa == sa && q.id == id && q.state != quickDead && !q.timer.at.IsZero(), "Quick Mode %d of ISAKMP SA %d is in state %d", id, sa.serial, q.state)
			complain(q.state == quickDone || q.child.state == childLarval && q.child.client == sa.client, "the child of Quick Mode %d, in state %d, is in state %d", id, q.state, q.child.state)
		}
	}
	complain(halfOpen == e.halfOpen.total, "%d half-open, %d in the table", halfOpen, e.halfOpen.total)
	for _, sa := range e.initiated {
		complain(e.sas[sa.name] == sa, "ISAKMP SA %d is found by its message 1 only", sa.serial)
	}
	hosts := make(map[place]int)
	for id, c := range e.clients {
		complain(c.id == id && e.byKey[c.key] == c, "client %d cannot be found by its key", id)
		complain(len(c.sas)+len(c.children) > 0, "client %d has nothing", id)
		hosts[hostOf(c.key.remote.Addr())]++
		for _, sa := range c.sas {
			complain(e.sas[sa.name] == sa && sa.client == c, "client %d has a lost ISAKMP SA", id)
		}
		for _, ch := range c.children {
			list = append(list, e.inconsistenciesOf(c, ch)...)
		}
		agreed := slices.ContainsFunc(c.children, (*child).agreed)
		complain(agreed || e.cfg.ChildWait < 0 || !c.wait.at.IsZero(), "client %d has no child and does not wait for one", id)
		complain(c.connection == nil || c.connection.client != c || e.connections[c.connection.id] == c.connection, "client %d has a lost connection", id)
	}
	complain(len(e.clients) == len(e.byKey), "%d clients, %d keys of clients", len(e.clients), len(e.byKey))
	complain(fmt.Sprint(hosts) == fmt.Sprint(e.perHost), "clients by host: %v, counted %v", hosts, e.perHost)
	for spi, ch := range e.spis {
		complain(ch.spiIn == spi && slices.Contains(ch.client.children, ch), "SPI %#x is of a lost child", spi)
	}
	for id, conn := range e.connections {
		calling := conn.calling != nil && e.sas[conn.calling.name] == conn.calling && conn.calling.state != established
		complain(conn.calling == nil || calling, "connection %d calls with a lost Main Mode", id)
		connected := conn.client != nil && e.clients[conn.client.id] == conn.client && conn.client.connection == conn
		complain(calling || connected, "connection %d has neither client nor Main Mode", id)
	}
	for _, t := range e.timers {
		complain(e.alive(t.owner), "a deadline of a dead %T", t.owner)
	}
	return list
}

func (e *Engine) inconsistenciesOf(c *client, ch *child) (list []string) {
	complain := func(ok bool, format string, args ...any) {
		if !ok {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	complain(ch.client == c && ch.state != childDead && e.spis[ch.spiIn] == ch, "client %d has the lost child %d", c.id, ch.id)
	complain(ch.state == childLarval || !ch.timer.at.IsZero(), "child %d has no deadline", ch.id)
	complain(ch.replaces == nil || ch.replaces.state != childDead, "child %d holds on to a dead one", ch.id)
	if ch.state == childLarval {
		complain(slices.ContainsFunc(c.sas, func(sa *isakmpSA) bool {
			return slices.ContainsFunc(sa.quickModes(), func(q *quickMode) bool { return q.child == ch })
		}), "child %d waits for no Quick Mode", ch.id)
	}
	if ch.state == childOutbound {
		pending := !ch.switchAt.IsZero()
		for _, p := range e.pending {
			pending = pending || p.child == ch
		}
		complain(pending, "child %d waits for no action", ch.id)
	}
	return list
}

// alive says whether the owner of a deadline is in the tables.
func (e *Engine) alive(owner expirer) bool {
	switch o := owner.(type) {
	case *isakmpSA:
		return e.sas[o.name] == o
	case *quickMode:
		return e.sas[o.sa.name] == o.sa && o.sa.quick[o.id] == o
	case *child:
		return slices.Contains(o.client.children, o)
	case *client:
		return e.clients[o.id] == o
	case *childWait:
		return e.clients[o.client.id] == o.client
	}
	return false
}
