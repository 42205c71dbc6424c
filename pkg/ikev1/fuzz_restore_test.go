package ikev1_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// FuzzRestore gives an engine a record of any octets, or a good one of which a few values are changed. It must refuse it, with nothing left, or have a client that lives and ends like any
// other: whatever happens, there is no panic, also none that the engine survives, and what is recorded of it can be restored again.
func FuzzRestore(f *testing.F) {
	for _, state := range sampleRecords(f) {
		for seed := range uint64(150) {
			f.Add(uint64(1), state, seed)
		}
	}
	f.Add(uint64(0), []byte{0xa1, 1, 1}, uint64(0))
	f.Fuzz(func(t *testing.T, client uint64, state []byte, seed uint64) {
		if seed != 0 {
			state = varied(state, rand.New(rand.NewPCG(seed, 1)))
		}
		w := newWorld(t)
		out, err := w.engine.Restore(start, ikev1.Record{Client: ikev1.ClientID(client), State: state})
		if err != nil {
			w.empty("it was refused")
			return
		}
		if list := w.engine.Clients(); len(list) != 1 || uint64(list[0].ID) != client {
			t.Fatalf("clients: %+v", list)
		}
		installed := w.engine.Installed()
		records := archive{ikev1.ClientID(client): state}
		again := func() {
			e, err := ikev1.New(w.config, w.source)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records.list() {
				if _, err := e.Restore(w.now, r); err != nil {
					t.Fatalf("%v, of %+v", err, ikev1.Written(r.State))
				}
			}
		}
		perform := func(outs ...ikev1.Output) {
			for n := 0; len(outs) > 0; n++ {
				if n > 1000 {
					t.Fatal("the engine does not come to rest")
				}
				out, outs = outs[0], outs[1:]
				for _, r := range out.Records {
					if records[r.Client] = r.State; r.State == nil {
						delete(records, r.Client)
					}
				}
				for _, ev := range out.Events {
					if panicked, ok := ev.(ikev1.Panicked); ok {
						t.Fatalf("%v\n%s", panicked, panicked.Stack)
					}
				}
				for _, a := range out.Actions {
					var r ikev1.Result = ikev1.SimpleResult{}
					if a, ok := a.(ikev1.ComputeDH); ok {
						r = a.Perform()
					}
					outs = append(outs, w.engine.Complete(w.now, a.ActionID(), r))
				}
			}
			if wrong := ikev1.Inconsistencies(w.engine); len(wrong) > 0 {
				t.Fatal(wrong)
			}
		}
		perform(out)
		again()
		for _, ch := range installed {
			perform(w.engine.Expired(w.now, ch.In.Client, ch.In.Child, false))
		}
		perform(w.engine.Rekey(w.now, ikev1.ClientID(client)))
		for range 200 {
			if next := w.engine.Next(); next.After(w.now) {
				w.now = next
			}
			perform(w.engine.Advance(w.now))
		}
		again()
		w.now = w.now.Add(time.Hour)
		perform(w.engine.CloseClient(w.now, ikev1.ClientID(client), "enough"))
		perform(w.engine.Shutdown(w.now))
		if left := ikev1.Leftovers(w.engine); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	})
}

// varied changes some of the values of a record; what is none stays as it is.
func varied(state []byte, rng *rand.Rand) []byte {
	var value any
	if err := cbor.Unmarshal(state, &value); err != nil {
		return state
	}
	chance := []float64{0.005, 0.02, 0.1}[rng.IntN(3)]
	var vary func(v any) any
	vary = func(v any) any {
		hit := rng.Float64() < chance
		switch v := v.(type) {
		case map[any]any:
			for _, key := range slices.SortedFunc(maps.Keys(v), func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
				if v[key] = vary(v[key]); rng.Float64() < chance/4 {
					delete(v, key)
				}
			}
		case []any:
			for i := range v {
				v[i] = vary(v[i])
			}
			if hit && len(v) > 0 {
				return append(v, v[rng.IntN(len(v))])[rng.IntN(2):]
			}
		case []byte:
			if hit && len(v) > 0 {
				v = bytes.Clone(v)
				v[rng.IntN(len(v))] ^= byte(1 + rng.IntN(255))
				return v[:len(v)-rng.IntN(2)*rng.IntN(len(v))]
			}
		case uint64:
			if hit {
				return []uint64{0, 1, v + 1, v - 1, v ^ 1<<rng.IntN(63), 1<<63 - 1, 255, 3}[rng.IntN(8)]
			}
		case bool:
			return v != hit
		case string:
			if hit {
				return v + "?"
			}
		}
		return v
	}
	b, err := cbor.Marshal(vary(value))
	if err != nil {
		return state
	}
	return b
}

// sampleRecords are records of clients in the states that there are.
func sampleRecords(t testing.TB) (list [][]byte) {
	note := func(a archive) {
		for _, r := range a.list() {
			list = append(list, r.State)
		}
	}
	w := newWorld(t)
	p := newPeer(1).BehindNAT(4000, 4001)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := w.connect(p)
	note(w.records)
	q := m.QuickMode(1)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	note(w.records)
	w.hold = func(ikev1.Action) bool { return true }
	w.say(p, q.Message3())
	note(w.records)
	w.release()
	w.elapse(31 * time.Second)
	note(w.records)

	pair := newPair(t, 1, shortLives)
	left := pair.ends[0]
	left.connect(left.connection())
	pair.run(3 * time.Second)
	note(left.records)
	left.absorb(left.engine.Rekey(pair.now, 1))
	pair.run(time.Second)
	note(left.records)
	pair.run(time.Minute)
	note(left.records)
	return list
}
