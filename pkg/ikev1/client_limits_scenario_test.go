package ikev1_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// named is a peer at the address of number 1 that calls itself n.
func named(n int) *ikev1test.Peer {
	p := newPeer(1)
	p.Rand = newPeer(uint64(1000 + n)).Rand
	p.Identity = wire.ID{Kind: wire.IDFQDN, Data: fmt.Appendf(nil, "client%d.example", n)}
	return p
}

// TestMaxClients: whoever knows the key can call itself anything, but is not a thousand clients.
func TestMaxClients(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.MaxClients, c.MaxClientsPerAddr = 5, 3 })
	var modes []*ikev1test.MainMode
	for n := range 3 {
		m := w.connect(named(n))
		w.quick(m, 1)
		modes = append(modes, m)
	}
	for n := range 20 {
		p := named(200 + n)
		want(t, w.silent(p, w.greet(p).Message5(), "a fourth at this address"), ikev1.DropMaxClientsPerAddr, "the reason")
	}
	want(t, w.engine.HalfOpen(), 0, "nothing is kept of a refused client")
	failed := eventsOf[ikev1.Phase1Failed](w)
	if len(failed) == 0 || failed[0].Code != ikev1.CauseTooManyClients || !strings.Contains(failed[0].Hint, "raise ike.max_clients_per_address") {
		t.Errorf("the operator is told %+v", failed)
	}
	w.connect(modes[1].Peer) // rekeying is not concerned
	w.connect(newPeer(2))
	w.connect(newPeer(3))
	p := newPeer(4)
	want(t, w.silent(p, w.greet(p).Message5(), "a sixth"), ikev1.DropMaxClients, "the reason")
	want(t, len(w.engine.Clients()), 5, "the limit holds")
	w.hangUp(modes[0])
	w.elapse(2 * time.Hour) // and its child
	w.take()
	w.empty("all are gone")
	w.connect(named(300))
}

// TestChildWait: a client without a child is closed after a while, which begins anew when its last child ends.
func TestChildWait(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.ChildWait = 40 * time.Second })
	m := w.connect(newPeer(1))
	w.elapse(39 * time.Second)
	want(t, len(w.engine.Clients()), 1, "it has its time")
	w.elapse(2 * time.Second)
	deletes := w.take()
	want(t, len(deletes), 1, "it is told")
	payloads, err := m.OpenInformational(deletes[0].Payload)
	w.ok(err)
	want(t, payloads[0].Kind, wire.PayloadDelete, "by a Delete")
	gone := eventsOf[ikev1.ClientGone](w)
	if len(gone) != 1 || !strings.Contains(gone[0].Reason, "child") {
		t.Errorf("ClientGone events %+v", gone)
	}
	w.empty("closed")

	p := newPeer(2)
	m = w.connect(p)
	w.elapse(39 * time.Second)
	q := w.quick(m, 1) // at the last moment
	w.elapse(10 * time.Minute)
	w.ok(w.agree(q, true))
	w.say(p, m.Informational(q.DeleteESP()))
	w.elapse(39 * time.Second)
	m = w.connect(p) // a new Main Mode has its time too
	w.elapse(39 * time.Second)
	w.quick(m, 1)
	w.elapse(10 * time.Minute)
	want(t, len(w.engine.Clients()), 1, "it stays as long as it has a child")
	w.hangUp(m)
	w.take()

	// A Quick Mode that comes to nothing is no child, and there may be many.
	p = newPeer(3)
	m = w.connect(p)
	for id := range uint32(5) {
		w.say(p, m.QuickMode(id+1).Message1())
		w.elapse(12 * time.Second)
	}
	want(t, len(eventsOf[ikev1.ClientGone](w)), 2, "it is closed")
}
