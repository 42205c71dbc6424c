package ikev1_test

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

func forced(c *ikev1.Config) { c.ForceEncapsulation = true }

// TestForcedEncapsulation: every client is told of a NAT in front of itself, never of one in front of the server, and floats.
func TestForcedEncapsulation(t *testing.T) {
	for name, p := range map[string]*ikev1test.Peer{
		"no NAT": newPeer(1), "NAT": newPeer(1).BehindNAT(6, 1011), "IPv6": overIPv6(newPeer(1)), "server behind a NAT": serverBehindNAT(newPeer(1)),
	} {
		p.Forced = true
		w := newWorld(t, forced)
		m := w.connect(p)
		want(t, p.Encapsulated, true, "the client floats: "+name)
		want(t, w.client().Encapsulated, true, name)
		q := w.quick(m, 1)
		want(t, w.inbound[q.Theirs].Encapsulated, true, "ESP travels in UDP: "+name)
		w.hangUp(m, q)
		w.empty(name)
	}
}

// TestForcedEncapsulationModes: whatever a client on port 4500 calls its transport mode comes back as it was.
func TestForcedEncapsulationModes(t *testing.T) {
	for mode, allowed := range map[uint16]bool{2: true, 4: true, 61444: true, 1: false, 3: false, 61443: false, 61440: false} {
		w := newWorld(t, forced)
		p := newPeer(1)
		p.Forced = true
		m := w.connect(p)
		propose := func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 12, 256, 2, mode)) }
		if allowed {
			q := w.quick(m, 1, propose) // which compares the transform
			want(t, w.outbound[w.inbound[q.Theirs].Child].Encapsulated, true, "ESP in UDP in each of these modes")
			continue
		}
		w.say(p, m.QuickMode(1, propose).Message1())
		failed := eventsOf[ikev1.Phase2Failed](w)
		if len(failed) != 1 || failed[0].Code != ikev1.CauseEncapsulationMode || len(w.inbound) != 0 {
			t.Errorf("mode %d: %v", mode, failed)
		}
	}
}

// TestForcedEncapsulationWithoutNATT: a client that cannot do it is served as it is.
func TestForcedEncapsulationWithoutNATT(t *testing.T) {
	w := newWorld(t, forced)
	p := newPeer(1)
	p.VendorIDs = [][]byte{ikev1test.VendorDPD}
	m := w.connect(p)
	q := w.quick(m, 1)
	want(t, w.inbound[q.Theirs].Encapsulated, false, "plain ESP")
}

// TestForcedEncapsulationBlocked: a client that stops after message 4 has probably no way to port 4500.
func TestForcedEncapsulationBlocked(t *testing.T) {
	w := newWorld(t, forced)
	p := newPeer(1)
	p.Forced = true
	w.greet(p)
	w.elapse(time.Minute)
	failed := eventsOf[ikev1.Phase1Failed](w)
	if len(failed) != 1 || failed[0].Code != ikev1.CausePort4500Blocked {
		t.Errorf("%v", failed)
	}
}

// TestForcedEncapsulationOfPeers: it is enough that one end of a connection wants it, whoever calls.
func TestForcedEncapsulationOfPeers(t *testing.T) {
	for caller := range 2 {
		for _, both := range []bool{false, true} {
			n := 0
			p := newPair(t, 1, func(c *ikev1.Config) { c.ForceEncapsulation = n == 0 || both; n++ })
			end := p.ends[caller]
			id := end.connect(end.connection())
			p.run(time.Minute)
			if len(end.children()) != 1 {
				t.Fatalf("no child: %s; %s", end.describe(), end.other.describe())
			}
			p.consistent()
			for _, sa := range end.inbound {
				want(t, sa.Encapsulated, true, "ESP travels in UDP")
				want(t, sa.Local.Port(), 4500, "at the port of NAT traversal")
			}
			end.absorb(end.engine.Disconnect(p.now, id, "enough"))
			p.run(time.Minute)
			p.over()
		}
	}
}
