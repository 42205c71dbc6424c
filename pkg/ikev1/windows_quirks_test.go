package ikev1_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestQuirk13QuickModeStorm: when nobody answers its L2TP, Windows makes a new pair of SAs at 0, 3, 4, 8 and 14 seconds, deletes the one
// before each time, and all of it after 29 seconds, to begin anew with message 1. Each of them is installed before message 2 is sent.
func TestQuirk13QuickModeStorm(t *testing.T) {
	k := kindNamed(t, "Windows 10")
	w := newWorld(t)
	p := natted(k, 1)
	for range 3 {
		home := natted(k, 1)
		home.Rand = p.Rand
		m := w.connect(home)
		var last *ikev1test.QuickMode
		for n, pause := range []time.Duration{0, 3 * time.Second, time.Second, 4 * time.Second, 6 * time.Second} {
			w.elapse(pause)
			q := k.QuickMode(m, uint32(n+1))
			w.ok(q.TakeMessage2(w.ask(home, q.Message1(), "message 2")))
			w.ok(w.agree(q, false))
			w.say(home, q.Message3())
			if last != nil {
				w.say(home, m.Informational(last.DeleteESP()))
			}
			w.ok(w.agree(q, true))
			want(t, len(w.inbound), 1, "only the newest is left")
			last = q
		}
		w.elapse(15 * time.Second)
		w.hangUp(m, last)
		w.take()
		w.empty("Windows gives up")
	}
	want(t, len(eventsOf[ikev1.Phase1Failed](w))+len(eventsOf[ikev1.Phase2Failed](w)), 0, "nothing failed")
}

// TestQuirk14DeleteESPThenISAKMP: the two Deletes of a Windows that hangs up are two messages, each with its own effect.
func TestQuirk14DeleteESPThenISAKMP(t *testing.T) {
	k := kindNamed(t, "Windows 10")
	w := newWorld(t)
	m, q := w.join(k, natted(k, 1))
	w.say(m.Peer, m.Informational(q.DeleteESP()))
	want(t, len(w.inbound)+len(w.outbound), 0, "the ESP SAs are gone")
	want(t, w.client().State, "established", "the ISAKMP SA is not")
	w.say(m.Peer, m.Informational(m.DeleteISAKMP()))
	w.empty("all is gone")
}

// TestQuirk15FourthQuickModeMessage: a Windows Server that we call says one thing more after Quick Mode, in the same exchange.
func TestQuirk15FourthQuickModeMessage(t *testing.T) {
	p := newPair(t, 3)
	left, right := p.ends[0], p.ends[1]
	var header wire.Header
	p.watch = func(d ikev1.Datagram) {
		if h, err := wire.ParseHeader(d.Payload); err == nil && h.Exchange == wire.ExchangeQuick {
			header = h
		}
	}
	left.connect(left.connection())
	p.run(time.Second)
	if len(left.children()) != 1 {
		t.Fatalf("no child: %s", left.describe())
	}
	before := left.children()
	fourth := wire.Sealed(header, wire.PayloadHash, bytes.Repeat([]byte{7}, 64))
	for range 3 {
		sent := left.sent
		left.absorb(left.engine.Handle(p.now, ikev1.Datagram{
			Local: left.connection().Local, Remote: left.connection().Remote, Payload: bytes.Clone(fourth),
		}))
		want(t, left.sent, sent, "it is not answered")
		p.run(time.Second)
	}
	want(t, slices.Equal(left.children(), before), true, "and changes nothing")
	want(t, len(right.children()), 1, "nor does the other end hear of it")
	p.consistent()
}

// TestQuirk17FormsOfFragmentation: whatever form the client's vendor ID has, ours has the capabilities, and there is always room for it.
func TestQuirk17FormsOfFragmentation(t *testing.T) {
	lengths := map[int]bool{}
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy)
		p := clientOf(k, 1)
		m := p.MainMode()
		one := m.Message1()
		two := w.ask(p, one, "message 2")
		w.ok(m.TakeMessage2(two)) // knows no other form
		want(t, len(two) <= len(one), true, "message 2 is not longer than message 1")
		for _, v := range k.VendorIDs {
			if bytes.HasPrefix(v, ikev1test.VendorFragmentation) {
				lengths[len(v)] = true
				want(t, ikev1test.HasVendorID(m.AnsweredVendorIDs, ikev1test.VendorFragmentation), true, "fragmentation is agreed to")
			}
		}
	})
	want(t, lengths[16] && lengths[20], true, "both forms were there")
}

// TestQuirk52WeakerGroupLater: a Windows that replaces phase 1 with nothing but MODP1024 is refused where that is not allowed, and loses
// nothing that it has.
func TestQuirk52WeakerGroupLater(t *testing.T) {
	k := *kindNamed(t, "Windows 10")
	w := newWorld(t)
	m, q := w.join(&k, natted(&k, 1))
	w.elapse(time.Hour / 2)
	weak := *m.Peer
	weak.Offer = k.Offer[len(k.Offer)-1:]
	for _, d := range w.say(&weak, weak.MainMode().Message1()) {
		h, err := wire.ParseHeader(d.Payload)
		w.ok(err)
		want(t, h.Exchange, wire.ExchangeInformational, "a refusal")
	}
	begins(t, w.failure(), onlyWeak, "the operator is told")
	w.ok(w.agree(q, true))
	want(t, w.client().State, "established", "the ISAKMP SA is there")
	w.hangUp(m, q)
	w.empty("hung up")
}

// TestQuirk55WrongPSK: whatever garbage a wrong key makes of message 5, the guess is the key, nobody gets an answer, and the right one
// may still come.
func TestQuirk55WrongPSK(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, legacy)
		p := natted(k, 1)
		p.PSK = []byte("not the key")
		m := w.greet(p)
		w.silent(p, k.Message5(m, true), "message 5 with a wrong key")
		begins(t, w.failure(), "psk_mismatch: compare", "the operator is told")
		want(t, w.engine.HalfOpen(), 1, "the handshake waits")
		w.elapse(time.Minute)
		w.empty("given up")

		// The keys of the right PSK: a forger was faster than the client.
		w = newWorld(t, legacy)
		right := natted(k, 2)
		m = w.greet(right)
		forged := *m
		forged.Keys = keymat.Keys{SKEYID: bytes.Clone(m.Keys.SKEYID), SKEYIDa: m.Keys.SKEYIDa, SKEYIDd: m.Keys.SKEYIDd, SKEYIDe: m.Keys.SKEYIDe}
		forged.Keys.SKEYID[0] ^= 1
		w.silent(right, forged.Message5(), "a wrong proof")
		w.ok(m.TakeMessage6(w.ask(right, k.Message5(m, true), "the right proof")))
	})
}
