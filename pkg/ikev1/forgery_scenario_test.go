package ikev1_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestQuickModeHashes: messages 1 and 3 whose HASH is wrong are ignored, and the right ones still count.
func TestQuickModeHashes(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	wrong := []wire.Payload{&wire.SA{DOI: wire.DOIIPsec, Situation: wire.SituationIdentityOnly, Proposals: m.QuickMode(1).Proposals},
		wire.Nonce(make([]byte, 20))}
	for _, hash := range [][]byte{nil, {}, make([]byte, 31), make([]byte, 32), make([]byte, 33)} {
		q := m.QuickMode(1)
		q.MainMode = m
		q.IV = keymat.Phase2IV(m.Hash, m.CBC.BlockSize(), m.IV, 1)
		b := q.Seal(wrong, func([]byte) []byte { return hash })
		want(t, w.silent(p, b, "a wrong HASH(1)"), ikev1.DropHash, "the reason")
	}
	want(t, len(w.inbound), 0, "nothing is installed")

	q := m.QuickMode(1)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "forgeries do not use the message id up")))
	iv := q.IV
	for i := range 32 {
		hash := keymat.Hash3(m.Hash, m.Keys.SKEYIDa, 1, q.NonceI, q.NonceR)
		hash[i] ^= 1
		q.IV = iv
		want(t, w.silent(p, q.Seal(nil, func([]byte) []byte { return hash }), "a wrong HASH(3)"), ikev1.DropHash, "the reason")
	}
	want(t, len(w.outbound), 0, "nothing is installed")
	q.IV = iv
	w.say(p, q.Message3())
	w.ok(w.agree(q, true))
}

// TestReplayedDelete: a client may use an SPI again; the recorded Delete of the first SA must not end the second.
func TestReplayedDelete(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := w.quick(m, 1)
	del := m.Informational(q.DeleteESP())
	w.say(p, del)
	want(t, len(w.inbound), 0, "the first is deleted")
	again := w.quick(m, 2, func(fresh *ikev1test.QuickMode) {
		fresh.Ours = q.Ours
		fresh.Propose(ikev1test.ESPTransform(1, 12, 256, 2, 2))
	})
	want(t, w.silent(p, del, "a replay"), ikev1.DropDuplicate, "the reason")
	w.ok(w.agree(again, true))
}

// TestTrailingOctets: some clients pad datagrams beyond the length in the header.
func TestTrailingOctets(t *testing.T) {
	padded := func(b []byte) []byte { return append(bytes.Clone(b), 0, 0, 0, 1, 2, 3) }
	w := newWorld(t)
	p := newPeer(1)
	m := p.MainMode()
	w.ok(m.TakeMessage2(w.ask(p, padded(m.Message1()), "message 1")))
	w.ok(m.TakeMessage4(w.ask(p, padded(m.Message3()), "message 3")))
	w.ok(m.TakeMessage6(w.ask(p, padded(m.Message5()), "message 5")))
	q := m.QuickMode(1)
	w.ok(q.TakeMessage2(w.ask(p, padded(q.Message1()), "Quick Mode message 1")))
	w.say(p, padded(q.Message3()))
	w.ok(w.agree(q, true))
	w.say(p, padded(m.Informational(q.DeleteESP(), m.DeleteISAKMP())))
	w.empty("hung up")
}

// TestLateMessageOfOldSA: the client has rekeyed and moved to another port. What comes late from the old port, under the old ISAKMP
// SA, does not move it back.
func TestLateMessageOfOldSA(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(64916, 64917)
	old := w.connect(p)
	oldPlace := *old.Peer
	late := old.Informational(old.DPD(wire.NotifyRUThere, 1))
	p2 := *old.Peer
	fresh := w.connect(&p2)
	p2.Addr = netip.AddrPortFrom(p2.Addr.Addr(), 50001)
	w.quick(fresh, 1)
	w.say(&oldPlace, late)
	want(t, w.client().Remote, p2.Addr, "the client is at its new port")
	w.quick(fresh, 2)
}

// TestMessage3FromElsewhere: message 4 goes only where message 2 went, so that no answer is sent to an address that was not proved.
func TestMessage3FromElsewhere(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := p.MainMode()
	w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
	three := m.Message3()
	for _, addr := range []string{"198.51.0.1:501", "198.51.0.99:500"} {
		elsewhere := *p
		elsewhere.Addr = netip.MustParseAddrPort(addr)
		w.silent(&elsewhere, three, "message 3 from "+addr)
	}
	want(t, len(w.seen), 0, "no Diffie-Hellman")
	w.ok(m.TakeMessage4(w.ask(p, three, "message 3 from where message 1 came")))
}

// TestNoEventsOfTheDead: the outbound SA of a child is reported installed after the client has gone.
func TestNoEventsOfTheDead(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := m.QuickMode(1)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	w.hold = func(a ikev1.Action) bool { _, ok := a.(ikev1.InstallOutbound); return ok }
	w.say(p, q.Message3())
	w.say(p, m.Informational(q.DeleteESP(), m.DeleteISAKMP()))
	w.release()
	want(t, len(eventsOf[ikev1.ChildEstablished](w)), 0, "it never came up")
	want(t, len(eventsOf[ikev1.ClientGone](w)), 1, "the client is gone once")
	w.empty("gone")
}
