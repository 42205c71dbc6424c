package ikev1_test

import (
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// aggressiveMatrix is the dialogue of a member of a group.
func aggressiveMatrix(t *testing.T) *confrontation {
	start := func(t testing.TB) *world { return newWorld(t, withGroups) }
	s := &scribe{world: start(t), peer: member(newPeer(1), "sales"), said: map[string]ikev1.Datagram{}}
	m := s.peer.AggressiveMode()
	s.ok(m.TakeAggressive2(s.ask("message 1", "message 2", m.Aggressive1(), "none", "deleted")))
	three := m.Aggressive3()
	clear := m.Aggressive3Clear()
	s.say(s.peer, s.note("message 3", three, "message 2 sent"))
	s.note("message 3 in the clear", clear, "message 2 sent")
	s.note("R-U-THERE", m.Informational(m.DPD(wire.NotifyRUThere, 77)), "established")
	s.note("Delete ISAKMP", m.Informational(m.DeleteISAKMP()), "established")
	s.note("Quick Mode message 1", m.QuickMode(3).Message1(), "established")
	main := newPeer(2).MainMode()
	s.peer = main.Peer
	s.ok(main.TakeMessage2(s.world.ask(s.peer, main.Message1(), "message 2")))
	s.peer = m.Peer
	other := main.Message3()
	copy(other, m.CookieI[:])
	copy(other[len(m.CookieI):], m.CookieR[:])
	s.note("Main Mode message 3", other)
	s.list[0].stranger = true
	return &confrontation{start: start, messages: s.list, states: []state{
		{"none", func(*world) {}},
		{"computing", func(w *world) {
			w.hold = func(ikev1.Action) bool { return true }
			w.deliver(s.said["message 1"])
		}},
		{"message 2 sent", (*world).release},
		{"established", func(w *world) { w.deliver(s.said["message 3"]) }},
		{"deleted", func(w *world) { w.deliver(s.said["Delete ISAKMP"]) }},
	}}
}

// TestMatrixOfAggressiveMode: see confrontation.
func TestMatrixOfAggressiveMode(t *testing.T) { aggressiveMatrix(t).play(t) }
