package ikev1_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// The answers to copies of one message, the first one included.
const (
	maxAnswers       = 6
	maxAnswersBefore = 3 // authentication
)

// flood sends a message a hundred times. All answers must be the same octets and there must be few.
func flood(w *world, p *ikev1test.Peer, message []byte, what string) []byte {
	w.t.Helper()
	var answers [][]byte
	for range 100 {
		for _, d := range w.say(p, message) {
			answers = append(answers, d.Payload)
		}
	}
	most := maxAnswers
	if len(w.engine.Clients()) == 0 {
		most = maxAnswersBefore
	}
	if len(answers) > most {
		w.t.Errorf("%d answers to 100 copies of %s", len(answers), what)
	}
	if len(answers) == 0 {
		return nil
	}
	for _, a := range answers {
		if !bytes.Equal(a, answers[0]) {
			w.t.Errorf("copies of %s get different answers", what)
		}
	}
	return answers[0]
}

// TestDuplicates repeats each message of a whole dialogue a hundred times. The dialogue must go on as if nothing had been: a
// repetition costs no computation and no step of the chain of IVs.
func TestDuplicates(t *testing.T) {
	for _, p := range []*ikev1test.Peer{newPeer(1), newPeer(1).BehindNAT(64916, 64917)} {
		w := newWorld(t)
		m := p.MainMode()
		one := m.Message1()
		w.ok(m.TakeMessage2(flood(w, p, one, "message 1")))
		before := *p // where it was before it floated
		three := m.Message3()
		w.ok(m.TakeMessage4(flood(w, &before, three, "message 3")))
		five := m.Message5()
		w.ok(m.TakeMessage6(flood(w, p, five, "message 5")))
		want(t, len(eventsOf[ikev1.Phase1Established](w)), 1, "one phase 1")

		q := m.QuickMode(1)
		quickOne := q.Message1()
		w.ok(q.TakeMessage2(flood(w, p, quickOne, "Quick Mode message 1")))
		quickThree := q.Message3()
		if a := flood(w, p, quickThree, "Quick Mode message 3"); a != nil {
			t.Error("Quick Mode message 3 is answered")
		}
		w.ok(w.agree(q, true))

		// Everything again, much later.
		w.elapse(10 * time.Minute)
		w.take()
		for what, late := range map[string][]byte{"message 5": five, "Quick Mode message 1": quickOne, "Quick Mode message 3": quickThree} {
			flood(w, p, late, "a late "+what)
		}
		for what, late := range map[string][]byte{"message 1": one, "message 3": three} {
			flood(w, &before, late, "a late "+what)
		}
		want(t, len(eventsOf[ikev1.Phase1Established](w)), 1, "still one phase 1")
		want(t, len(eventsOf[ikev1.ChildEstablished](w)), 1, "one child")
		want(t, len(w.seen), 3, "one Diffie-Hellman and two installations in all")
		w.ok(w.agree(q, true))
		q2 := w.quick(m, 2)

		del := m.Informational(q.DeleteESP())
		flood(w, p, del, "a Delete")
		flood(w, p, m.Informational(q2.DeleteESP()), "a Delete")
		flood(w, p, m.Informational(m.DeleteISAKMP()), "a Delete")
		flood(w, p, del, "a Delete of a client that is gone")
		for what, late := range map[string][]byte{"message 3": three, "message 5": five, "Quick Mode message 1": quickOne} {
			if a := flood(w, p, late, what); a != nil {
				t.Errorf("%s is answered after the end", what)
			}
		}
		w.empty("hung up")
	}
}

// TestQuickMessage2IsRepeated: the client never learns that its message 3 was lost, so the server repeats message 2, and stops.
func TestQuickMessage2IsRepeated(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := m.QuickMode(1)
	two := w.ask(p, q.Message1(), "message 2")
	w.ok(q.TakeMessage2(two))
	three := q.Message3() // lost
	w.elapse(5 * time.Second)
	again := w.take()
	if len(again) == 0 {
		t.Fatal("message 2 is not repeated")
	}
	for _, d := range again {
		if !bytes.Equal(d.Payload, two) {
			t.Error("the repetition differs")
		}
	}
	w.say(p, three)
	w.ok(w.agree(q, true))
	w.elapse(5 * time.Minute)
	want(t, len(w.take()), 0, "no repetition after message 3")

	// Message 3 never comes: the larval child goes away, and the client hears it.
	q = m.QuickMode(2)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	w.elapse(5 * time.Minute)
	repetitions, deleted := 0, false
	for _, d := range w.take() {
		if h, err := wire.ParseHeader(d.Payload); err == nil && h.Exchange == wire.ExchangeQuick {
			repetitions++
		} else if _, err := m.OpenInformational(d.Payload); err == nil {
			deleted = true
		}
	}
	if repetitions < 2 || repetitions > 10 {
		t.Errorf("message 2 was repeated %d times", repetitions)
	}
	want(t, deleted, true, "the client is told that the child is gone")
	want(t, len(w.inbound), 1, "its inbound SA is removed")
	w.quick(m, 3)
}

// truncations are all beginnings of a message, with the header's length as it was and put right.
func truncations(message []byte, send func([]byte)) {
	for n := range message {
		send(message[:n])
		if n >= wire.HeaderLen {
			short := bytes.Clone(message[:n])
			short[24], short[25], short[26], short[27] = 0, 0, byte(n>>8), byte(n)
			send(short)
		}
	}
}

// TestTruncated cuts each message at every length. None may be answered or change anything: the whole message counts afterwards.
func TestTruncated(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	silent := func(b []byte) {
		if sent := w.say(p, b); len(sent) != 0 {
			t.Fatalf("%d of its octets are answered", len(b))
		}
	}
	m := p.MainMode()
	one := m.Message1()
	truncations(one, silent)
	w.ok(m.TakeMessage2(w.ask(p, one, "message 1")))
	three := m.Message3()
	truncations(three, silent)
	w.ok(m.TakeMessage4(w.ask(p, three, "message 3")))
	five := m.Message5()
	// Only some: attempts to authenticate are counted.
	for n := wire.HeaderLen; n < len(five); n += 16 {
		short := bytes.Clone(five[:n])
		short[27] = byte(n)
		silent(short)
	}
	w.ok(m.TakeMessage6(w.ask(p, five, "message 5")))
	q := m.QuickMode(1)
	one = q.Message1()
	truncations(one, silent)
	w.ok(q.TakeMessage2(w.ask(p, one, "Quick Mode message 1")))
	three = q.Message3()
	truncations(three, silent)
	w.say(p, three)
	w.ok(w.agree(q, true))
	del := m.Informational(q.DeleteESP(), m.DeleteISAKMP())
	truncations(del, silent)
	w.ok(w.agree(q, true))
	w.say(p, del)
	w.empty("the whole Delete counts")
}

// TestOutOfOrder sends each message where it does not belong.
func TestOutOfOrder(t *testing.T) {
	// Messages of a complete dialogue with another engine are of no SA here.
	other := newWorld(t)
	p := newPeer(1)
	foreign := other.connect(p)
	w := newWorld(t)
	for n, b := range [][]byte{foreign.Message3(), foreign.Message5(), foreign.QuickMode(1).Message1(), foreign.Informational(foreign.DeleteISAKMP())} {
		w.silent(p, b, fmt.Sprintf("foreign message %d", n))
	}
	w.empty("nothing is kept of foreign messages")

	m := p.MainMode()
	m.CookieI = foreign.CookieI // with our cookie, and the server's new one
	one := m.Message1()
	w.ok(m.TakeMessage2(w.ask(p, one, "message 2")))
	foreign.CookieR = m.CookieR
	w.silent(p, foreign.Message5(), "message 5 before message 3")
	w.silent(p, foreign.QuickMode(1).Message1(), "Quick Mode before message 3")
	w.silent(p, foreign.Informational(foreign.DeleteISAKMP()), "Delete before message 3")
	w.ok(m.TakeMessage4(w.ask(p, m.Message3(), "message 4")))
	iv := m.IV
	w.silent(p, m.QuickMode(1).Message1(), "Quick Mode before message 5")
	w.silent(p, m.Informational(m.DeleteISAKMP()), "Delete before message 5")
	w.silent(p, m.Informational(m.DPD(wire.NotifyRUThere, 1)), "DPD before message 5")
	m.IV = iv
	w.ok(m.TakeMessage6(w.ask(p, m.Message5(), "message 6")))

	q := m.QuickMode(1)
	one = q.Message1()
	q.NonceR = make([]byte, 32)
	saved := q.IV
	w.silent(p, q.Message3(), "Quick Mode message 3 before message 1")
	q.IV = saved
	w.ok(q.TakeMessage2(w.ask(p, one, "Quick Mode message 2")))
	want(t, len(w.outbound), 0, "the child waits for message 3")
	w.say(p, q.Message3())
	w.ok(w.agree(q, true))
}

func TestForeignProtocols(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	message := func(change func(b []byte)) []byte {
		b := p.MainMode().Message1()
		change(b)
		return b
	}
	for _, c := range []struct {
		name    string
		message []byte
		reason  ikev1.DropReason
	}{
		{"a response of IKEv2", message(func(b []byte) { b[17] = 0x20; b[18] = 34; b[19] = 0x20 }), ikev1.DropIKEv2},
		{"version 3", message(func(b []byte) { b[17] = 0x30 }), ikev1.DropVersion},
		{"Aggressive Mode", message(func(b []byte) { b[18] = 4 }), ikev1.DropAggressive},
		{"XAUTH", message(func(b []byte) { b[18] = 6 }), ikev1.DropTransaction},
		{"Base exchange", message(func(b []byte) { b[18] = 1 }), ikev1.DropExchange},
		{"New Group Mode", message(func(b []byte) { b[18] = 33 }), ikev1.DropExchange},
		{"fragment", message(func(b []byte) { b[16] = 132; b[19] = 1 }), ikev1.DropUnknownSA},
		{"no initiator cookie", message(func(b []byte) { clear(b[:8]) }), ikev1.DropMalformed},
		{"encrypted message 1", message(func(b []byte) { b[19] = 1 }), ikev1.DropMalformed},
		{"message id", message(func(b []byte) { b[23] = 1 }), ikev1.DropMalformed},
		{"no payload", message(func(b []byte) { b[16] = 0 }), ikev1.DropMalformed},
		{"unknown responder cookie", message(func(b []byte) { b[9] = 1 }), ikev1.DropUnknownSA},
		{"nothing", nil, ikev1.DropMalformed},
		{"64 octets of zero", make([]byte, 64), ikev1.DropMalformed},
		{"a huge message", make([]byte, 60000), ikev1.DropTooLarge},
		{"keepalive", []byte{0xff}, ""},
	} {
		want(t, w.silent(p, c.message, c.name), c.reason, c.name)
	}
	w.empty("nothing is kept")

	// A non-ESP marker on port 500 is an old fault of Apple; the message behind it counts.
	m := p.MainMode()
	w.ok(m.TakeMessage2(w.ask(p, append(make([]byte, 4), m.Message1()...), "a marker on port 500")))
}
