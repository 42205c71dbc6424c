package ikev1_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// restart puts another engine in the place of that of w, which knows nothing but the records. The kernel stays, without what nobody has a
// record of. Randomness goes on, so that the other engine can say the same as the first one would have.
func (w *world) restart(adjust ...func(*ikev1.Config)) {
	w.t.Helper()
	config := w.config
	for _, f := range adjust {
		f(&config)
	}
	engine, err := ikev1.New(config, w.source)
	if err != nil {
		w.t.Fatal(err)
	}
	before, old := snapshot(w.engine), w.engine
	w.engine, w.held, w.seen = engine, nil, map[ikev1.ActionID]bool{}
	written := w.records
	w.records = archive{}
	var outs []ikev1.Output
	for _, r := range written.list() {
		out, err := engine.Restore(w.now, r)
		if err != nil {
			w.t.Fatal(err)
		}
		w.records[r.Client] = r.State
		outs = append(outs, out)
	}
	want(w.t, snapshot(engine), before, "the list of clients")
	if wrong := ikev1.Differences(old, engine); len(wrong) > 0 {
		w.t.Error(wrong)
	}
	w.absorb(merged(outs))
	known := map[uint32]ikev1.ChildID{}
	for _, ch := range engine.Installed() {
		known[ch.In.SPI], known[ch.Out.SPI] = ch.In.Child, ch.In.Child
		if w.inbound[ch.In.SPI].Child != ch.In.Child {
			w.t.Errorf("child %d has the SPI %#x, which is not installed", ch.In.Child, ch.In.SPI)
		}
	}
	for spi, sa := range w.inbound {
		if known[spi] != sa.Child {
			delete(w.inbound, spi)
			delete(w.outbound, sa.Child)
		}
	}
}

// snapshot is the list of clients, with times that can be compared.
func snapshot(e *ikev1.Engine) string {
	list := e.Clients()
	for i := range list {
		list[i].Established = list[i].Established.UTC()
		for j := range list[i].Children {
			ch := &list[i].Children[j]
			ch.Established, ch.Expires = ch.Established.UTC(), ch.Expires.UTC()
		}
	}
	return fmt.Sprintf("%+v", list)
}

// TestRestartOfResponder: a client notices nothing of a restart, wherever it comes in the dialogue after Main Mode.
func TestRestartOfResponder(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(40000, 40001)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := p.MainMode()
	w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
	w.ok(m.TakeMessage4(w.ask(p, m.Message3(), "message 4")))
	five := m.Message5()
	six := w.ask(p, five, "message 6")
	w.restart()
	again := w.ask(p, five, "message 6 was lost")
	if !bytes.Equal(again, six) {
		t.Error("message 6 is another one")
	}
	w.ok(m.TakeMessage6(six))

	q := m.QuickMode(1)
	one := q.Message1()
	w.hold = func(ikev1.Action) bool { return true }
	want(t, w.silent(p, one, "the SA is being installed"), "", "message 1 is not dropped")
	w.hold = nil
	w.restart()
	two := w.ask(p, one, "the Quick Mode begins anew")
	w.ok(q.TakeMessage2(two))
	w.restart()
	if again := w.ask(p, one, "message 2 was lost"); !bytes.Equal(again, two) {
		t.Error("message 2 is another one")
	}
	three := q.Message3()
	w.hold = func(ikev1.Action) bool { return true }
	want(t, w.silent(p, three, "message 3"), "", "message 3 is not dropped")
	w.hold, w.outbound = nil, map[ikev1.ChildID]ikev1.ChildSA{} // it did not come to that
	w.restart()
	w.ok(w.agree(q, true))
	want(t, w.silent(p, three, "message 3 once more"), ikev1.DropDuplicate, "it is known")
	want(t, w.silent(p, one, "message 1 once more"), ikev1.DropDuplicate, "it is known")
	id := w.client().ID

	w.elapse(20 * time.Second)
	w.restart()
	question := m.Informational(m.DPD(wire.NotifyRUThere, 7))
	w.ask(p, question, "R-U-THERE")
	w.ask(p, m.Informational(m.DPD(wire.NotifyRUThere, 7)), "R-U-THERE again")
	w.restart()
	want(t, w.silent(p, m.Informational(m.DPD(wire.NotifyRUThere, 6)), "an old question"), ikev1.DropSequence, "the sequence number is known")
	next := m.QuickMode(2)
	w.ok(next.TakeMessage2(w.ask(p, next.Message1(), "a rekeying")))
	w.restart()
	w.say(p, next.Message3())
	w.ok(w.agree(next, true))
	w.restart()
	w.say(p, m.Informational(q.DeleteESP()))
	want(t, len(w.client().Children), 1, "the old child is gone")
	want(t, w.client().ID, id, "the client keeps its ID")
	w.restart()
	w.say(p, m.Informational(next.DeleteESP(), m.DeleteISAKMP()))
	w.empty("the client has left")
	want(t, len(w.records), 0, "records")
}

// TestRestartTakesTime: what passed while nobody listened is not the client's silence, and what it said meanwhile comes in time.
func TestRestartTakesTime(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := w.connect(p)
	first := w.quick(m, 1)
	w.elapse(31 * time.Second)
	question := w.one(p, w.take(), "R-U-THERE")
	q := m.QuickMode(2)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "a rekeying")))
	w.now = w.now.Add(10 * time.Minute)
	w.restart()
	w.elapse(time.Second)
	for _, d := range w.take() { // the question and message 2, once more
		if bytes.Equal(d.Payload, question) {
			t.Error("the question has the same message ID")
		}
	}
	w.say(p, q.Message3())
	w.ok(w.agree(q, true))
	w.ok(w.agree(first, true))
	want(t, len(w.client().Children), 2, "children")
	w.elapse(dpdTimeoutLeft)
	want(t, len(w.engine.Clients()), 1, "the time of the restart does not count")
	w.elapse(10 * time.Minute)
	w.empty("the client is dead")
}

// dpdTimeoutLeft is what is left of the time to answer after a question of which nobody could hear the answer.
const dpdTimeoutLeft = ikev1.DefaultDPDTimeout - 20*time.Second

// TestRestoreRefuses: a record that cannot be used harms nobody.
func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t)
	w.quick(w.connect(newPeer(1)), 1)
	r := w.records.list()[0]
	fresh := newWorld(t)
	for name, c := range map[string]struct {
		record ikev1.Record
		says   string
	}{
		"nothing":         {ikev1.Record{Client: 1}, "EOF"},
		"of another":      {ikev1.Record{Client: 2, State: r.State}, "client 1"},
		"cut":             {ikev1.Record{Client: 1, State: r.State[:len(r.State)-1]}, "EOF"},
		"of the future":   {ikev1.Record{Client: 1, State: bytes.Replace(r.State, []byte{1, 1}, []byte{1, 2}, 1)}, "version 2"},
		"of a far future": {ikev1.Record{Client: 1, State: []byte{0xa2, 1, 7, 2, 0x61, 'x'}}, "version 7"},
		"without version": {ikev1.Record{Client: 1, State: []byte{0xa1, 2, 1}}, "no version"},
		"without SAs":     {ikev1.Record{Client: 1, State: []byte{0xa1, 1, 1}}, "client 0"},
		"not even a map":  {ikev1.Record{Client: 1, State: []byte{1}}, "cannot unmarshal"},
	} {
		if _, err := fresh.engine.Restore(start, c.record); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fresh.empty("nothing was restored")
	if _, err := fresh.engine.Restore(start, r); err != nil {
		t.Error(err)
	}
	if _, err := fresh.engine.Restore(start, r); err == nil {
		t.Error("restored twice")
	}
	want(t, len(fresh.engine.Clients()), 1, "clients")
	if s := r.String(); strings.Contains(s, string(r.State)) || !strings.HasPrefix(s, "record of client 1 (") {
		t.Error(s)
	}
}

// list returns the records in no order of their own.
func (a archive) list() (list []ikev1.Record) {
	for id, state := range a {
		list = append(list, ikev1.Record{Client: id, State: state})
	}
	slices.SortFunc(list, func(a, b ikev1.Record) int { return bytes.Compare(a.State[len(a.State)/2:], b.State[len(b.State)/2:]) })
	return list
}

// TestRestartExplainsOnce: what a client failed with before a restart is not explained in another way after it.
func TestRestartExplainsOnce(t *testing.T) {
	for name, fails := range map[string]bool{"silent": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.connect(newPeer(1))
			if fails {
				w.say(m.Peer, m.QuickMode(1, func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 2, 0, 1, 2)) }).Message1())
			}
			w.restart()
			w.elapse(2 * time.Minute)
			codes := map[ikev1.Cause]int{}
			for _, ev := range eventsOf[ikev1.Phase2Failed](w) {
				codes[ev.Code]++
			}
			want(t, codes[ikev1.CauseNoESPProposal] == 1, fails, "the refusal")
			want(t, codes[ikev1.CauseNoQuickMode] == 1, !fails, "the silence")
			w.empty("the client had no child")
		})
	}
}
