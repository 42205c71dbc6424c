package ikev1_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

const newPSK = "another key than the one before"

// keyed returns a configuration with one key for everybody.
func keyed(psk string, adjust ...func(*ikev1.Config)) ikev1.Config {
	c := ikev1.Config{PSK: func(netip.Addr, netip.Addr) []byte { return []byte(psk) }}
	for _, f := range adjust {
		f(&c)
	}
	return c
}

// strict allows what none of the peers of these tests asks for.
func strict(c *ikev1.Config) {
	c.Phase1 = []ikev1.Phase1Proposal{{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA512, Group: dh.ECP521}}
	c.Phase2 = []ikev1.Phase2Proposal{{Encryption: ikev1.AESGCM16, KeyBits: 256}}
}

// TestConfigure: a new key and new proposals leave alone who is connected, and hold for who comes.
func TestConfigure(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	w.quick(m, 7)
	events := len(w.events)
	w.ok(w.engine.Configure(keyed(newPSK, strict)))
	if len(w.removed) > 0 || len(w.events) > events || len(w.inbound) != 1 || len(w.engine.Clients()) != 1 {
		t.Fatalf("removed %v, events %v, %d SAs", w.removed, w.events[events:], len(w.inbound))
	}
	want(t, len(w.say(m.Peer, m.Informational(m.DPD(wire.NotifyRUThere, 1)))), 1, "the client is still served")
	w.ask(newPeer(2), newPeer(2).MainMode().Message1(), "a proposal that is not allowed any more gets NO-PROPOSAL-CHOSEN")
	want(t, w.engine.HalfOpen(), 0, "handshakes")

	w.ok(w.engine.Configure(keyed(newPSK)))
	old := w.greet(newPeer(3))
	w.say(old.Peer, old.Message5())
	want(t, len(w.engine.Clients()), 1, "the old key is refused")
	p := newPeer(4)
	p.PSK = []byte(newPSK)
	w.quick(w.connect(p), 8)
	want(t, len(w.engine.Clients()), 2, "the new key connects")
}

// TestConfigureDuringHandshake: who has begun with the old key goes on with it, in whatever state.
func TestConfigureDuringHandshake(t *testing.T) {
	for step := range 3 {
		w := newWorld(t)
		m := newPeer(1).MainMode()
		configure := func(at int) {
			if at == step {
				w.ok(w.engine.Configure(keyed(newPSK, strict)))
			}
		}
		w.ok(m.TakeMessage2(w.ask(m.Peer, m.Message1(), "message 1")))
		configure(0)
		third := m.Message3()
		w.hold = func(a ikev1.Action) bool { _, dh := a.(ikev1.ComputeDH); return dh && step == 1 }
		sent := w.say(m.Peer, third)
		configure(1)
		w.release()
		sent = append(sent, w.take()...)
		w.ok(m.TakeMessage4(w.one(m.Peer, sent, "message 3")))
		configure(2)
		w.ok(m.TakeMessage6(w.ask(m.Peer, m.Message5(), "message 5 with the key that the handshake began with")))
		want(t, len(w.engine.Clients()), 1, "clients")
	}
	w := newWorld(t, withGroups)
	m := w.hurry(member(newPeer(1), "sales"))
	w.ok(w.engine.Configure(keyed(newPSK)))
	want(t, w.silent(m.Peer, m.Aggressive3(), "message 3"), "", "Aggressive Mode goes on")
	want(t, len(w.engine.Clients()), 1, "clients")
}

// TestConfigureDPD: a client that nobody asked is asked once there is an interval, and none any more without.
func TestConfigureDPD(t *testing.T) {
	never := func(c *ikev1.Config) { c.DPDInterval = -1 }
	w := newWorld(t, never)
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	w.quick(w.connect(p), 7)
	w.elapse(5 * time.Minute)
	want(t, len(w.take()), 0, "questions without an interval")
	w.ok(w.engine.Configure(keyed(goodPSK, func(c *ikev1.Config) { c.DPDInterval, c.DPDTimeout = 10*time.Second, time.Hour })))
	w.elapse(time.Second)
	want(t, len(w.take()), 1, "questions with an interval that is over already")
	w.ok(w.engine.Configure(keyed(goodPSK, never)))
	w.elapse(30 * time.Minute)
	want(t, len(w.take()), 0, "questions without an interval")
	want(t, len(w.engine.Clients()), 1, "the client is still there")
}

// TestConfigureWithFaults: what cannot be used changes nothing.
func TestConfigureWithFaults(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]ikev1.Config{
		"no way to authenticate": {},
		"phase 1 proposal":       keyed(newPSK, func(c *ikev1.Config) { c.Phase1 = []ikev1.Phase1Proposal{{Cipher: 99}} }),
		"phase 2 proposal":       keyed(newPSK, func(c *ikev1.Config) { c.Phase2 = []ikev1.Phase2Proposal{{Encryption: 99}} }),
		"PFS group":              keyed(newPSK, func(c *ikev1.Config) { c.PFSGroups = []dh.Group{999} }),
	} {
		if err := w.engine.Configure(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.connect(newPeer(1))

	p := newPair(t, 1)
	left := p.ends[0]
	left.connect(left.connection())
	p.run(time.Second)
	none := ikev1.Config{PSK: func(netip.Addr, netip.Addr) []byte { return nil }}
	if err := left.engine.Configure(none); err == nil || !strings.Contains(err.Error(), "no pre-shared key for this peer") {
		t.Errorf("a connection without its key: %v", err)
	}
}
