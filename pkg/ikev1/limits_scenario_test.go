package ikev1_test

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

func TestHalfOpenTimeout(t *testing.T) {
	for _, after := range []int{1, 3, 5} {
		w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenTimeout = 20 * time.Second })
		p := newPeer(1)
		m := p.MainMode()
		w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
		if after >= 3 {
			w.ok(m.TakeMessage4(w.ask(p, m.Message3(), "message 4")))
		}
		if after == 5 {
			m.PSK = []byte("wrong")
			m.Keys.SKEYID[0] ^= 1
			w.silent(p, m.Message5(), "a wrong message 5")
		}
		w.elapse(19 * time.Second)
		if w.engine.Next().IsZero() {
			t.Error("the handshake was forgotten too early")
		}
		w.elapse(2 * time.Second)
		want(t, len(w.take()), 0, "a responder does not retransmit in Main Mode")
		w.empty("the handshake timed out")
	}
}

func TestHalfOpenPerAddress(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenPerAddr = 3 })
	p := newPeer(1)
	for range 3 {
		w.ask(p, p.MainMode().Message1(), "within the limit")
	}
	want(t, w.silent(p, p.MainMode().Message1(), "beyond the limit"), ikev1.DropHalfOpenPerAddr, "the reason")
	w.connect(newPeer(2)) // others are not concerned
	w.elapse(time.Minute)
	for range 3 { // an established client does not count
		p := newPeer(1)
		p.Rand = newPeer(uint64(100 + len(w.events))).Rand
		w.connect(p)
	}
}

func TestHalfOpenMax(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenMax = 10 })
	proved := w.greet(newPeer(1)) // has sent message 3, so its address is real
	for n := range uint64(5000) {
		p := newPeer(1000 + n)
		m := p.MainMode()
		one := m.Message1()
		two := w.ask(p, one, "the oldest that never answered gives way")
		if len(two) > len(one) {
			t.Fatalf("message 2 has %d octets, message 1 only %d: a reflector", len(two), len(one))
		}
		if n%500 == 0 { // a real client in the middle of the flood
			w.connect(newPeer(100 + n/500))
		}
	}
	// A client that needs a moment for message 3 outlives a few newcomers.
	slow := newPeer(300)
	m := slow.MainMode()
	w.ok(m.TakeMessage2(w.ask(slow, m.Message1(), "message 2")))
	for n := range uint64(8) {
		w.ask(newPeer(400+n), newPeer(400+n).MainMode().Message1(), "a newcomer")
	}
	w.ok(m.TakeMessage4(w.ask(slow, m.Message3(), "the oldest gives way, not the newest")))

	w.ok(proved.TakeMessage6(w.ask(proved.Peer, proved.Message5(), "a proved handshake does not give way")))
	want(t, len(w.engine.Clients()), 11, "all real clients are connected")
	w.elapse(time.Minute)

	// Ten that have proved their address fill the table.
	for n := range uint64(10) {
		w.greet(newPeer(10000 + n))
	}
	p := newPeer(20000)
	want(t, w.silent(p, p.MainMode().Message1(), "the table is full of proved handshakes"), ikev1.DropHalfOpenMax, "the reason")
	w.elapse(time.Minute)
	w.connect(p)
}
