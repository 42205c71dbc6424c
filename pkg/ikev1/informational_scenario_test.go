package ikev1_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

func TestDeletesInAnyOrder(t *testing.T) {
	for name, order := range map[string]func(w *world, m *ikev1test.MainMode, q *ikev1test.QuickMode){
		"ESP then ISAKMP": func(w *world, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
			w.say(m.Peer, m.Informational(q.DeleteESP()))
			want(t, len(w.inbound)+len(w.outbound), 0, "the child is gone")
			w.say(m.Peer, m.Informational(m.DeleteISAKMP()))
		},
		"both in one message": func(w *world, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
			w.say(m.Peer, m.Informational(q.DeleteESP(), m.DeleteISAKMP()))
		},
		"both in one message, ISAKMP twice": func(w *world, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
			w.say(m.Peer, m.Informational(q.DeleteESP(), m.DeleteISAKMP(), m.DeleteISAKMP(), q.DeleteESP()))
		},
		"ESP twice": func(w *world, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
			w.say(m.Peer, m.Informational(q.DeleteESP(), q.DeleteESP()))
			w.say(m.Peer, m.Informational(q.DeleteESP()))
			w.say(m.Peer, m.Informational(m.DeleteISAKMP()))
		},
		"ISAKMP alone": func(w *world, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
			w.say(m.Peer, m.Informational(m.DeleteISAKMP()))
			w.ok(w.agree(q, true)) // children outlive their ISAKMP SA (Apple's rekeying depends on it)
			want(t, w.client().State, "expired", "only a child is left")
			w.elapse(2 * time.Hour)
		},
		"ISAKMP then ESP": func(w *world, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
			late := m.Informational(q.DeleteESP())
			w.say(m.Peer, m.Informational(m.DeleteISAKMP()))
			w.silent(m.Peer, late, "a message of a deleted ISAKMP SA")
			w.elapse(2 * time.Hour)
		},
		"ISAKMP before ESP in one message": func(w *world, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
			w.say(m.Peer, m.Informational(m.DeleteISAKMP(), q.DeleteESP()))
			w.elapse(2 * time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.connect(newPeer(1))
			order(w, m, w.quick(m, 1))
			w.take()
			want(t, len(eventsOf[ikev1.ChildClosed](w)), 1, "the child is closed once")
			want(t, len(eventsOf[ikev1.ClientGone](w)), 1, "the client is gone once")
			w.empty("everything was deleted")
		})
	}
}

// TestForeignDelete: a client can delete its own SAs only.
func TestForeignDelete(t *testing.T) {
	w := newWorld(t)
	a, b := w.connect(newPeer(1)), w.connect(newPeer(2))
	qa, qb := w.quick(a, 1), w.quick(b, 1)
	w.say(b.Peer, b.Informational(qa.DeleteESP()))
	w.say(b.Peer, b.Informational(a.DeleteISAKMP()))
	inbound := qa.DeleteESP() // our own SPI instead of the client's
	inbound.SPIs[0] = binary.BigEndian.AppendUint32(nil, qa.Theirs)
	w.say(b.Peer, b.Informational(inbound))
	w.ok(w.agree(qa, true))
	w.ok(w.agree(qb, true))
	want(t, len(w.engine.Clients()), 2, "both are there")
	w.quick(a, 2)
}

func TestUnauthenticatedInformationals(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	q := w.quick(m, 1)
	payloads := []wire.Payload{q.DeleteESP(), m.DeleteISAKMP()}
	rest := wire.AppendChain(nil, payloads...)
	good := keymat.HashInfo(m.Hash, m.Keys.SKEYIDa, 77, rest)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		want(t, w.silent(m.Peer, m.SealedInformational(77, bad, payloads...), "a wrong HASH"), ikev1.DropHash, "the reason")
	}
	for _, n := range []int{0, 1, len(good) - 1} {
		want(t, w.silent(m.Peer, m.SealedInformational(77, good[:n], payloads...), "a short HASH"), ikev1.DropHash, "the reason")
	}
	want(t, w.silent(m.Peer, m.SealedInformational(77, append(bytes.Clone(good), 0), payloads...), "a long HASH"), ikev1.DropHash, "the reason")
	w.silent(m.Peer, m.SealedInformational(78, good, payloads...), "a HASH of another message id")

	h := wire.Header{InitiatorCookie: m.CookieI, ResponderCookie: m.CookieR, Exchange: wire.ExchangeInformational, MessageID: 5}
	want(t, w.silent(m.Peer, wire.Message(h, payloads...), "a Delete in the clear"), ikev1.DropUnencrypted, "the reason")
	w.silent(m.Peer, wire.Message(h, append([]wire.Payload{wire.Hash(good)}, payloads...)...), "a Delete in the clear with a HASH")
	h.ResponderCookie = wire.Cookie{}
	w.silent(m.Peer, wire.Message(h, payloads...), "a Delete without a responder cookie")
	stranger := *m.Peer
	stranger.Addr = newPeer(99).Addr
	w.silent(&stranger, m.Informational(payloads...), "a Delete from another address")
	w.ok(w.agree(q, true))
	want(t, w.client().State, "established", "nothing of this counted")
	w.hangUp(m, q)
	w.empty("the real Delete counts")
}

// TestReplayedInformational: a recorded Delete does nothing to what came after it.
func TestReplayedInformational(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	q := w.quick(m, 1)
	contact := m.Informational(m.InitialContact())
	w.say(m.Peer, contact)
	w.ok(w.agree(q, true))
	q2 := w.quick(m, 2)
	for range 100 {
		w.silent(m.Peer, contact, "a replayed INITIAL-CONTACT")
	}
	w.ok(w.agree(q2, true))
}

func TestDPDAnswers(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := w.connect(p)
	want(t, ikev1test.HasVendorID(m.AnsweredVendorIDs, ikev1test.VendorDPD), true, "DPD was offered and is answered")
	for sequence := uint32(1000); sequence < 1005; sequence++ {
		payloads, err := m.OpenInformational(w.ask(p, m.Informational(m.DPD(wire.NotifyRUThere, sequence)), "R-U-THERE is answered"))
		w.ok(err)
		n, err := wire.ParseNotification(payloads[0].Body)
		w.ok(err)
		want(t, n.Kind, wire.NotifyRUThereAck, "with an acknowledgement")
		want(t, binary.BigEndian.Uint32(n.Data), sequence, "of the same sequence number")
		if !bytes.Equal(n.SPI, m.Cookies()) || n.Protocol != wire.ProtocolISAKMP || n.DOI != wire.DOIIPsec {
			t.Errorf("the acknowledgement is %+v", n)
		}
	}
	want(t, w.silent(p, m.Informational(m.DPD(wire.NotifyRUThere, 1000)), "a number from the past"), ikev1.DropSequence, "the reason")
	wrong := m.DPD(wire.NotifyRUThere, 2000)
	wrong.SPI = make([]byte, 16)
	w.silent(p, m.Informational(wrong), "R-U-THERE about other cookies")
	short := m.DPD(wire.NotifyRUThere, 2000)
	short.Data = short.Data[:3]
	w.silent(p, m.Informational(short), "R-U-THERE with three octets")
	w.hangUp(m)
	w.empty("hung up")
}

// question returns the sequence number of the R-U-THERE among messages of the server.
func question(w *world, m *ikev1test.MainMode, sent []ikev1.Datagram) (uint32, bool) {
	w.t.Helper()
	for _, d := range sent {
		payloads, err := m.OpenInformational(d.Payload)
		w.ok(err)
		if n, err := wire.ParseNotification(payloads[0].Body); err == nil && n.Kind == wire.NotifyRUThere {
			return binary.BigEndian.Uint32(n.Data), true
		}
	}
	return 0, false
}

func TestDPDAsks(t *testing.T) {
	config := func(c *ikev1.Config) { c.DPDInterval, c.DPDTimeout = 30*time.Second, 150*time.Second }
	w := newWorld(t, config)
	p := newPeer(1).BehindNAT(500, 4500)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := w.connect(p)
	w.quick(m, 1)
	w.elapse(29 * time.Second)
	want(t, len(w.take()), 0, "no question before the interval is over")
	for range 20 { // ten minutes of answers keep the client
		w.elapse(30 * time.Second)
		if sequence, ok := question(w, m, w.take()); ok {
			w.say(p, m.Informational(m.DPD(wire.NotifyRUThereAck, sequence)))
		} else {
			t.Fatal("a silent client is not asked")
		}
		want(t, len(w.engine.Clients()), 1, "an answer keeps the client")
	}
	asked := 0
	for range 20 { // ten minutes of silence lose it
		w.elapse(30 * time.Second)
		if len(w.engine.Clients()) > 0 {
			if _, ok := question(w, m, w.take()); ok {
				asked++
			}
		}
	}
	if asked < 2 {
		t.Errorf("the client was asked only %d times before it was given up", asked)
	}
	gone := eventsOf[ikev1.ClientGone](w)
	if len(gone) != 1 || gone[0].Reason == "" {
		t.Errorf("ClientGone events %+v", gone)
	}
	w.take()
	w.empty("a dead peer leaves nothing")

	// Windows does not know DPD and must never be asked.
	w = newWorld(t, config)
	m = w.connect(newPeer(1))
	w.quick(m, 1)
	w.elapse(30 * time.Minute)
	want(t, len(w.take()), 0, "no question to a peer without DPD")
	want(t, len(w.client().Children), 1, "and it is not given up")
}

func TestCloseClientTellsThePeer(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(500, 4500)
	m := w.connect(p)
	q := w.quick(m, 1)
	w.absorb(w.engine.CloseClient(w.now, w.client().ID, "by the operator"))
	var esp, isakmp bool
	for _, d := range w.take() {
		want(t, d.Remote, p.Addr, "the Delete goes to the client")
		payloads, err := m.OpenInformational(d.Payload)
		w.ok(err)
		for _, raw := range payloads {
			del, err := wire.ParseDelete(raw.Body)
			w.ok(err)
			switch {
			case del.Protocol == wire.ProtocolESP && len(del.SPIs) == 1 && binary.BigEndian.Uint32(del.SPIs[0]) == q.Theirs:
				esp = true
			case del.Protocol == wire.ProtocolISAKMP && len(del.SPIs) == 1 && bytes.Equal(del.SPIs[0], m.Cookies()):
				isakmp = true
			default:
				t.Errorf("an odd Delete %+v", del)
			}
		}
	}
	want(t, esp, true, "the client hears that its ESP SA is gone")
	want(t, isakmp, true, "the client hears that its ISAKMP SA is gone")
	gone := eventsOf[ikev1.ClientGone](w)
	if len(gone) != 1 || gone[0].Reason != "by the operator" {
		t.Errorf("ClientGone events %+v", gone)
	}
	w.empty("closed")
	w.absorb(w.engine.CloseClient(w.now, 4711, "unknown"))
	want(t, len(w.take()), 0, "an unknown client is no error")
}

func TestShutdown(t *testing.T) {
	w := newWorld(t)
	var m *ikev1test.MainMode
	for n := range uint64(5) {
		m = w.connect(newPeer(n + 1))
		w.quick(m, 1)
	}
	w.greet(newPeer(77))
	w.absorb(w.engine.Shutdown(w.now))
	want(t, len(w.take()) >= 5, true, "everyone is told")
	want(t, len(eventsOf[ikev1.ClientGone](w)), 5, "everyone is gone")
	w.empty("shut down")
	w.now = w.now.Add(time.Minute)
	for n := range uint64(2) {
		want(t, w.silent(newPeer(n), newPeer(n).MainMode().Message1(), "a handshake afterwards"), ikev1.DropShuttingDown, "the reason")
	}
	want(t, w.silent(m.Peer, m.QuickMode(9).Message1(), "a Quick Mode afterwards"), ikev1.DropShuttingDown, "the reason")
	w.empty("nothing began")
}

// TestRefuse: while the owner says goodbye nobody comes in, and those who are in go on.
func TestRefuse(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	q := w.quick(m, 1)
	early := w.greet(newPeer(2))
	w.engine.Refuse()
	want(t, w.silent(newPeer(3), newPeer(3).MainMode().Message1(), "a new handshake"), ikev1.DropShuttingDown, "the reason")
	w.ok(early.TakeMessage6(w.ask(early.Peer, early.Message5(), "a handshake under way")))
	w.hangUp(m, q, w.quick(m, 2))
	w.absorb(w.engine.Shutdown(w.now))
	w.take()
	w.empty("shut down")
}
