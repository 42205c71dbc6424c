package ikev1_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// TestSecondMainMode plays Apple's rekeying: a new Main Mode of the same client, on port 4500 or from port 500, while the children of
// the old one carry traffic.
func TestSecondMainMode(t *testing.T) {
	for name, c := range map[string]struct {
		peer *ikev1test.Peer
		from func(p ikev1test.Peer) *ikev1test.Peer // where the second Main Mode begins
	}{
		"no NAT": {newPeer(1), func(p ikev1test.Peer) *ikev1test.Peer { return &p }},
		"NAT, on port 4500": {newPeer(1).BehindNAT(64916, 64917), func(p ikev1test.Peer) *ikev1test.Peer {
			return &p
		}},
		"NAT, from port 500": {newPeer(1).BehindNAT(64916, 64917), func(p ikev1test.Peer) *ikev1test.Peer {
			p.Addr, p.Encapsulated = netip.AddrPortFrom(p.Addr.Addr(), 64916), false
			for _, a := range []*netip.AddrPort{&p.Server, &p.Target, &p.Inner} {
				*a = netip.AddrPortFrom(a.Addr(), 500)
			}
			return &p
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			old := w.connect(c.peer)
			q1 := w.quick(old, 1)
			id := w.client().ID
			w.elapse(48 * time.Minute)

			fresh := w.connect(c.from(*c.peer))
			want(t, fresh.Addr, old.Addr, "the client is where it was")
			want(t, w.client().ID, id, "it keeps its id")
			up := eventsOf[ikev1.Phase1Established](w)
			want(t, up[len(up)-1].Rekey, true, "the event tells a rekeying")
			w.ok(w.agree(q1, true))
			w.quick(old, 2) // the old ISAKMP SA works until it is deleted
			w.say(old.Peer, old.Informational(old.DeleteISAKMP()))
			w.ok(w.agree(q1, true))
			want(t, w.client().State, "established", "there is the new ISAKMP SA")

			q3 := w.quick(fresh, 1) // message ids begin again
			want(t, w.inbound[q3.Theirs].Client, id, "the new child is the same client's")
			w.say(fresh.Peer, fresh.Informational(q1.DeleteESP())) // made under the old SA, deleted under the new one
			if _, ok := w.inbound[q1.Theirs]; ok {
				t.Error("the new ISAKMP SA cannot delete a child of the old one")
			}
			want(t, len(w.client().Children), 2, "the others stay")
			want(t, len(eventsOf[ikev1.ClientGone](w)), 0, "the client was never gone")
		})
	}
}

// TestChildrenWithoutISAKMPSA: the client comes back after its ISAKMP SA is gone, and is still the same.
func TestChildrenWithoutISAKMPSA(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := w.quick(m, 1)
	id := w.client().ID
	w.say(p, m.Informational(m.DeleteISAKMP()))
	want(t, w.client().State, "expired", "only a child is left")
	w.elapse(10 * time.Minute)
	m = w.connect(p)
	want(t, w.client().ID, id, "the same client")
	w.ok(w.agree(q, true))
	w.quick(m, 1)
	want(t, len(w.client().Children), 2, "both children")
}

func TestClientsBehindOneNAT(t *testing.T) {
	w := newWorld(t)
	ids := map[ikev1.ClientID]bool{}
	var children []*ikev1test.QuickMode
	for n := range uint16(20) {
		// The same private address at the same public one: two homes behind a carrier's NAT.
		p := newPeer(1).BehindNAT(10000+n, 20000+n)
		p.Rand = newPeer(uint64(1000 + n)).Rand
		m := w.connect(p)
		q := w.quick(m, 1) // Windows: everyone with message id 1
		ids[w.inbound[q.Theirs].Client] = true
		children = append(children, q)
	}
	want(t, len(ids), 20, "twenty clients")
	// One of them starts anew with INITIAL-CONTACT: only its own old child goes.
	p := *children[7].Peer
	m := w.greet(&p)
	w.ok(m.TakeMessage6(w.ask(&p, m.Message5(m.InitialContact()), "message 6")))
	w.quick(m, 1)
	for n, q := range children {
		if err := w.agree(q, true); (err == nil) == (n == 7) {
			t.Errorf("client %d: %v", n, err)
		}
	}
	want(t, len(w.engine.Clients()), 20, "still twenty clients")
	want(t, len(w.removed), 1, "one child removed")
}

// TestInitialContactAfterwards plays Android, which sends INITIAL-CONTACT in an exchange of its own that may come after Quick Mode.
func TestInitialContactAfterwards(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(500, 4500)
	old := w.quick(w.connect(p), 1)
	p2 := *p
	m := w.connect(&p2)
	q := m.QuickMode(1)
	contact := m.Informational(m.InitialContact())
	w.ok(q.TakeMessage2(w.ask(m.Peer, q.Message1(), "message 2")))
	w.silent(m.Peer, contact, "INITIAL-CONTACT has no answer")
	w.say(m.Peer, q.Message3())
	w.ok(w.agree(q, true))
	if w.agree(old, true) == nil {
		t.Error("the forgotten child is still installed")
	}
	want(t, len(w.engine.Clients()), 1, "one client")
}

// TestNATRebinding: the NAT gives the client another port in the middle. Authenticated messages move it, others do not.
func TestNATRebinding(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(64916, 64917)
	m := w.connect(p)
	w.quick(m, 1)
	id := w.client().ID
	forged := *p
	forged.Addr = netip.AddrPortFrom(p.Addr.Addr(), 33333)
	w.silent(&forged, m.SealedInformational(7, make([]byte, 32), m.DeleteISAKMP()), "not authenticated")
	want(t, w.client().Remote, p.Addr, "a forged message moves nobody")
	p.Addr = netip.AddrPortFrom(p.Addr.Addr(), 50001)
	w.quick(m, 2)
	want(t, w.client().ID, id, "the same client")
	want(t, w.client().Remote, p.Addr, "at its new port")

	// It moves in the middle of a Quick Mode: the SA towards the client goes to where it is.
	q := m.QuickMode(3)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	p.Addr = netip.AddrPortFrom(p.Addr.Addr(), 50002)
	w.say(p, q.Message3())
	want(t, w.outbound[w.inbound[q.Theirs].Child].Remote, p.Addr, "the outbound SA")
	want(t, len(eventsOf[ikev1.ClientMoved](w)), 2, "the owner is told to move the inbound SA")
	q = m.QuickMode(4)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	p.Addr = netip.AddrPortFrom(p.Addr.Addr(), 50003)
	w.absorb(w.engine.Moved(w.now, id, p.Addr)) // its ESP tells
	w.elapse(2 * time.Second)
	want(t, w.one(p, w.take(), "message 2 again") != nil, true, "message 2 is repeated to where the client is")
	w.say(p, q.Message3())
	want(t, w.outbound[w.inbound[q.Theirs].Child].Remote, p.Addr, "the outbound SA")

	late := *p
	late.Addr, late.Server, late.Encapsulated = netip.MustParseAddrPort("198.51.0.1:64916"), netip.MustParseAddrPort("203.0.113.1:500"), false
	w.say(&late, m.Informational(m.InitialContact()))
	want(t, w.client().Remote, p.Addr, "what comes to port 500 moves nobody back")

	// A Main Mode that begins at the new port is the same client's, one at the old port would be another's.
	p2 := *p
	w.connect(&p2)
	want(t, w.client().ID, id, "the same client")
	p3 := *p
	p3.Addr = netip.AddrPortFrom(p.Addr.Addr(), 64917)
	w.connect(&p3)
	want(t, len(w.engine.Clients()), 2, "two clients")
}
