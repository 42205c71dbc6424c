package ikev1_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// scribe records what a peer and a responder say to each other.
type scribe struct {
	*world
	peer *ikev1test.Peer
	said map[string]ikev1.Datagram
	list []message
}

// note records a message of the peer.
func (s *scribe) note(name string, payload []byte, welcome ...string) []byte {
	d := ikev1.Datagram{Local: s.peer.Server, Remote: s.peer.Addr, Encapsulated: s.peer.Encapsulated, Payload: payload}
	s.said[name] = d
	s.list = append(s.list, message{name: name, datagrams: []ikev1.Datagram{d}, welcome: welcome})
	return payload
}

// ask records a message of the peer, and the answer as one that comes back to the responder. Before the responder has said it, that is a
// message of the peer like any other.
func (s *scribe) ask(name, answer string, payload []byte, welcome ...string) []byte {
	reply := s.world.ask(s.peer, s.note(name, payload, welcome...), name)
	s.note(answer+", reflected", reply)
	if answer == "message 4" {
		s.list[len(s.list)-1].welcome = []string{"message 2 sent"}
	}
	return reply
}

// The states in which a responder has an ISAKMP SA that is authenticated.
var authentic = []string{"established", "asking", "installing", "Quick Mode message 2 sent", "installing outbound", "child", "rekeying"}

// responderMatrix is the dialogue of a client.
func responderMatrix(t *testing.T) *confrontation {
	start := func(t testing.TB) *world { return newWorld(t, withGroups) }
	s := &scribe{world: start(t), peer: newPeer(1), said: map[string]ikev1.Datagram{}}
	s.peer.VendorIDs = append(s.peer.VendorIDs, ikev1test.VendorDPD)
	m := s.peer.MainMode()

	s.ok(m.TakeMessage2(s.ask("message 1", "message 2", m.Message1(), "none", "deleted")))
	s.ok(m.TakeMessage4(s.ask("message 3", "message 4", m.Message3(), "message 2 sent")))
	five := m.Message5()
	reply := s.ask("message 5", "message 6", five, "message 4 sent")
	s.ok(m.TakeMessage6(reply))
	s.elapse(31 * time.Second)
	s.note("our own R-U-THERE, reflected", s.one(s.peer, s.world.take(), "DPD"), "established")
	question, err := m.OpenInformational(s.said["our own R-U-THERE, reflected"].Payload)
	s.ok(err)
	ack, err := wire.ParseNotification(question[0].Body)
	s.ok(err)
	ack.Kind = wire.NotifyRUThereAck
	acknowledgement := m.Informational(ack)

	q := m.QuickMode(0x1234)
	s.ok(q.TakeMessage2(s.ask("Quick Mode message 1", "Quick Mode message 2", q.Message1(), "established", "asking")))
	s.say(s.peer, s.note("Quick Mode message 3", q.Message3(), "Quick Mode message 2 sent"))
	again := s.peer.MainMode()
	s.ok(again.TakeMessage2(s.ask("message 1 of the next", "message 2 of the next", again.Message1(), "none", "message 2 sent", "computing", "message 4 sent",
		"established", "asking", "installing", "Quick Mode message 2 sent", "installing outbound", "child", "deleted")))
	s.ok(again.TakeMessage4(s.ask("message 3 of the next", "message 4 of the next", again.Message3())))
	s.note("message 5 of the next", again.Message5(), "rekeying")

	// What has not been said yet.
	s.note("acknowledgement", acknowledgement, "asking")
	s.note("R-U-THERE", m.Informational(m.DPD(wire.NotifyRUThere, 77)), authentic...)
	s.note("INITIAL-CONTACT", m.Informational(m.InitialContact()), authentic...)
	s.note("error", m.Informational(wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, Kind: wire.NotifyNoProposalChosen}), authentic...)
	s.note("Delete ESP", m.Informational(q.DeleteESP()), authentic...)
	s.note("Delete ISAKMP", m.Informational(m.DeleteISAKMP()), authentic...)
	sealed := func(id uint32, p wire.Payload) []byte {
		return m.SealedInformational(id, keymat.HashInfo(m.Hash, m.Keys.SKEYIDa, id, wire.AppendChain(nil, p)), p)
	}
	s.note("Informational with the message ID 0", sealed(0, m.DeleteISAKMP()))
	s.note("Informational with the message ID of a Quick Mode", sealed(0x1234, m.DeleteISAKMP()), "established", "asking")
	s.note("Quick Mode with the message ID 0", m.QuickMode(0).Message1())
	clear := func(p wire.Payload) []byte {
		h := wire.Header{InitiatorCookie: m.CookieI, ResponderCookie: m.CookieR, Exchange: wire.ExchangeInformational, MessageID: 99}
		return wire.Message(h, p)
	}
	s.note("Delete ISAKMP in the clear", clear(m.DeleteISAKMP()))
	s.note("Delete ESP in the clear", clear(q.DeleteESP()))
	s.note("INITIAL-CONTACT in the clear", clear(m.InitialContact()))
	s.note("R-U-THERE in the clear", clear(m.DPD(wire.NotifyRUThere, 78)))
	s.note("error in the clear", clear(wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyNoProposalChosen}))

	a := member(newPeer(2), "sales").AggressiveMode()
	s.peer = a.Peer
	s.ok(a.TakeAggressive2(s.ask("Aggressive Mode message 1", "Aggressive Mode message 2", a.Aggressive1(), "*")))
	s.note("Aggressive Mode message 3", a.Aggressive3())

	fragments := message{name: "message 5 in fragments", welcome: []string{"message 4 sent"}}
	for _, part := range ikev1test.Fragments(five, 1, 40) {
		d := s.said["message 5"]
		d.Payload = part
		fragments.datagrams = append(fragments.datagrams, d)
	}
	s.list = append(s.list, fragments)
	s.peer = m.Peer
	late := bytes.Clone(s.said["message 1"].Payload)
	late[atResponderCookie] = 1
	s.note("message 1 with a cookie of a responder", late)
	for i := range s.list {
		switch s.list[i].name {
		case "message 1", "message 1 of the next", "Aggressive Mode message 1":
			s.list[i].stranger = true
		}
	}

	tell := func(name string) func(*world) { return func(w *world) { w.deliver(s.said[name]) } }
	holding := func(name string) func(*world) {
		return func(w *world) {
			w.hold = func(ikev1.Action) bool { return true }
			w.deliver(s.said[name])
			w.hold = nil
		}
	}
	return &confrontation{start: start, messages: s.list, states: []state{
		{"none", func(*world) {}},
		{"message 2 sent", tell("message 1")},
		{"computing", holding("message 3")},
		{"message 4 sent", (*world).release},
		{"established", tell("message 5")},
		{"asking", func(w *world) { w.elapse(31 * time.Second) }},
		{"installing", holding("Quick Mode message 1")},
		{"Quick Mode message 2 sent", (*world).release},
		{"installing outbound", holding("Quick Mode message 3")},
		{"child", (*world).release},
		{"rekeying", func(w *world) { tell("message 1 of the next")(w); tell("message 3 of the next")(w) }},
		{"deleted", func(w *world) {
			w.elapse(time.Minute) // the next Main Mode is over
			tell("Delete ESP")(w)
			tell("Delete ISAKMP")(w)
		}},
	}}
}

// TestMatrixOfResponder: see confrontation.
func TestMatrixOfResponder(t *testing.T) { responderMatrix(t).play(t) }
