package config

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/pool"
)

// ranges reads ranges as pool.Range writes them.
func ranges(t *testing.T, texts ...string) []pool.Range {
	t.Helper()
	var out []pool.Range
	for _, s := range texts {
		r, err := pool.ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestWithout(t *testing.T) {
	got := ranges(t, "10.0.0.1-10.0.0.3", "255.255.255.254-255.255.255.255")
	for _, a := range []string{"10.0.0.2", "255.255.255.254", "10.0.0.9", "::1"} {
		got = without(got, netip.MustParseAddr(a))
	}
	if want := ranges(t, "10.0.0.1", "10.0.0.3", "255.255.255.255"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
