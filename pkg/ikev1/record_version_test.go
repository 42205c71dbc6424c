package ikev1_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// TestRecordOfBefore: what an earlier program has written means the same to this one, number by number. A change of what is written has
// to leave the files as they are, and add others; one that would be misunderstood needs a new version.
func TestRecordOfBefore(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	w.quick(m, 1)
	q := m.QuickMode(2)
	w.ok(q.TakeMessage2(w.ask(m.Peer, q.Message1(), "message 2")))

	pair := newPair(t, 1)
	left := pair.ends[0]
	left.connect(left.connection())
	pair.run(time.Minute)
	left.absorb(left.engine.Rekey(pair.now, 1))
	pair.run(time.Second)

	for file, c := range map[string]struct {
		live *ikev1.Engine
		now  time.Time
	}{
		"responder": {w.engine, w.now},
		"initiator": {left.engine, pair.now},
	} {
		text, err := os.ReadFile("testdata/records/" + file + "-v1.hex")
		if err != nil {
			t.Fatal(err)
		}
		state, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatal(err)
		}
		e := newWorld(t).engine
		if _, err := e.Restore(c.now, ikev1.Record{Client: 1, State: state}); err != nil {
			t.Fatal(err)
		}
		if got, want := snapshot(e), snapshot(c.live); got != want {
			t.Errorf("%s: restored %s, want %s", file, got, want)
		}
		if got := ikev1.States(e)[1]; !bytes.Equal(got, state) {
			t.Errorf("%s: recorded now as %+v, it was %+v", file, ikev1.Written(got), ikev1.Written(state))
		}
		if wrong := ikev1.Differences(c.live, e); len(wrong) > 0 {
			t.Errorf("%s: %v", file, wrong)
		}
	}
}
