package ikev1_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// toServerBehindNAT makes p call the server by an address that is not its own.
func toServerBehindNAT(p *ikev1test.Peer) *ikev1test.Peer {
	p.Target = netip.MustParseAddrPort("192.0.2.80:500")
	return p
}

func asWindows(p *ikev1test.Peer) *ikev1test.Peer {
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorWindows)
	return p
}

// TestMessage5Lost: where a handshake stops after message 4, the client and the NATs tell what to do about it.
func TestMessage5Lost(t *testing.T) {
	for _, c := range []struct {
		name  string
		peer  *ikev1test.Peer
		cause ikev1.Cause
		kind  string
	}{
		{"no NAT", newPeer(1), ikev1.CauseMessage5Lost, ""},
		{"the client behind a NAT", newPeer(1).BehindNAT(6000, 6001), ikev1.CausePort4500Blocked, ""},
		{"Windows behind a NAT", asWindows(newPeer(1).BehindNAT(6000, 6001)), ikev1.CausePort4500Blocked, "windows"},
		{"the server behind a NAT", toServerBehindNAT(newPeer(1)), ikev1.CausePort4500Blocked, ""},
		{"Windows, with the server behind a NAT", asWindows(toServerBehindNAT(newPeer(1))), ikev1.CauseWindowsBehindNAT, "windows"},
		{"Windows without a NAT", asWindows(newPeer(1)), ikev1.CauseMessage5Lost, "windows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.greet(c.peer)
			w.elapse(time.Minute)
			failed := eventsOf[ikev1.Phase1Failed](w)
			if len(failed) != 1 || failed[0].Code != c.cause || failed[0].VendorKind != c.kind || failed[0].Hint == "" || failed[0].Remote.Addr() != c.peer.Addr.Addr() {
				t.Errorf("the operator is told %+v", failed)
			}
			want(t, dropped(w, ikev1.DropTimeout), 1, "it is counted")
			w.empty("given up")
		})
	}
}

// TestNoQuickMode is quirk 1 of Windows, which may stop after phase 1 too; and others that stop there.
func TestNoQuickMode(t *testing.T) {
	for _, c := range []struct {
		name  string
		peer  *ikev1test.Peer
		cause ikev1.Cause
	}{
		{"Windows, with the server behind a NAT", asWindows(toServerBehindNAT(newPeer(1))), ikev1.CauseWindowsBehindNAT},
		{"Windows behind a NAT", asWindows(newPeer(1).BehindNAT(6000, 6001)), ikev1.CauseNoQuickMode},
		{"another", toServerBehindNAT(newPeer(1)), ikev1.CauseNoQuickMode},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.connect(c.peer)
			id := w.client().ID
			w.elapse(2 * time.Minute)
			failed := eventsOf[ikev1.Phase2Failed](w)
			if len(failed) != 1 || failed[0].Code != c.cause || failed[0].Client != id || failed[0].Identity == "" {
				t.Errorf("the operator is told %+v", failed)
			}
			want(t, len(eventsOf[ikev1.ClientGone](w)), 1, "it is closed")
		})
	}
	t.Run("explained already", func(t *testing.T) {
		w := newWorld(t)
		m := w.connect(newPeer(1))
		refused(w, m.QuickMode(100, func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 3, 0, 2, 2)) }), "3DES")
		w.elapse(2 * time.Minute)
		failed := eventsOf[ikev1.Phase2Failed](w)
		if len(failed) != 1 || failed[0].Code != ikev1.CauseNoESPProposal {
			t.Errorf("the operator is told %+v", failed)
		}
	})
	t.Run("it goes at once", func(t *testing.T) {
		w := newWorld(t)
		m := w.connect(newPeer(1))
		w.say(m.Peer, m.Informational(m.DeleteISAKMP()))
		w.elapse(2 * time.Minute)
		failed := eventsOf[ikev1.Phase2Failed](w)
		if len(failed) != 1 || failed[0].Code != ikev1.CauseNoQuickMode || !strings.Contains(failed[0].Cause, "deleted") || !strings.Contains(failed[0].Hint, "identity") {
			t.Errorf("the operator is told %+v", failed)
		}
		want(t, dropped(w, ikev1.DropTimeout), 0, "nothing was waited for")
	})
	t.Run("it had a child", func(t *testing.T) {
		w := newWorld(t)
		m := w.connect(newPeer(1))
		w.say(m.Peer, m.Informational(w.quick(m, 1).DeleteESP()))
		w.elapse(2 * time.Minute)
		want(t, len(w.engine.Clients()), 0, "it is closed")
		want(t, len(eventsOf[ikev1.Phase2Failed](w)), 0, "as one that has had enough")
	})
}

// TestPhase2Causes: what a client asks for in Quick Mode and does not get has its own cause.
func TestPhase2Causes(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause ikev1.Cause
		text  string
		play  func(w *world, m *ikev1test.MainMode)
	}{
		{"tunnel mode", ikev1.CauseEncapsulationMode, "the client asks for tunnel mode", func(w *world, m *ikev1test.MainMode) {
			refused(w, m.QuickMode(1, func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 12, 256, 2, 1)) }), "tunnel mode")
		}},
		{"another port", ikev1.CauseSelectors, "UDP port 53", func(w *world, m *ikev1test.MainMode) {
			refused(w, m.QuickMode(1, func(q *ikev1test.QuickMode) { q.IDcr = wire.AddrID(q.Target.Addr(), 17, 53) }), "another port")
		}},
		{"message 3 lost", ikev1.CauseQuickMessage3Lost, "message 3 did not arrive", func(w *world, m *ikev1test.MainMode) {
			w.say(m.Peer, m.QuickMode(1).Message1())
			w.elapse(50 * time.Second)
		}},
		{"the server is full", ikev1.CauseNoSlot, "this server is full: 7 clients", func(w *world, m *ikev1test.MainMode) {
			w.fault = func(ikev1.Action) error { return fmt.Errorf("7 clients: %w", ikev1.ErrFull) }
			w.say(m.Peer, m.QuickMode(1).Message1())
		}},
		{"the kernel refuses", ikev1.CauseInstall, "out of memory", func(w *world, m *ikev1test.MainMode) {
			w.fault = func(ikev1.Action) error { return errors.New("out of memory") }
			w.say(m.Peer, m.QuickMode(1).Message1())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.play(w, w.connect(asWindows(newPeer(1))))
			failed := eventsOf[ikev1.Phase2Failed](w)
			if len(failed) != 1 || failed[0].Code != c.cause || !strings.Contains(failed[0].Cause, c.text) || failed[0].Hint == "" ||
				failed[0].VendorKind != "windows" || failed[0].Identity != "198.51.0.1" {
				t.Errorf("the operator is told %+v", failed)
			}
		})
	}
}

// TestHalfOpenIsExplained: who is kept out by a limit is told of with the setting that sets it.
func TestHalfOpenIsExplained(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenPerAddr = 2 })
	for n := range uint16(3) {
		p := newPeer(1).BehindNAT(6000+n, 7000+n)
		p.Rand = newPeer(uint64(100 + n)).Rand
		m := p.MainMode()
		if n == 2 {
			w.silent(p, m.Message1(), "one too many")
			break
		}
		w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
		w.ask(p, m.Message3(), "message 4")
	}
	failed := eventsOf[ikev1.Phase1Failed](w)
	if len(failed) != 1 || failed[0].Code != ikev1.CauseHalfOpen || !strings.Contains(failed[0].Hint, "raise ike.half_open_per_address") {
		t.Errorf("the operator is told %+v", failed)
	}
}

// TestAggressiveModeIsExplained: a phone with a group name needs to be told where to clear it.
func TestAggressiveModeIsExplained(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	for range 100 {
		h := p.MainMode().Header()
		h.Exchange = wire.ExchangeAggressive
		w.silent(p, wire.Message(h, wire.Nonce(make([]byte, 16))), "Aggressive Mode")
	}
	failed := eventsOf[ikev1.Phase1Failed](w)
	if len(failed) == 0 || len(failed) > 10 || failed[0].Code != ikev1.CauseAggressiveMode {
		t.Errorf("the operator is told %+v", failed)
	}
	want(t, dropped(w, ikev1.DropAggressive), 100, "all are counted")
	for kind, hint := range map[string]string{"macOS 11, iOS 14": "clear the group name", "Android 8": "clear the IPSec identifier"} {
		w := newWorld(t)
		p := member(natted(kindNamed(t, kind), 1), "sales")
		w.silent(p, p.AggressiveMode().Aggressive1(), "Aggressive Mode")
		failed := eventsOf[ikev1.Phase1Failed](w)
		if len(failed) != 1 || !strings.HasPrefix(failed[0].Hint, hint) || failed[0].VendorKind == "" || failed[0].Identity != "sales" {
			t.Errorf("%s: the operator is told %+v", kind, failed)
		}
	}
}
