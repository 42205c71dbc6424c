package ikev1_test

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// TestRestoreAfterClockWasSetBack: a deadline is not farther off than at its beginning, and nothing has happened in time to come.
func TestRestoreAfterClockWasSetBack(t *testing.T) {
	const back = 24 * time.Hour
	w := newWorld(t)
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	w.quick(w.connect(p), 1)
	w.connect(newPeer(2)) // which never gets a child
	now := w.now.Add(-back)
	fresh := newWorld(t)
	fresh.now = now
	for _, r := range w.records.list() {
		out, err := fresh.engine.Restore(now, r)
		if err != nil {
			t.Fatal(err)
		}
		fresh.records[r.Client] = r.State
		fresh.absorb(out)
	}
	for _, c := range fresh.engine.Clients() {
		if c.Established.After(now) {
			t.Errorf("client %d was established at %v, and it is %v", c.ID, c.Established, now)
		}
		for _, ch := range c.Children {
			if ch.Established.After(now) || ch.Expires.After(now.Add(8*time.Hour)) {
				t.Errorf("child %d was established at %v and expires at %v, and it is %v", ch.ID, ch.Established, ch.Expires, now)
			}
		}
	}
	if next := fresh.engine.Next(); next.After(now.Add(31 * time.Second)) {
		t.Errorf("the peer is asked at %v, and it is %v", next, now)
	}
	fresh.elapse(61 * time.Second)
	want(t, len(fresh.engine.Clients()), 1, "clients: one was never to have a child")
	fresh.elapse(3 * time.Minute)
	want(t, len(fresh.engine.Clients()), 0, "clients: one does not answer")
}

// TestRestoreFollowsSteadyClock: when the clock is set after a restart, no deadline comes sooner or later for it.
func TestRestoreFollowsSteadyClock(t *testing.T) {
	for i, state := range sampleRecords(t) {
		w := newWorld(t)
		id := ikev1.ClientID(1)
		if _, err := w.engine.Restore(time.Now(), ikev1.Record{Client: id, State: state}); err != nil {
			t.Fatal(err)
		}
		if wrong := ikev1.Unsteady(w.engine); len(wrong) > 0 {
			t.Errorf("record %d: %v", i, wrong)
		}
	}
}
