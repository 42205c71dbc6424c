package l2tp

import (
	"maps"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// moment is where, in carrying an Output out, an engine's process ends.
type moment int

const (
	never         moment = iota
	beforeActions        // as if the call had not been
	beforeRecords        // the kernel has what nobody remembers
	beforeSend           // the peer has to be told again
	beforeEvents         // the owner has to find out
	moments
)

// fate draws a moment.
func (w *world) fate() moment {
	if w.restarts == 0 || w.rng.Float64() >= w.restarts {
		return never
	}
	return beforeActions + moment(w.rng.IntN(int(moments-beforeActions)))
}

// restart makes a new engine of the records, and then brings the kernel and the own knowledge in line with it, as an owner does.
func (w *world) restart(when moment) {
	w.engines++
	e, out := w.records.restore(w.t, w.now, w.cfg, w.rand)
	if when > beforeRecords && w.rng.IntN(16) == 0 {
		wantSame(w.t, w.e, e)
	}
	w.e = e
	w.records.take(w.t, Output{Records: out.Records})
	w.records.check(w.t, e)

	sessions := make(map[[2]uint16]SessionInfo)
	tunnels := make(map[uint16]TunnelInfo)
	asked := make(map[[2]uint16]bool) // of what actions are about; session 0 is the tunnel
	for _, info := range e.Tunnels() {
		if info.State == "closing" || info.State == "closed" {
			continue
		}
		tunnels[info.Tunnel] = info
		for _, c := range info.Sessions {
			sessions[[2]uint16{info.Tunnel, c.Session}] = c
		}
	}
	for _, a := range out.Actions {
		switch a := a.(type) {
		case CreateTunnel:
			asked[[2]uint16{a.Tunnel}] = true
		case DeleteTunnel:
			asked[[2]uint16{a.Tunnel}] = true
		case CreateSession:
			asked[[2]uint16{a.Tunnel}], asked[[2]uint16{a.Tunnel, a.Session}] = true, true
		case DeleteSession:
			asked[[2]uint16{a.Tunnel}], asked[[2]uint16{a.Tunnel, a.Session}] = true, true
			w.kernel.tunnels[a.Tunnel] = true // its deletion may follow a second time, and finds nothing
		}
	}
	w.sweep(tunnels, sessions, asked)
	w.learn(tunnels, sessions)
	for _, a := range out.Actions {
		w.perform(a, w.kernel.repeat)
	}
	w.endLost(tunnels, sessions, asked)
}

// sweep removes what is in the kernel and nobody knows.
func (w *world) sweep(tunnels map[uint16]TunnelInfo, sessions map[[2]uint16]SessionInfo, asked map[[2]uint16]bool) {
	maps.DeleteFunc(w.kernel.sessions, func(id [2]uint16, _ bool) bool {
		_, known := sessions[id]
		return !known && !asked[id]
	})
	maps.DeleteFunc(w.kernel.tunnels, func(id uint16, _ bool) bool {
		_, known := tunnels[id]
		return !known && !asked[[2]uint16{id}]
	})
}

// learn catches up with events that were not told.
func (w *world) learn(tunnels map[uint16]TunnelInfo, sessions map[[2]uint16]SessionInfo) {
	maps.DeleteFunc(w.calls, func(id [2]uint16, _ string) bool { return sessions[id].State != "established" })
	maps.DeleteFunc(w.tunnels, func(id uint16, _ string) bool { return tunnels[id].State != "established" })
	for id, info := range tunnels {
		if info.State == "established" {
			w.tunnels[id] = "up"
		}
	}
	for id, info := range sessions {
		if info.State == "established" && w.calls[id] == "" {
			w.calls[id] = "up"
			w.ups++
		}
	}
}

// endLost ends what the records have and the kernel has not. The deletions that follow from it find nothing, and that is no fault.
func (w *world) endLost(tunnels map[uint16]TunnelInfo, sessions map[[2]uint16]SessionInfo, asked map[[2]uint16]bool) {
	maps.DeleteFunc(tunnels, func(id uint16, _ TunnelInfo) bool { return w.kernel.tunnels[id] || asked[[2]uint16{id}] })
	maps.DeleteFunc(sessions, func(id [2]uint16, _ SessionInfo) bool { return w.kernel.sessions[id] || asked[id] })
	for id := range tunnels {
		w.kernel.tunnels[id] = true
	}
	for id, c := range sessions {
		w.kernel.sessions[id] = true
		w.checkUnwanted(id[0], c.PeerSession, "the kernel has it no more")
	}
	for _, id := range slices.Sorted(maps.Keys(tunnels)) {
		w.take(w.e.CloseTunnel(w.now, id, Result{Code: StopGeneral}))
	}
	for _, id := range slices.SortedFunc(maps.Keys(sessions), func(a, b [2]uint16) int { return slices.Compare(a[:], b[:]) }) {
		w.take(w.e.CloseSession(w.now, id[0], id[1], Result{Code: CDNTemporary}))
	}
}

// checkUnwanted objects to the end of a session that its client is using.
func (w *world) checkUnwanted(slot, session uint16, reason string) {
	s := w.e.slots[slot]
	if !w.calm || s == nil || s.tunnel == nil {
		return
	}
	c := w.clients[s.tunnel.remote]
	if c.Established() && c.Tunnel == s.tunnel.channel.peer && slices.Contains(c.Sessions(), session) {
		w.t.Fatalf("slot %d: the client's session %d is lost: %s", slot, session, reason)
	}
}

// connection names one tunnel among all that were in a slot.
type connection struct {
	slot    uint16
	created time.Time
}

// numbering is what a tunnel's peer has been told.
type numbering struct {
	sent []string // messages by Ns
	nr   uint16
}

// hear notes the next Ns of a client.
func (w *world) hear(c *l2tptest.LAC, payload []byte) {
	if m, err := wire.Parse(payload); err == nil && !m.IsZLB() {
		w.said[c] = max(w.said[c], m.Ns+1)
	}
}

// checkNumbers compares what is sent with what was sent before, by whichever engine: a number stands for the same message for ever,
// none is left out, and nothing is acknowledged that was not said, nor taken back.
func (w *world) checkNumbers(sent []Datagram) {
	for _, d := range sent {
		m, err := wire.Parse(d.Payload)
		s := w.e.slots[d.Tunnel]
		if err != nil {
			w.t.Fatal(err)
		}
		if s == nil || s.tunnel == nil || m.TunnelID != s.tunnel.channel.peer {
			continue // the acknowledgement of a replaced tunnel's StopCCN
		}
		at := connection{d.Tunnel, s.tunnel.created}
		n := w.numbers[at]
		if n == nil {
			n = new(numbering)
			w.numbers[at] = n
		}
		if m.Nr < n.nr || m.Nr > w.said[w.clients[d.Remote]] {
			w.t.Fatalf("%s: Nr after %d, while the peer is at %d", describe(m), n.nr, w.said[w.clients[d.Remote]])
		}
		n.nr = m.Nr
		body := describe(wire.Message{TunnelID: m.TunnelID, SessionID: m.SessionID, AVPs: m.AVPs})
		switch {
		case m.IsZLB() && int(m.Ns) != len(n.sent):
			w.t.Fatalf("%s: the next message is %d", describe(m), len(n.sent))
		case m.IsZLB():
		case int(m.Ns) < len(n.sent) && n.sent[m.Ns] != body, int(m.Ns) > len(n.sent):
			w.t.Fatalf("%s: was %q", describe(m), n.sent[min(int(m.Ns), len(n.sent)-1)])
		case int(m.Ns) == len(n.sent):
			n.sent = append(n.sent, body)
		}
	}
}
