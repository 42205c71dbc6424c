package ikev1_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// place is where in a record a value stands: keys of maps and indices of lists.
type place []any

// Parts of a record.
var (
	recordedID    = place{2}
	recordedSA    = place{16, 0}
	recordedChild = place{17, 0}
)

func (a place) then(more ...any) place { return slices.Concat(a, more) }

// altered returns a record with another value somewhere; nil is none.
func altered(t *testing.T, state []byte, where place, value any) []byte {
	t.Helper()
	var all any
	if err := cbor.Unmarshal(state, &all); err != nil {
		t.Fatal(err)
	}
	here := all
	for i, step := range where {
		last := i == len(where)-1
		switch v := here.(type) {
		case map[any]any:
			key := uint64(step.(int))
			switch {
			case last && value == nil:
				delete(v, key)
			case last:
				v[key] = value
			}
			here = v[key]
		case []any:
			here = v[step.(int)]
		default:
			t.Fatalf("%v does not lead through %T", where, here)
		}
	}
	b, err := cbor.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRestoreRefusesContradictions: a record whose values contradict each other, as no engine writes it, is refused before it makes a client
// that never ends, or an SA that is installed twice.
func TestRestoreRefusesContradictions(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := w.connect(p)
	q := m.QuickMode(1)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	waiting := w.records[1]
	w.say(p, q.Message3())
	used := w.records[1]
	w.elapse(31 * time.Second)
	asked := w.records[1]

	pair := newPair(t, 1)
	left := pair.ends[0]
	left.connect(left.connection())
	pair.run(time.Minute)
	left.absorb(left.engine.Rekey(pair.now, 1))
	pair.run(time.Second)
	switching := left.records[1] // its second child takes the place of the first

	now := uint64(start.UnixNano())
	far := uint64(1<<48 + 1)
	for name, c := range map[string]struct {
		state []byte
		where place
		value any
		says  string
	}{
		"a client's number":          {used, recordedID, far, "client 281474976710657"},
		"a child's number":           {used, recordedChild.then(1), far, "number 281474976710657"},
		"a child's origin":           {used, recordedChild.then(2), far, "number 1"},
		"an SA's number":             {used, recordedSA.then(2), far, "number is 281474976710657"},
		"an SA's name":               {used, recordedSA.then(1), make([]byte, 16), "its name is 0000"},
		"a connection's number":      {switching, place{15, 1}, far, "connection 281474976710657"},
		"switching late":             {used, recordedChild.then(18), now, "waits for that until"},
		"keys of what is there":      {used, recordedChild.then(12), make([]byte, 16), "in state 3"},
		"retired forever":            {used, recordedChild.then(19), true, "taken its place"},
		"whose turn":                 {used, recordedChild.then(16), now, "and we at"},
		"the peer's SA":              {used, recordedSA.then(16), now, "not for us to replace"},
		"a retired SA":               {switching, recordedSA.then(17), true, "not for us to replace"},
		"used before its time":       {waiting, recordedChild.then(18), now, "waits for the peer's message 3"},
		"ends before it begins":      {waiting, recordedChild.then(21), now, "waits for the peer's message 3"},
		"replaces before it begins":  {waiting, recordedChild.then(17), uint64(1), "waits for the peer's message 3"},
		"ours, and the peer's":       {waiting, recordedChild.then(15), true, "waits for the peer's message 3"},
		"selectors that are none":    {used, recordedChild.then(14, 6), []any{[]byte{1}}, "1 selectors"},
		"a question without number":  {asked, recordedSA.then(24), nil, "asked question 0"},
		"a question that stays":      {asked, recordedSA.then(23), nil, "asked again at 0001"},
		"never heard of":             {asked, recordedSA.then(21), uint64(0), "heard at 0001"},
		"replaces itself":            {switching, place{17, 1, 17}, uint64(2), "child 2 replaces child 2"},
		"replaces what comes later":  {switching, recordedChild.then(17), uint64(2), "child 1 replaces child 2"},
		"replaces what never was":    {switching, place{17, 1, 17}, uint64(3), "child 2 replaces child 3"},
		"retired and to be replaced": {switching, recordedChild.then(19), true, "taken its place"},
	} {
		fresh := newWorld(t)
		if _, err := fresh.engine.Restore(pair.now, ikev1.Record{Client: 1, State: c.state}); err != nil {
			t.Fatalf("%s: before it was altered: %v", name, err)
		}
		fresh = newWorld(t)
		id := ikev1.ClientID(1)
		if slices.Equal(c.where, recordedID) {
			id = ikev1.ClientID(far)
		}
		_, err := fresh.engine.Restore(pair.now, ikev1.Record{Client: id, State: altered(t, c.state, c.where, c.value)})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		fresh.empty(name + ": nothing was restored")
	}
}
