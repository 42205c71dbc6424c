package aaa

import (
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/pool"
)

func ranges(t *testing.T, texts ...string) *pool.Pool {
	t.Helper()
	var rs []pool.Range
	for _, text := range texts {
		r, err := pool.ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	p, err := pool.New(rs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestConfigure: who is in keeps his address until he goes, and nobody else gets it.
func TestConfigure(t *testing.T) {
	b := newBench(t, "10.0.0.1-10.0.0.1", "10.0.0.3-10.0.0.3")
	login := func(nas, user, password string) (netip.Addr, Reason) {
		t.Helper()
		_, events := b.ask(b.pap(nas, user, password))
		for _, e := range events {
			switch e := e.(type) {
			case Authenticated:
				return e.Address, ""
			case Rejected:
				return netip.Addr{}, e.Reason
			}
		}
		t.Fatalf("%s: events %v", user, events)
		return netip.Addr{}, ""
	}
	want := func(nas, user, password, address string, reason Reason) {
		t.Helper()
		a, r := login(nas, user, password)
		if wanted, _ := netip.ParseAddr(address); a != wanted || r != reason {
			t.Errorf("%s: %v %q, want %s %q", user, a, r, address, reason)
		}
	}
	const nas3, nas4 = "NAS-0000000000000003", "NAS-0000000000000004"
	for _, nas := range []string{nas3, nas4} {
		if err := b.Open(Session{NASID: nas}); err != nil {
			t.Fatal(err)
		}
	}
	want(nas1, "alice", "wonderland", "10.0.0.1", "")
	want(nas2, "bob", "builder", "10.0.0.2", "")

	// The new pool has what bob had of his own, and not what alice has.
	users := []User{{Name: "alice", Password: "looking-glass"}, {Name: "dora", Password: "explorer"}, {Name: "erik", Password: "red", Address: netip.MustParseAddr("10.0.0.1")}}
	if err := b.Configure(Config{Users: users, Pool: ranges(t, "10.0.0.2-10.0.0.3"), Methods: []Method{MethodPAP}}); err != nil {
		t.Fatal(err)
	}
	if s := b.Stats(); s.PoolSize != 2 || s.PoolUsed != 1 {
		t.Errorf("pool %d of %d, want 1 of 2", s.PoolUsed, s.PoolSize)
	}
	want(nas3, "alice", "wonderland", "", ReasonWrongPassword)
	want(nas3, "bob", "builder", "", ReasonUnknownUser)
	want(nas3, "erik", "red", "", ReasonAddressInUse)
	want(nas3, "dora", "explorer", "10.0.0.3", "")
	want(nas4, "alice", "looking-glass", "", ReasonPoolExhausted)
	if _, events := b.ask(b.chap(nas4, "alice", "looking-glass")); len(events) != 1 || events[0].(Rejected).Reason != ReasonMethod {
		t.Errorf("CHAP: events %v", events)
	}
	b.Close(nas1) // its address is in no range
	b.Close(nas2)
	want(nas4, "alice", "looking-glass", "10.0.0.2", "")
	if s := b.Stats(); s.PoolUsed != 2 {
		t.Errorf("%d of the pool in use, want 2", s.PoolUsed)
	}

	if err := b.Configure(Config{Users: []User{{Name: "x"}}, Pool: ranges(t, "10.9.0.0/24")}); err == nil {
		t.Error("accepted a user without password")
	}
	if s := b.Stats(); s.PoolSize != 2 || s.PoolUsed != 2 {
		t.Errorf("half a configuration counts: pool %d of %d", s.PoolUsed, s.PoolSize)
	}
}
