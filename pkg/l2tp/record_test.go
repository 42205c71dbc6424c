package l2tp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// records are what an owner has written down.
type records map[uint16][]byte

func (r records) take(t testing.TB, out Output) {
	t.Helper()
	seen := make(map[uint16]bool)
	for _, record := range out.Records {
		switch old, ok := r[record.Tunnel]; {
		case seen[record.Tunnel]:
			t.Fatalf("slot %d: two records of one call", record.Tunnel)
		case ok && bytes.Equal(old, record.State), !ok && record.State == nil:
			t.Fatalf("slot %d: a record of nothing new", record.Tunnel)
		case record.State == nil:
			delete(r, record.Tunnel)
		default:
			r[record.Tunnel] = bytes.Clone(record.State)
		}
		seen[record.Tunnel] = true
	}
}

// check compares what was written down with the whole state encoded anew.
func (r records) check(t testing.TB, e *Engine) {
	t.Helper()
	if len(r) != len(e.slots) {
		t.Fatalf("%d slots, but %d records", len(e.slots), len(r))
	}
	for id, s := range e.slots {
		state, err := e.codec.encode(s)
		if err != nil {
			t.Fatalf("slot %d: %v", id, err)
		}
		if !bytes.Equal(state, r[id]) {
			t.Fatalf("slot %d: is\n%x\nrecorded\n%x", id, state, r[id])
		}
	}
}

// restore makes an engine of the records, and returns what it wants first.
func (r records) restore(t testing.TB, now time.Time, cfg Config, rand io.Reader) (*Engine, Output) {
	t.Helper()
	e, err := New(cfg, rand)
	if err != nil {
		t.Fatal(err)
	}
	var all Output
	for _, id := range slices.Sorted(maps.Keys(r)) {
		out, err := e.Restore(now, Record{Tunnel: id, State: r[id]})
		if err != nil {
			t.Fatalf("%v\n%x", err, r[id])
		}
		if len(out.Send) > 0 || len(out.Events) > 0 {
			t.Fatalf("Restore is not silent: %+v", out)
		}
		all.Actions = append(all.Actions, out.Actions...)
		all.Records = append(all.Records, out.Records...)
	}
	return e, all
}

// wantSame compares an engine with the one that was restored from its records, field by field: one that is added and not
// recorded is found here. Messages that came before their turn are not restored.
func wantSame(t testing.TB, want, got *Engine) {
	t.Helper()
	options := cmp.Options{
		cmp.AllowUnexported(tunnel{}, channel{}, window{}, object{}, outgoing{}, session{}),
		cmpopts.IgnoreFields(tunnel{}, "slot", "object", "leaving"), cmpopts.IgnoreFields(session{}, "tunnel"), cmpopts.IgnoreFields(channel{}, "early"),
		cmpopts.IgnoreFields(Config{}, "TunnelsPerMinute"), cmpopts.EquateEmpty(), cmpopts.EquateComparable(clientA),
	}
	if a, b := len(want.slots), len(got.slots); a != b {
		t.Fatalf("%d slots restored, want %d", b, a)
	}
	for id, a := range want.slots {
		b, ok := got.slots[id]
		if !ok {
			t.Fatalf("slot %d is not restored", id)
		}
		if a.tunnel != nil { // timers that do not run
			if c := &a.tunnel.channel; c.sent == 0 {
				c.resendAt = time.Time{}
			}
			if c := &a.tunnel.channel; c.ack != ackLater {
				c.ackAt = time.Time{}
			}
		}
		compare := options
		if a.tunnel != nil && a.tunnel.state != tunnelCreating { // the names have been said
			compare = append(compare, cmpopts.IgnoreFields(Config{}, "HostName", "VendorName", "FirmwareRevision"))
		}
		if diff := cmp.Diff(a.tunnel, b.tunnel, compare); diff != "" {
			t.Fatalf("slot %d: tunnel, -want +restored:\n%s", id, diff)
		}
		if diff := cmp.Diff(viewOf(a), viewOf(b), options); diff != "" {
			t.Fatalf("slot %d: -want +restored:\n%s", id, diff)
		}
	}
	if diff := cmp.Diff(requestsOf(want), requestsOf(got)); diff != "" {
		t.Fatalf("requests, -want +restored:\n%s", diff)
	}
	if len(got.requests) > 0 && got.lastAction <= want.lastAction && len(want.slots) == 1 {
		t.Fatalf("action ids up to %d are handed out again, the last was %d", got.lastAction, want.lastAction)
	}
	for _, s := range got.slots {
		if s.index >= 0 && got.schedule[s.index] != s || (s.index < 0) != s.next.IsZero() {
			t.Fatalf("slot %d is not in the schedule for %v", s.id, s.next)
		}
	}
}

// viewOf is what matters of a slot besides its tunnel, and the kernel objects of that. Of a predecessor's tunnel only the kernel's matters.
func viewOf(s *slot) map[string]any {
	view := map[string]any{"id": s.id, "calls": s.calls, "tunnels": s.tunnels, "next": s.next}
	if o := s.owner; o != nil {
		view["owner"] = fmt.Sprint(o == s.tunnel, o.channel.peer, o.remote, o.object, o.state >= tunnelClosing)
		for id, c := range o.leaving {
			view[fmt.Sprint("leaving ", id)] = fmt.Sprint(c.id, c.peer, c.object, c.tunnel == o)
		}
	}
	return view
}

// requestsOf counts the actions that wait for their report.
func requestsOf(e *Engine) map[string]int {
	count := make(map[string]int)
	for _, r := range e.requests {
		name, state := "tunnel", r.tunnel.object.state
		if r.session != nil {
			name, state = fmt.Sprint("session ", r.session.id), r.session.object.state
		}
		count[fmt.Sprint(r.slot.id, " ", name, " ", state, r.tunnel == r.slot.owner)]++
	}
	return count
}

// TestRecordOfBefore: what an earlier program has written means the same to this one, number by number. A change of what is written
// has to leave the file as it is, and add another; one that would be misunderstood needs a new stateVersion.
func TestRecordOfBefore(t *testing.T) {
	text, err := os.ReadFile("testdata/records/v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	state, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := established(t)
	e, out := records{slotA: state}.restore(t, b.now, b.cfg, b.rand)
	if len(out.Records)+len(out.Actions) > 0 {
		t.Errorf("it is not what is recorded now: %+v", out)
	}
	if want, got := fmt.Sprintf("%+v", b.e.Tunnels()), fmt.Sprintf("%+v", e.Tunnels()); got != want {
		t.Errorf("restored %s, want %s", got, want)
	}
}
