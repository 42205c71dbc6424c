package ikev1_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestQuickModeHashes: messages 1 and 3 whose HASH is wrong are ignored, and the right ones still count.
func TestQuickModeHashes(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	wrong := []wire.Payload{&wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: m.quickMode(1).proposals},
		wire.Nonce(make([]byte, 20))}
	for _, hash := range [][]byte{nil, {}, make([]byte, 31), make([]byte, 32), make([]byte, 33)} {
		q := m.quickMode(1)
		q.mainMode = m
		q.iv = keymat.Phase2IV(m.hash, m.iv, 1)
		b := q.seal(wrong, func([]byte) []byte { return hash })
		want(t, w.silent(p, b, "a wrong HASH(1)"), ikev1.DropHash, "the reason")
	}
	want(t, len(w.inbound), 0, "nothing is installed")

	q := m.quickMode(1)
	w.ok(q.takeMessage2(w.ask(p, q.message1(), "forgeries do not use the message id up")))
	iv := q.iv
	for i := range 32 {
		hash := keymat.Hash3(m.hash, m.keys.SKEYIDa, 1, q.ni, q.nr)
		hash[i] ^= 1
		q.iv = iv
		want(t, w.silent(p, q.seal(nil, func([]byte) []byte { return hash }), "a wrong HASH(3)"), ikev1.DropHash, "the reason")
	}
	want(t, len(w.outbound), 0, "nothing is installed")
	q.iv = iv
	w.say(p, q.message3())
	w.ok(q.agree(w, true))
}

// TestReplayedDelete: a client may use an SPI again; the recorded Delete of the first SA must not end the second.
func TestReplayedDelete(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := w.quick(m, 1)
	del := m.informational(q.deleteESP())
	w.say(p, del)
	want(t, len(w.inbound), 0, "the first is deleted")
	again := w.quick(m, 2, func(fresh *quickMode) {
		fresh.ours = q.ours
		fresh.propose(espTransform(1, 12, 256, 2, 2))
	})
	want(t, w.silent(p, del, "a replay"), ikev1.DropDuplicate, "the reason")
	w.ok(again.agree(w, true))
}

// TestTrailingOctets: some clients pad datagrams beyond the length in the header.
func TestTrailingOctets(t *testing.T) {
	padded := func(b []byte) []byte { return append(bytes.Clone(b), 0, 0, 0, 1, 2, 3) }
	w := newWorld(t)
	p := newPeer(1)
	m := p.mainMode()
	w.ok(m.takeMessage2(w.ask(p, padded(m.message1()), "message 1")))
	w.ok(m.takeMessage4(w.ask(p, padded(m.message3()), "message 3")))
	w.ok(m.takeMessage6(w.ask(p, padded(m.message5()), "message 5")))
	q := m.quickMode(1)
	w.ok(q.takeMessage2(w.ask(p, padded(q.message1()), "Quick Mode message 1")))
	w.say(p, padded(q.message3()))
	w.ok(q.agree(w, true))
	w.say(p, padded(m.informational(q.deleteESP(), m.deleteISAKMP())))
	w.empty("hung up")
}

// TestLateMessageOfOldSA: the client has rekeyed and moved to another port. What comes late from the old port, under the old ISAKMP
// SA, does not move it back.
func TestLateMessageOfOldSA(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).behindNAT(64916, 64917)
	old := w.connect(p)
	oldPlace := *old.peer
	late := old.informational(old.dpd(wire.NotifyRUThere, 1))
	p2 := *old.peer
	fresh := w.connect(&p2)
	p2.addr = netip.AddrPortFrom(p2.addr.Addr(), 50001)
	w.quick(fresh, 1)
	w.say(&oldPlace, late)
	want(t, w.client().Remote, p2.addr, "the client is at its new port")
	w.quick(fresh, 2)
}

// TestMessage3FromElsewhere: message 4 goes only where message 2 went, so that no answer is sent to an address that was not proved.
func TestMessage3FromElsewhere(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := p.mainMode()
	w.ok(m.takeMessage2(w.ask(p, m.message1(), "message 2")))
	three := m.message3()
	for _, addr := range []string{"198.51.0.1:501", "198.51.0.99:500"} {
		elsewhere := *p
		elsewhere.addr = netip.MustParseAddrPort(addr)
		w.silent(&elsewhere, three, "message 3 from "+addr)
	}
	want(t, len(w.seen), 0, "no Diffie-Hellman")
	w.ok(m.takeMessage4(w.ask(p, three, "message 3 from where message 1 came")))
}

// TestNoEventsOfTheDead: the outbound SA of a child is reported installed after the client has gone.
func TestNoEventsOfTheDead(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := m.quickMode(1)
	w.ok(q.takeMessage2(w.ask(p, q.message1(), "message 2")))
	w.hold = func(a ikev1.Action) bool { _, ok := a.(ikev1.InstallOutbound); return ok }
	w.say(p, q.message3())
	w.say(p, m.informational(q.deleteESP(), m.deleteISAKMP()))
	w.release()
	want(t, len(eventsOf[ikev1.ChildEstablished](w)), 0, "it never came up")
	want(t, len(eventsOf[ikev1.ClientGone](w)), 1, "the client is gone once")
	w.empty("gone")
}
