package ikev1_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestReplayedInitialContact: an ISAKMP SA lives long enough for its message IDs to be forgotten, but forgets everything only once.
func TestReplayedInitialContact(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	contact := m.Informational(m.InitialContact())
	w.silent(p, contact, "INITIAL-CONTACT")
	second := w.connect(p) // the client rekeys
	q := w.quick(second, 1)
	for n := range uint32(1000) {
		del := q.DeleteESP()
		del.SPIs[0] = binary.BigEndian.AppendUint32(nil, n)
		w.silent(p, m.Informational(del), "a Delete of nothing")
	}
	w.silent(p, contact, "the first message again")
	w.ok(w.agree(q, true))
	want(t, len(w.removed), 0, "nothing is removed")
}

// TestReplayedDPD: messages of dead peer detection are protected by their numbers, however many there are.
func TestReplayedDPD(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(500, 4500)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := w.connect(p)
	q := w.quick(m, 1)
	del := m.Informational(q.DeleteESP())
	first := m.Informational(m.DPD(wire.NotifyRUThere, 1000))
	w.ask(p, first, "a question")
	w.say(p, del)
	w.quick(m, 2)
	for n := range uint32(1000) {
		w.ask(p, m.Informational(m.DPD(wire.NotifyRUThere, 1001+n)), "the next question")
	}
	elsewhere := *p
	elsewhere.Addr = netip.AddrPortFrom(p.Addr.Addr(), 33333)
	want(t, w.silent(&elsewhere, first, "the first question from another port"), ikev1.DropSequence, "the reason")
	want(t, w.client().Remote, p.Addr, "an old question moves nobody")
	want(t, w.silent(p, del, "an old Delete"), ikev1.DropDuplicate, "questions do not make us forget other messages")

	// Neither an old answer nor our own question keeps a peer alive that is dead.
	w.elapse(31 * time.Second)
	asked := w.take()
	sequence, _ := question(w, m, asked)
	answer := m.Informational(m.DPD(wire.NotifyRUThereAck, sequence))
	w.silent(p, answer, "an answer")
	for range 10 {
		w.elapse(20 * time.Second)
		if len(w.engine.Clients()) > 0 {
			w.say(p, answer)
			for _, d := range asked {
				w.silent(p, d.Payload, "our own question")
			}
			w.say(p, first)
		}
		asked = append(asked, w.take()...)
	}
	want(t, len(w.engine.Clients()), 0, "the dead peer is given up")
}
