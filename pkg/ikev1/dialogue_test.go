package ikev1_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// world owns one engine in virtual time, with a model of the kernel that holds the SAs. Tests are dialogues: a peer says something,
// and the test says what must be answered, or that nothing may be.
type world struct {
	t      testing.TB
	engine *ikev1.Engine
	now    time.Time

	// hold leaves the result of an action unreported until release, though it is performed in its turn; fault makes one fail.
	hold  func(ikev1.Action) bool
	fault func(ikev1.Action) error
	held  []result

	inbound  map[uint32]ikev1.ChildSA // by SPI
	outbound map[ikev1.ChildID]ikev1.ChildSA
	removed  []ikev1.RemoveChild

	events []ikev1.Event
	sent   []ikev1.Datagram // not yet taken by the test
	seen   map[ikev1.ActionID]bool

	// records are those of the engine, which has this configuration and source of randomness.
	records archive
	config  ikev1.Config
	source  io.Reader

	// frozen are the messages that the engine returned, with a copy: it must never change them.
	frozen []frozen
}

type frozen struct{ message, copy []byte }

// result is what an action came to.
type result struct {
	id    ikev1.ActionID
	value ikev1.Result
}

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

const goodPSK = "correct horse battery staple"

func newWorld(t testing.TB, adjust ...func(*ikev1.Config)) *world {
	t.Helper()
	config := ikev1.Config{PSK: func(netip.Addr, netip.Addr) []byte { return []byte(goodPSK) }, Records: true}
	for _, f := range adjust {
		f(&config)
	}
	source := rand.NewChaCha8([32]byte{1})
	engine, err := ikev1.New(config, source)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, engine: engine, now: start, inbound: map[uint32]ikev1.ChildSA{}, outbound: map[ikev1.ChildID]ikev1.ChildSA{},
		seen: map[ikev1.ActionID]bool{}, records: archive{}, config: config, source: source,
	}
	t.Cleanup(func() {
		for _, f := range w.frozen {
			if !bytes.Equal(f.message, f.copy) {
				t.Error("the engine changed a message after it had returned it")
			}
		}
	})
	return w
}

// absorb performs what the engine asks for, in order, until it asks for nothing more.
func (w *world) absorb(out ikev1.Output) {
	queue := w.note(out)
	for len(queue) > 0 {
		a := queue[0]
		queue = queue[1:]
		r := result{a.ActionID(), w.perform(a)}
		if w.hold != nil && w.hold(a) {
			w.held = append(w.held, r)
			continue
		}
		queue = append(queue, w.note(w.engine.Complete(w.now, r.id, r.value))...)
	}
}

// note takes the messages and events of an output and returns its actions.
func (w *world) note(out ikev1.Output) []ikev1.Action {
	for _, d := range out.Send {
		w.frozen = append(w.frozen, frozen{d.Payload, bytes.Clone(d.Payload)})
	}
	w.sent = append(w.sent, out.Send...)
	w.events = append(w.events, out.Events...)
	if wrong := ikev1.Inconsistencies(w.engine); len(wrong) > 0 {
		w.t.Fatalf("at %v: %v", w.now.Sub(start), wrong)
	}
	if wrong := w.records.take(w.engine, out); wrong != "" {
		w.t.Fatalf("at %v: %s", w.now.Sub(start), wrong)
	}
	for _, a := range out.Actions {
		if a.ActionID() == 0 || w.seen[a.ActionID()] {
			w.t.Fatalf("action id %d is zero or was used before: %T", a.ActionID(), a)
		}
		w.seen[a.ActionID()] = true
	}
	return out.Actions
}

func (w *world) perform(a ikev1.Action) ikev1.Result {
	if w.fault != nil {
		if err := w.fault(a); err != nil {
			if _, ok := a.(ikev1.ComputeDH); ok {
				return ikev1.DHResult{Err: err}
			}
			return ikev1.SimpleResult{Err: err}
		}
	}
	switch a := a.(type) {
	case ikev1.ComputeDH:
		return a.Perform()
	case ikev1.InstallInbound:
		if _, taken := w.inbound[a.SA.SPI]; taken || a.SA.SPI < 256 {
			w.t.Errorf("inbound SPI %#x is taken or reserved", a.SA.SPI)
			return ikev1.SimpleResult{Err: errors.New("exists")}
		}
		w.inbound[a.SA.SPI] = keep(a.SA)
	case ikev1.InstallOutbound:
		if !slices.ContainsFunc(slices.Collect(maps.Values(w.inbound)), func(in ikev1.ChildSA) bool { return in.Child == a.SA.Child }) {
			w.t.Errorf("child %d gets an outbound SA and has no inbound one", a.SA.Child)
		}
		w.outbound[a.SA.Child] = keep(a.SA)
	case ikev1.RemoveChild:
		w.removed = append(w.removed, a)
		if sa, ok := w.inbound[a.SPIIn]; ok && sa.Child != a.Child {
			w.t.Errorf("removing child %d would take child %d's SPI %#x", a.Child, sa.Child, a.SPIIn)
		}
		delete(w.inbound, a.SPIIn)
		delete(w.outbound, a.Child)
	default:
		w.t.Fatalf("unknown action %T", a)
	}
	return ikev1.SimpleResult{}
}

// keep copies the keys, as a kernel does: the engine overwrites its own.
func keep(sa ikev1.ChildSA) ikev1.ChildSA {
	sa.EncryptionKey, sa.IntegrityKey = bytes.Clone(sa.EncryptionKey), bytes.Clone(sa.IntegrityKey)
	return sa
}

// release reports the actions that were held.
func (w *world) release() {
	held := w.held
	w.held, w.hold = nil, nil
	for _, r := range held {
		w.absorb(w.engine.Complete(w.now, r.id, r.value))
	}
}

// deliver hands a datagram to the engine and returns what it sends. The engine may keep nothing of the datagram: it is
// overwritten at once.
func (w *world) deliver(d ikev1.Datagram) []ikev1.Datagram {
	d.Payload = bytes.Clone(d.Payload)
	out := w.engine.Handle(w.now, d)
	for i := range d.Payload {
		d.Payload[i] = 0xee
	}
	w.absorb(out)
	return w.take()
}

// take returns what was sent and not yet taken.
func (w *world) take() []ikev1.Datagram {
	sent := w.sent
	w.sent = nil
	return sent
}

// say sends a message of p, however many answers there are.
func (w *world) say(p *ikev1test.Peer, payload []byte) []ikev1.Datagram {
	return w.deliver(ikev1.Datagram{Local: p.Server, Remote: p.Addr, Encapsulated: p.Encapsulated, Payload: payload})
}

// ask sends a message of p and returns the one answer.
func (w *world) ask(p *ikev1test.Peer, payload []byte, why string) []byte {
	w.t.Helper()
	mark := len(w.events)
	return w.one(p, w.say(p, payload), fmt.Sprintf("%s; events: %v", why, w.events[mark:]))
}

// one returns the payload of the only datagram, which must go to p.
func (w *world) one(p *ikev1test.Peer, sent []ikev1.Datagram, why string) []byte {
	w.t.Helper()
	if len(sent) != 1 {
		w.t.Fatalf("%d answers where one must come: %s", len(sent), why)
	}
	d := sent[0]
	if d.Remote != p.Addr || d.Local != p.Server || d.Encapsulated != p.Encapsulated {
		w.t.Fatalf("the answer goes from %v to %v (encapsulated %v), the question came from %v to %v: %s",
			d.Local, d.Remote, d.Encapsulated, p.Addr, p.Server, why)
	}
	return d.Payload
}

// silent sends a message of p that must not be answered, and returns the reason that the engine gives.
func (w *world) silent(p *ikev1test.Peer, payload []byte, why string) ikev1.DropReason {
	w.t.Helper()
	mark := len(w.events)
	if sent := w.say(p, payload); len(sent) != 0 {
		w.t.Errorf("%d answers where none may come: %s", len(sent), why)
	}
	for _, e := range w.events[mark:] {
		if d, ok := e.(ikev1.Dropped); ok {
			return d.Reason
		}
	}
	return ""
}

// elapse lets virtual time pass, waking the engine at each of its deadlines.
func (w *world) elapse(d time.Duration) {
	w.t.Helper()
	target := w.now.Add(d)
	for idle := 0; ; idle++ {
		next := w.engine.Next()
		if next.IsZero() || next.After(target) {
			break
		}
		if next.After(w.now) {
			w.now, idle = next, 0
		}
		if idle > 100 {
			w.t.Fatalf("the deadline %v does not go away", next)
		}
		w.absorb(w.engine.Advance(w.now))
	}
	w.now = target
	w.absorb(w.engine.Advance(w.now))
}

// empty checks that nothing is left: no client, no SA, no deadline, no unfinished action.
func (w *world) empty(why string) {
	w.t.Helper()
	if c := w.engine.Clients(); len(c) != 0 {
		w.t.Errorf("%d clients left, the first %+v: %s", len(c), c[0], why)
	}
	if len(w.inbound)+len(w.outbound) != 0 {
		w.t.Errorf("%d inbound and %d outbound SAs left: %s", len(w.inbound), len(w.outbound), why)
	}
	if n := w.engine.Next(); !n.IsZero() {
		w.t.Errorf("a deadline is left, %v from now: %s", n.Sub(w.now), why)
	}
	if len(w.held) != 0 {
		w.t.Errorf("%d actions held: %s", len(w.held), why)
	}
	if left := ikev1.Leftovers(w.engine); len(left) != 0 {
		w.t.Errorf("left in the engine: %v: %s", left, why)
	}
}

// eventsOf returns the events of one type since the beginning.
func eventsOf[T ikev1.Event](w *world) []T {
	var list []T
	for _, e := range w.events {
		if e, ok := e.(T); ok {
			list = append(list, e)
		}
	}
	return list
}

// client returns the only client.
func (w *world) client() ikev1.ClientInfo {
	w.t.Helper()
	c := w.engine.Clients()
	if len(c) != 1 {
		w.t.Fatalf("%d clients, want one", len(c))
	}
	return c[0]
}

// want fails the test unless got is what the sentence says.
func want[T comparable](t testing.TB, got, wanted T, why string) {
	t.Helper()
	if got != wanted {
		t.Errorf("got %v, want %v: %s", got, wanted, why)
	}
}
