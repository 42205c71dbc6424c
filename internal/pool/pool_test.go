package pool

import (
	"errors"
	"net/netip"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func mustPool(t *testing.T, exclude []netip.Addr, ranges ...string) *Pool {
	t.Helper()
	var rs []Range
	for _, s := range ranges {
		r, err := ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	p, err := New(rs, exclude...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantNext(t *testing.T, p *Pool, want string) {
	t.Helper()
	got, err := p.Allocate()
	if err != nil || got != addr(want) {
		t.Fatalf("Allocate() = %v, %v, want %s", got, err, want)
	}
}

func wantExhausted(t *testing.T, p *Pool) {
	t.Helper()
	if got, err := p.Allocate(); !errors.Is(err, ErrExhausted) {
		t.Fatalf("Allocate() = %v, %v, want ErrExhausted", got, err)
	}
}

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		size     int
	}{
		{"10.0.0.10-10.0.0.99", "10.0.0.10-10.0.0.99", 90},
		{"10.0.0.10 - 10.0.1.9", "10.0.0.10-10.0.1.9", 256},
		{"10.0.0.0/24", "10.0.0.1-10.0.0.254", 254},
		{"10.0.0.77/24", "10.0.0.1-10.0.0.254", 254},
		{"10.0.0.4/30", "10.0.0.5-10.0.0.6", 2},
		{"10.0.0.4/31", "10.0.0.4-10.0.0.5", 2},
		{"10.0.0.4/32", "10.0.0.4-10.0.0.4", 1},
		{"10.0.0.4", "10.0.0.4-10.0.0.4", 1},
		{"10.0.0.0/8", "10.0.0.1-10.255.255.254", 1<<24 - 2},
		{"2001:db8::/112", "2001:db8::-2001:db8::ffff", 65536},
		{"9.255.255.255-10.0.0.0", "9.255.255.255-10.0.0.0", 2},
	} {
		r, err := ParseRange(tt.in)
		if err != nil || r.String() != tt.want || r.size() != tt.size {
			t.Errorf("ParseRange(%q) = %v (%d addresses), %v, want %s (%d)", tt.in, r, r.size(), err, tt.want, tt.size)
		}
	}
	for _, in := range []string{
		"", "x", "10.0.0.9-10.0.0.8", "10.0.0.1-2001:db8::1", "10.0.0.0/7", "10.0.0.0/33", "2001:db8::/64",
		"2001:db8::-2001:db8:1::", "0.0.0.0-255.255.255.255", "10.0.0.1-", "-10.0.0.1", "fe80::1%eth0",
	} {
		if r, err := ParseRange(in); err == nil {
			t.Errorf("ParseRange(%q) = %v, want an error", in, r)
		}
	}
}

func TestLongestUnusedFirst(t *testing.T) {
	p := mustPool(t, []netip.Addr{addr("10.0.0.1")}, "10.0.0.1-10.0.0.3", "10.0.1.7")
	if p.Size() != 3 {
		t.Errorf("Size() = %d, want 3", p.Size())
	}
	wantNext(t, p, "10.0.0.2")
	p.Free(addr("10.0.0.2"))
	wantNext(t, p, "10.0.0.3") // never used comes first
	wantNext(t, p, "10.0.1.7")
	p.Free(addr("10.0.1.7"))
	p.Free(addr("10.0.0.3"))
	wantNext(t, p, "10.0.0.2")
	wantNext(t, p, "10.0.1.7")
	wantNext(t, p, "10.0.0.3")
	if p.Used() != 3 {
		t.Errorf("Used() = %d, want 3", p.Used())
	}
	wantExhausted(t, p)
}

func TestTakeAndReserve(t *testing.T) {
	p := mustPool(t, nil, "10.0.0.1-10.0.0.3")
	if err := p.Take(addr("10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if err := p.Take(addr("10.0.0.1")); !errors.Is(err, ErrInUse) {
		t.Errorf("second Take: %v, want ErrInUse", err)
	}
	if err := p.Take(addr("192.0.2.1")); err != nil {
		t.Errorf("Take outside the ranges: %v", err)
	}
	wantNext(t, p, "10.0.0.2")
	p.Reserve(addr("10.0.0.2")) // in use: its owner keeps it, nobody gets it after
	p.Free(addr("10.0.0.2"))
	wantNext(t, p, "10.0.0.3")
	wantExhausted(t, p)
	p.Free(addr("10.0.0.1"))
	p.Free(addr("10.0.0.1"))
	if err := p.Take(addr("10.0.0.1")); err != nil {
		t.Errorf("Take of a resting address: %v", err)
	}
	wantExhausted(t, p)
}

func TestOverlap(t *testing.T) {
	a, _ := ParseRange("10.0.0.0/24")
	b, _ := ParseRange("10.0.0.200-10.0.1.3")
	if _, err := New([]Range{a, b}); err == nil {
		t.Error("New of overlapping ranges succeeded")
	}
	if _, err := New([]Range{b, a}); err == nil {
		t.Error("New of overlapping ranges succeeded")
	}
}

func TestEmpty(t *testing.T) {
	wantExhausted(t, mustPool(t, nil))
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"10.0.0.1-10.0.0.9", "10.0.0.0/24", "2001:db8::/120", "10.0.0.1", "-", "::ffff:1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			return
		}
		if again, err := ParseRange(r.String()); err != nil || again != r {
			t.Errorf("ParseRange(%q) = %v, which parses as %v, %v", s, r, again, err)
		}
		if !r.Contains(r.First) || !r.Contains(r.Last) || r.size() < 1 {
			t.Errorf("%v does not contain its ends", r)
		}
	})
}
