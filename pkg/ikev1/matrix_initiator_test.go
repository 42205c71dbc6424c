package ikev1_test

import (
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// initiatorMatrix is the dialogue of an engine that calls another one. What is welcome in no state but comes from the other is a copy.
func initiatorMatrix(t *testing.T) *confrontation {
	const seed = 3
	fresh := func(t testing.TB) *pair { return newPair(t, seed, shortLives) }
	p := fresh(t)
	left, right := p.ends[0], p.ends[1]

	// The dialogue, and what comes back of it if somebody reflects it.
	welcome := map[string][]string{
		"message 2": {"calling"}, "message 4": {"message 3 sent"}, "message 6": {"message 5 sent"},
		"Quick Mode message 2": {"Quick Mode message 1 sent"},
		// Whoever has no part in it may begin a handshake: the responder's cookie is not there yet.
		"message 1, reflected": {"*"},
	}
	theirs := []string{"message 2", "message 4", "message 6", "Quick Mode message 2"}
	ours := []string{"message 1, reflected", "message 3, reflected", "message 5, reflected", "Quick Mode message 1, reflected", "Quick Mode message 3, reflected"}
	said := map[string]ikev1.Datagram{}
	var list []message
	note := func(name string, payload []byte) {
		said[name] = ikev1.Datagram{
			Local: left.connection().Local, Remote: left.connection().Remote, Payload: payload,
		}
		list = append(list, message{
			name: name, datagrams: []ikev1.Datagram{said[name]}, welcome: welcome[name], stranger: name == "message 1, reflected" || name == "message 2",
		})
	}
	p.watch = func(d ikev1.Datagram) {
		names := &ours
		if d.Local.Addr() == right.addr {
			names = &theirs
		}
		note((*names)[0], d.Payload)
		*names = (*names)[1:]
	}
	left.connect(left.connection())
	p.run(time.Second)
	if len(ours)+len(theirs) > 0 || len(left.children()) != 1 {
		t.Fatalf("not said: %v, %v", ours, theirs)
	}
	p.watch = nil

	// What the responder could say besides.
	client := right.engine.Clients()[0]
	h, err := wire.ParseHeader(said["message 6"].Payload)
	if err != nil {
		t.Fatal(err)
	}
	cookies := slices.Concat(h.InitiatorCookie[:], h.ResponderCookie[:])
	spi := client.Children[0].SPIIn
	authentic := []string{"Quick Mode message 1 sent", "installing inbound", "installing outbound", "child", "rekeying"}
	for name, payload := range map[string]wire.Payload{
		"Delete ESP": wire.Delete{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, SPILen: 4,
			SPIs: [][]byte{{byte(spi >> 24), byte(spi >> 16), byte(spi >> 8), byte(spi)}}},
		"Delete ISAKMP":   wire.Delete{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, SPILen: 16, SPIs: [][]byte{cookies}},
		"INITIAL-CONTACT": wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyInitialContact, SPI: cookies},
		"R-U-THERE": wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyRUThere, SPI: cookies,
			Data: []byte{0, 0, 0, 9}},
		"error": wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, Kind: wire.NotifyNoProposalChosen},
	} {
		welcome[name] = authentic
		note(name, ikev1.Inform(right.engine, p.now, client.ID, payload).Send[0].Payload)
		h := wire.Header{InitiatorCookie: h.InitiatorCookie, ResponderCookie: h.ResponderCookie, Exchange: wire.ExchangeInformational, MessageID: 5}
		note(name+" in the clear", wire.Message(h, payload))
		h.ResponderCookie = wire.Cookie{}
		note(name+" in the clear and early", wire.Message(h, payload))
	}
	ack := wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyRUThereAck, SPI: cookies, Data: []byte{0, 0, 0, 9}}
	note("acknowledgement of nothing", ikev1.Inform(right.engine, p.now, client.ID, ack).Send[0].Payload)

	start := func(t testing.TB) *world {
		w := newWorld(t)
		left := fresh(t).ends[0]
		w.engine, w.config, w.source = left.engine, left.config, left.random
		return w
	}
	holding := func(name string) func(*world) {
		return func(w *world) {
			w.hold = func(ikev1.Action) bool { return true }
			w.deliver(said[name])
			w.hold = nil
		}
	}
	return &confrontation{start: start, messages: list, states: []state{
		{"none", func(*world) {}},
		{"calling", func(w *world) {
			_, out, err := w.engine.Connect(w.now, left.connection())
			w.ok(err)
			w.absorb(out)
		}},
		{"computing the public value", holding("message 2")},
		{"message 3 sent", (*world).release},
		{"computing the secret", holding("message 4")},
		{"message 5 sent", (*world).release},
		{"Quick Mode message 1 sent", func(w *world) { w.deliver(said["message 6"]) }},
		{"installing inbound", holding("Quick Mode message 2")},
		{"installing outbound", func(w *world) {
			held := w.held
			w.held, w.hold = nil, func(a ikev1.Action) bool { _, ok := a.(ikev1.InstallOutbound); return ok }
			for _, r := range held {
				w.absorb(w.engine.Complete(w.now, r.id, r.value))
			}
			w.hold = nil
		}},
		{"child", (*world).release},
		{"rekeying", func(w *world) { w.absorb(w.engine.Rekey(w.now, w.client().ID)) }},
		{"deleted", func(w *world) {
			w.deliver(said["Delete ESP"])
			w.deliver(said["Delete ISAKMP"])
		}},
	}}
}

// TestMatrixOfInitiator: see confrontation.
func TestMatrixOfInitiator(t *testing.T) { initiatorMatrix(t).play(t) }
