package ikev1_test

import (
	"errors"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// dropped counts the drops for a reason.
func dropped(w *world, reason ikev1.DropReason) (n int) {
	for _, e := range eventsOf[ikev1.Dropped](w) {
		if e.Reason == reason {
			n++
		}
	}
	return n
}

// TestFailuresOfStrangers: who is not authenticated cannot fill the log, but every failure is counted.
func TestFailuresOfStrangers(t *testing.T) {
	limits := func(c *ikev1.Config) { c.HalfOpenMax, c.HalfOpenPerAddr = 1000, 1000 }
	for _, c := range []struct {
		name   string
		reason ikev1.DropReason
		play   func(w *world, p *ikev1test.Peer)
	}{
		{"wrong key", ikev1.DropAuthentication, func(w *world, p *ikev1test.Peer) {
			p.PSK = []byte("wrong")
			w.silent(p, w.greet(p).Message5(), "a wrong message 5")
		}},
		{"bad Diffie-Hellman", ikev1.DropKeyExchange, func(w *world, p *ikev1test.Peer) {
			w.fault = func(ikev1.Action) error { return errors.New("off the curve") }
			m := p.MainMode()
			w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
			w.silent(p, m.Message3(), "a bad public value")
		}},
		{"no message 5", ikev1.DropTimeout, func(w *world, p *ikev1test.Peer) { w.greet(p) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, limits)
			for n := range uint64(100) {
				c.play(w, newPeer(n))
			}
			w.elapse(time.Minute)
			want(t, dropped(w, c.reason), 100, "all are counted")
			if n := len(eventsOf[ikev1.Phase1Failed](w)); n < 1 || n > 10 {
				t.Errorf("%d of 100 failures at once are explained", n)
			}
		})
	}
}

// TestFailuresOfClient: one client that asks for the impossible again and again is explained now and then.
func TestFailuresOfClient(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	w.quick(m, 1)
	for id := uint32(100); id < 160; id++ {
		refused(w, m.QuickMode(id, func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 3, 0, 2, 2)) }), "3DES")
		w.elapse(time.Second)
	}
	want(t, dropped(w, ikev1.DropNoProposal), 60, "all are counted")
	if n := len(eventsOf[ikev1.Phase2Failed](w)); n < 1 || n > 4 {
		t.Errorf("%d of 60 failures in a minute are explained", n)
	}
	w.elapse(time.Minute)
	refused(w, m.QuickMode(200, func(q *ikev1test.QuickMode) { q.IDcr = wire.AddrID(q.Target.Addr(), 17, 53) }), "another port")
	failed := eventsOf[ikev1.Phase2Failed](w)
	want(t, failed[len(failed)-1].Client, w.client().ID, "a minute later it is explained again, with its client")
	want(t, dropped(w, ikev1.DropIdentities), 1, "the reason")
}
