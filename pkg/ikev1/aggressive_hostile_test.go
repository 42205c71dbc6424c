package ikev1_test

import (
	"bytes"
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

// TestAggressiveFlood: of messages 1 with the name of a group and false addresses only some a second cost a Diffie-Hellman, and they
// keep nobody of Main Mode out.
func TestAggressiveFlood(t *testing.T) {
	w := newWorld(t, withGroups, func(c *ikev1.Config) { c.UnprovedMax, c.ChildWait = 20, -1 })
	p := member(newPeer(1), "sales")
	one := p.AggressiveMode().Aggressive1()
	for second := range 3 {
		for n := range 1000 {
			w.deliver(ikev1.Datagram{Local: p.Server, Remote: stranger(1000*second + n), Payload: one})
			if n%500 == 0 {
				w.connect(newPeer(uint64(100 + 10*second + n/500)))
			}
		}
		want(t, dropped(w, ikev1.DropAggressiveLimit), 950*(second+1), "beyond 50 a second")
		w.now = w.now.Add(time.Second)
	}
	want(t, len(w.seen), 150+6, "50 Diffie-Hellmans a second, and those of the clients")
	want(t, w.engine.HalfOpen() <= 20, true, "the limit holds")
	want(t, len(w.engine.Clients()), 6, "the clients are connected")
	explained := 0
	for _, failed := range eventsOf[ikev1.Phase1Failed](w) {
		if failed.Code == ikev1.CauseAggressiveLimit {
			explained++
		}
	}
	want(t, explained > 0 && explained <= 30, true, "the operator is told, but not each time")
	w.aggress(member(newPeer(2), "sales"))
}

// TestAggressiveGivesWay: a handshake that gives way while its Diffie-Hellman is under way leaves nothing.
func TestAggressiveGivesWay(t *testing.T) {
	w := newWorld(t, withGroups, func(c *ikev1.Config) { c.UnprovedMax = 2 })
	w.hold = func(ikev1.Action) bool { return true }
	for n := range uint64(10) {
		w.silent(member(newPeer(n), "sales"), newPeer(n).AggressiveMode().Aggressive1(), "the peer is not a member")
		w.silent(newPeer(n), member(newPeer(n), "sales").AggressiveMode().Aggressive1(), "message 1")
	}
	want(t, w.engine.HalfOpen(), 2, "the limit holds")
	w.release()
	want(t, len(w.take()), 2, "those that are left are answered")
	w.elapse(time.Minute)
	w.empty("all timed out")
}

// TestAggressiveAnswerLength: a message 2 that is longer than message 1 comes once, any other is repeated twice.
func TestAggressiveAnswerLength(t *testing.T) {
	seen := map[bool]int{}
	for extra := range 12 {
		w := newWorld(t, withGroups)
		p := member(newPeer(1), "sales")
		p.VendorIDs = [][]byte{ikev1test.VendorRFC3947, ikev1test.VendorDPD}
		for range extra {
			p.VendorIDs = append(p.VendorIDs, ikev1test.VendorUnknown)
		}
		m := p.AggressiveMode()
		one := m.Aggressive1()
		two := w.ask(p, one, "message 2")
		w.ok(m.TakeAggressive2(two))
		longer := len(two) > len(one)
		seen[longer]++
		answers := 0
		for range 10 {
			for _, d := range w.say(p, one) {
				answers++
				want(t, bytes.Equal(d.Payload, two), true, "the same octets")
			}
		}
		want(t, answers, map[bool]int{false: 2, true: 0}[longer], fmt.Sprintf("repetitions of %d octets for %d", len(two), len(one)))
		if longer {
			want(t, ikev1test.HasVendorID(m.AnsweredVendorIDs, ikev1test.VendorDPD), false, "what is not needed is left out")
		}
		w.elapse(time.Minute)
		want(t, len(w.take()), 0, "nothing is repeated by timer")
		w.empty("timed out")
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("not both cases were seen: %v", seen)
	}
	w := newWorld(t, withGroups)
	p := member(newPeer(1), "sales")
	p.VendorIDs = [][]byte{ikev1test.VendorRFC3947, ikev1test.VendorDPD, ikev1test.VendorUnknown, ikev1test.VendorUnknown, ikev1test.VendorUnknown, ikev1test.VendorUnknown, ikev1test.VendorUnknown}
	want(t, ikev1test.HasVendorID(w.aggress(p).AnsweredVendorIDs, ikev1test.VendorDPD), true, "there is room for the vendor ID")
}

// TestAggressiveWrongPSK: the client sees it first, and says nothing more; one that goes on is told of as in Main Mode.
func TestAggressiveWrongPSK(t *testing.T) {
	w := newWorld(t, withGroups)
	p := member(newPeer(1), "sales")
	p.PSK = []byte("not the key")
	m := p.AggressiveMode()
	if err := m.TakeAggressive2(w.ask(p, m.Aggressive1(), "message 2")); err == nil {
		t.Fatal("HASH_R fits another key")
	}
	w.elapse(time.Minute)
	failed := eventsOf[ikev1.Phase1Failed](w)
	if len(failed) != 1 || failed[0].Code != ikev1.CauseMessage3Lost || !strings.Contains(failed[0].Hint, "group sales") {
		t.Fatalf("the operator is told %+v", failed)
	}
	w.empty("timed out")

	w = newWorld(t, withGroups)
	m = p.AggressiveMode()
	_ = m.TakeAggressive2(w.ask(p, m.Aggressive1(), "message 2"))
	bad := m.Aggressive3Clear()
	for range 5 {
		want(t, w.silent(p, bad, "a wrong HASH_I"), ikev1.DropAuthentication, "the reason")
	}
	failed = eventsOf[ikev1.Phase1Failed](w)
	if len(failed) != 1 || failed[0].Code != ikev1.CausePSKMismatch || !strings.Contains(failed[0].Hint, "group sales") {
		t.Fatalf("the operator is told %+v", failed)
	}
	want(t, len(w.engine.Clients()), 0, "nobody is connected")
	w.elapse(time.Minute)
	want(t, len(eventsOf[ikev1.Phase1Failed](w)), 1, "what was explained is not explained again")
	w.empty("timed out")
}

// TestAggressiveForgedMessage3: what proves nothing changes nothing, sixteen times.
func TestAggressiveForgedMessage3(t *testing.T) {
	forgeries := map[string]func(m *ikev1test.MainMode, n byte) []byte{
		"encrypted garbage": func(m *ikev1test.MainMode, n byte) []byte {
			return wire.Sealed(m.Header(), wire.PayloadHash, bytes.Repeat([]byte{n}, 64))
		},
		"not a number of blocks": func(m *ikev1test.MainMode, n byte) []byte {
			return wire.Sealed(m.Header(), wire.PayloadHash, bytes.Repeat([]byte{n}, 63))
		},
		"encrypted nothing": func(m *ikev1test.MainMode, n byte) []byte { return wire.Sealed(m.Header(), wire.PayloadHash, nil) },
		"a hash in the clear": func(m *ikev1test.MainMode, n byte) []byte {
			return wire.Message(m.Header(), wire.Hash(bytes.Repeat([]byte{n}, 32)))
		},
		"an empty hash": func(m *ikev1test.MainMode, n byte) []byte {
			return wire.Message(m.Header(), wire.Hash(nil), wire.VendorID{n})
		},
		"no hash": func(m *ikev1test.MainMode, n byte) []byte { return wire.Message(m.Header(), wire.VendorID{n}) },
		"two hashes": func(m *ikev1test.MainMode, n byte) []byte {
			return m.Aggressive3Clear(wire.Hash{n})
		},
		"the hash of another exchange": func(m *ikev1test.MainMode, n byte) []byte {
			other := *m
			other.NonceI, other.CookieI[0] = bytes.Repeat([]byte{n}, 16), n
			body := other.Aggressive3Clear()
			return append(m.Header().Append(nil)[:16], body[16:]...)
		},
		"garbage in the clear": func(m *ikev1test.MainMode, n byte) []byte {
			h := m.Header()
			h.NextPayload, h.Version, h.Length = wire.PayloadHash, wire.Version1, wire.HeaderLen+8
			return append(h.Append(nil), bytes.Repeat([]byte{n}, 8)...)
		},
	}
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			for _, times := range []byte{15, 16} {
				w := newWorld(t, withGroups)
				m := w.hurry(member(newPeer(1).BehindNAT(500, 4500), "sales"))
				for n := range times {
					w.silent(m.Peer, forge(m, n+1), "a forgery")
				}
				want(t, len(w.engine.Clients()), 0, "nobody is connected")
				w.silent(m.Peer, m.Aggressive3(), "the client's message 3")
				connected := 1
				if times == 16 && name != "encrypted nothing" { // always the same octets, which count once
					connected = 0
				}
				want(t, len(w.engine.Clients()), connected, fmt.Sprintf("after %d forgeries", times))
				if connected == 1 {
					w.quick(m, 1)
				}
			}
		})
	}
}

// TestAggressiveMessage3FromElsewhere: another address is somebody else, another port is a client that floats.
func TestAggressiveMessage3FromElsewhere(t *testing.T) {
	w := newWorld(t, withGroups)
	m := w.hurry(member(newPeer(1), "sales"))
	three := m.Aggressive3Clear()
	elsewhere := *m.Peer
	elsewhere.Addr = netip.MustParseAddrPort("198.51.0.99:500")
	want(t, w.silent(&elsewhere, three, "another address"), ikev1.DropUnknownSA, "the reason")
	elsewhere.Addr = netip.MustParseAddrPort("198.51.0.1:4500")
	want(t, w.silent(&elsewhere, three, "another port"), "", "it counts")
	want(t, w.client().Remote, elsewhere.Addr, "the client is there")
}

// TestExchangesDoNotMix: messages of one exchange with the cookies of the other do nothing.
func TestExchangesDoNotMix(t *testing.T) {
	t.Run("Main Mode in Aggressive Mode", func(t *testing.T) {
		w := newWorld(t, withGroups)
		m := w.hurry(member(newPeer(1), "sales"))
		p := m.Peer
		main := p.MainMode()
		main.CookieI = m.CookieI
		want(t, w.silent(p, main.Message1(), "message 1 with the same cookie"), ikev1.DropDuplicate, "the reason")
		main.CookieR = m.CookieR
		three := wire.Message(main.Header(), wire.KE(m.GXI), wire.Nonce(m.NonceI))
		want(t, w.silent(p, three, "message 3"), ikev1.DropUnexpected, "the reason")
		five := *m
		body := five.Message5()
		body[18] = byte(wire.ExchangeMain)
		want(t, w.silent(p, body, "message 5 with the right HASH_I"), ikev1.DropUnexpected, "the reason")
		want(t, len(w.seen), 1, "one Diffie-Hellman")
		w.silent(p, m.Aggressive3(), "message 3 of Aggressive Mode")
		want(t, w.silent(p, three, "message 3 for an established SA"), ikev1.DropUnexpected, "the reason")
		w.quick(m, 1)
	})
	t.Run("Aggressive Mode in Main Mode", func(t *testing.T) {
		w := newWorld(t, withGroups)
		p := newPeer(1)
		m := p.MainMode()
		as := func(m *ikev1test.MainMode, b []byte) []byte {
			b = bytes.Clone(b)
			b[18] = byte(wire.ExchangeAggressive)
			return b
		}
		w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
		aggressive := member(newPeer(1), "sales").AggressiveMode()
		aggressive.CookieI = m.CookieI
		want(t, w.silent(p, aggressive.Aggressive1(), "message 1 with the same cookie"), ikev1.DropDuplicate, "the reason")
		three := m.Message3()
		want(t, w.silent(p, as(m, three), "message 3"), ikev1.DropUnexpected, "the reason")
		w.ok(m.TakeMessage4(w.ask(p, three, "message 4")))
		early := *m
		five := early.Message5()
		want(t, w.silent(p, as(m, five), "the proof of Main Mode"), ikev1.DropUnexpected, "the reason")
		want(t, w.silent(p, as(m, m.Aggressive3Clear()), "the right HASH_I in the clear"), ikev1.DropUnexpected, "the reason")
		w.ok(m.TakeMessage6(w.ask(p, m.Message5(), "message 6")))
		want(t, w.silent(p, as(m, five), "for an established SA"), ikev1.DropUnexpected, "the reason")
		w.quick(m, 1)
	})
}

// TestAggressiveMessage3Lost: racoon takes its message 3 for arrived and goes on with Quick Mode; message 2 again makes it say it again.
func TestAggressiveMessage3Lost(t *testing.T) {
	w := newWorld(t, withGroups)
	p := member(newPeer(1).BehindNAT(6000, 6001), "sales")
	m := p.AggressiveMode()
	before := *p
	two := w.ask(p, m.Aggressive1(), "message 2")
	w.ok(m.TakeAggressive2(two))
	three := m.Aggressive3Clear()
	q := m.QuickMode(1)
	one := q.Message1()
	for range 3 { // it is longer than message 1, so repetitions of that would get none
		want(t, bytes.Equal(w.one(&before, w.say(p, one), "Quick Mode before message 3"), two), true, "message 2 again")
	}
	w.silent(p, one, "not for ever")
	w.silent(p, three, "message 3")
	w.ok(q.TakeMessage2(w.ask(p, one, "Quick Mode")))
	w.ok(w.agree(q, false))
}

// TestAggressiveMalformed: message 1 has to have everything once.
func TestAggressiveMalformed(t *testing.T) {
	p := member(newPeer(1), "sales")
	m := p.AggressiveMode()
	_, all, err := ikev1test.Parse(m.Aggressive1())
	if err != nil {
		t.Fatal(err)
	}
	message := func(payloads ...wire.Raw) []byte {
		var list []wire.Payload
		for _, r := range payloads {
			list = append(list, r)
		}
		return wire.Message(m.Header(), list...)
	}
	sa, ke, nonce, id := all[0], all[1], all[2], all[3]
	change := func(f func(b []byte)) []byte {
		b := message(all...)
		f(b)
		return b
	}
	for name, c := range map[string]struct {
		message []byte
		reason  ikev1.DropReason
	}{
		"no SA":               {message(ke, nonce, id), ikev1.DropMalformed},
		"the SA is not first": {message(ke, sa, nonce, id), ikev1.DropMalformed},
		"no KE":               {message(sa, nonce, id), ikev1.DropMalformed},
		"two KE":              {message(sa, ke, ke, nonce, id), ikev1.DropMalformed},
		"no nonce":            {message(sa, ke, id), ikev1.DropMalformed},
		"a short nonce":       {message(sa, ke, wire.Raw{Kind: wire.PayloadNonce, Body: nonce.Body[:7]}, id), ikev1.DropMalformed},
		"no ID":               {message(sa, ke, nonce), ikev1.DropMalformed},
		"two IDs":             {message(sa, ke, nonce, id, id), ikev1.DropMalformed},
		"a short ID":          {message(sa, ke, nonce, wire.Raw{Kind: wire.PayloadID, Body: id.Body[:3]}), ikev1.DropMalformed},
		"a short KE":          {message(sa, wire.Raw{Kind: wire.PayloadKE, Body: ke.Body[1:]}, nonce, id), ikev1.DropNoProposal},
		"an empty KE":         {message(sa, wire.Raw{Kind: wire.PayloadKE}, nonce, id), ikev1.DropNoProposal},
		"an encrypted one":    {change(func(b []byte) { b[19] = 1 }), ikev1.DropMalformed},
		"a message id":        {change(func(b []byte) { b[23] = 1 }), ikev1.DropMalformed},
		"cookies of no SA":    {change(func(b []byte) { b[9] = 1 }), ikev1.DropUnknownSA},
		"not on the curve":    {message(sa, wire.Raw{Kind: wire.PayloadKE, Body: bytes.Repeat([]byte{3}, 64)}, nonce, id), ikev1.DropKeyExchange},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withGroups)
			w.say(p, c.message)
			want(t, dropped(w, c.reason), 1, "the reason")
			w.empty("nothing is kept")
		})
	}
}

// TestAggressiveEnds: shutting down, and a Diffie-Hellman that fails at the owner.
func TestAggressiveEnds(t *testing.T) {
	w := newWorld(t, withGroups)
	m := w.hurry(member(newPeer(1), "sales"))
	w.engine.Refuse()
	p := member(newPeer(2), "sales")
	want(t, w.silent(p, p.AggressiveMode().Aggressive1(), "a newcomer"), ikev1.DropShuttingDown, "the reason")
	w.silent(m.Peer, m.Aggressive3(), "one under way goes on")
	want(t, len(w.engine.Clients()), 1, "it is connected")

	w = newWorld(t, withGroups)
	w.fault = func(ikev1.Action) error { return errors.New("the worker is gone") }
	want(t, w.silent(p, p.AggressiveMode().Aggressive1(), "no Diffie-Hellman"), ikev1.DropKeyExchange, "the reason")
	w.empty("it is over")
}
