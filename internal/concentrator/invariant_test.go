package concentrator

import (
	"fmt"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// patience is how long the daemon may leave a thing undone; longer than the longest operation of a machine of the tests.
const patience = 30 * time.Second

// invariants checks what must hold whenever the loop is idle: that the daemon's tables, its engines and the machine agree.
func (b *bench) invariants(when string) {
	b.t.Helper()
	complain := func(format string, args ...any) {
		b.t.Helper()
		b.t.Errorf("%s: %s; left %s; log %v", when, fmt.Sprintf(format, args...), b.m.left(), b.words())
	}
	b.earlier, b.since = b.since, make(map[string]time.Time)
	b.on(func() {
		c := b.c
		b.m.mu.Lock()
		sas, sockets, logins, scattered := len(b.m.sas), len(b.m.sockets), len(b.m.logins), b.m.scattered()
		b.m.mu.Unlock()

		ours := 0
		known := make(map[uint64]bool)
		for _, info := range c.IKE.Clients() {
			known[uint64(info.ID)] = true
		}
		for id, cl := range c.clients {
			if cl.id != id || c.ports[cl.port] != cl || !known[uint64(id)] && cl.plain == nil {
				complain("client %d of slot %d is not what the tables say", id, cl.port)
			}
			for _, ch := range cl.children {
				ours++
				if ch.out != (xfrm.ID{}) {
					ours++
				}
			}
			b.lasting(fmt.Sprintf("%p ending", cl), cl.ending != "", complain, "slot %d has been ending for long: %q, %d sessions, tunnel %v",
				cl.port, cl.ending, len(cl.sessions), cl.tunnel)
			b.lasting(fmt.Sprintf("%p idle", cl), !cl.idle.IsZero() && time.Since(cl.idle) > c.opt.TunnelWait, complain,
				"slot %d has had no tunnel since %v", cl.port, cl.idle)
		}
		if sas != ours {
			complain("%d SAs are installed, %d are known", sas, ours)
		}
		used := c.slots.Used() + b.plainInvariants(complain)
		if len(c.ports) < len(c.clients) || used != len(c.ports) || sockets > len(c.ports) {
			complain("%d clients, %d ports, %d slots in use, %d sockets open", len(c.clients), len(c.ports), used, sockets)
		}
		if logins != len(c.byNAS) {
			complain("%d logins are open, %d are known", logins, len(c.byNAS))
		}

		for port, cl := range c.ports {
			b.m.mu.Lock()
			socket := b.m.sockets[uint16(port)]
			elsewhere := cl.made && cl.ready && socket != nil && socket.remote.Addr() != cl.remote.Addr()
			b.m.mu.Unlock()
			b.lasting(fmt.Sprintf("%p elsewhere", cl), elsewhere, complain, "the tunnel of slot %d is not connected to %v", port, cl.remote)
		}

		tunnels := make(map[uint16]bool)
		sessions := make(map[[2]uint16]bool)
		for _, t := range c.L2TP.Tunnels() {
			tunnels[t.Tunnel] = t.State != "closing" && t.State != "closed"
			for _, s := range t.Sessions {
				sessions[[2]uint16{t.Tunnel, s.Session}] = true
			}
		}
		for port, cl := range c.ports {
			b.lasting(fmt.Sprintf("%p scattered", cl), scattered[c.opt.Block.Mark(port)], complain, "slot %d has SAs of several peers", port)
			b.lasting(fmt.Sprintf("%p closed", cl), c.clients[cl.id] != cl, complain, "slot %d has not been given back", port)
			b.lasting(fmt.Sprintf("%p tunnel", cl), cl.tunnel != tunnels[uint16(port)], complain,
				"slot %d: there is a tunnel: %v, the engine says %v", port, cl.tunnel, tunnels[uint16(port)])
			for _, s := range cl.sessions {
				b.lasting(fmt.Sprintf("%p", s), !sessions[[2]uint16{uint16(port), s.id}], complain, "session %s is %s and the engine does not know it", s.name(), s.state)
				b.lasting(fmt.Sprintf("%p closing", s), s.state == sessionClosing, complain, "session %s has been closing for long", s.name())
			}
		}
		for nas, s := range c.byNAS {
			b.lasting("login "+nas, s.client.sessions[s.id] != s, complain, "the login of session %s outlives it", s.name())
		}
		b.m.machineInvariants(c, complain)
		b.written(complain)
	})
	if b.t.Failed() {
		b.t.FailNow()
	}
}

// machineInvariants finds objects on the machine that the daemon has forgotten. It runs on the loop.
func (m *machine) machineInvariants(c *Concentrator, complain func(string, ...any)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	var lost []string
	for id, t := range m.tunnels {
		if cl := m.sockets[uint16(id)]; !t.deleting && cl == nil {
			lost = append(lost, fmt.Sprintf("tunnel %d", id))
		}
	}
	for iface, p := range m.processes {
		if c.byNAS[p.s.Name] == nil {
			lost = append(lost, "pppd of "+iface)
		}
	}
	if len(lost) > 0 {
		m.mu.Unlock()
		complain("forgotten: %v", lost)
		m.mu.Lock()
	}
}

// lasting complains of a condition that has been true at every check for longer than patience. What was not looked at in a check is forgotten, since
// something else may have its name in the next.
func (b *bench) lasting(name string, condition bool, complain func(string, ...any), format string, args ...any) {
	if !condition {
		return
	}
	since, known := b.earlier[name]
	if !known {
		since = time.Now()
	}
	b.since[name] = since
	if time.Since(since) > patience {
		complain(format, args...)
	}
}
