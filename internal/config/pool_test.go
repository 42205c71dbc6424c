package config

import (
	"net/netip"
	"slices"
	"testing"
)

func TestRanges(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/24":       "10.0.0.1-10.0.0.254",
		"10.0.0.77/24":      "10.0.0.1-10.0.0.254",
		"10.0.0.0/30":       "10.0.0.1-10.0.0.2",
		"10.0.0.0/31":       "10.0.0.0-10.0.0.1",
		"10.0.0.7":          "10.0.0.7-10.0.0.7",
		"10.0.0.7/32":       "10.0.0.7-10.0.0.7",
		"10.0.0.7-10.0.1.9": "10.0.0.7-10.0.1.9",
		"10.0.0.7-10.0.0.6": "", "10.0.0.0/7": "", "::/64": "", "": "", "-": "",
	} {
		r, err := parseRange(in)
		if want == "" && err == nil || want != "" && (err != nil || r.String() != want) {
			t.Errorf("%q: %v, %v, want %s", in, r, err, want)
		}
	}
}

func TestPool(t *testing.T) {
	a := netip.MustParseAddr
	p := Pool{{a("10.0.0.1"), a("10.0.0.3")}, {a("255.255.255.254"), a("255.255.255.255")}}
	p = p.without(a("10.0.0.2")).without(a("255.255.255.254")).without(a("10.0.0.9"))
	want := []netip.Addr{a("10.0.0.1"), a("10.0.0.3"), a("255.255.255.255")}
	if got := slices.Collect(p.All()); !slices.Equal(got, want) || p.Size() != 3 {
		t.Errorf("%v, size %d, want %v", got, p.Size(), want)
	}
	if p.Contains(a("10.0.0.2")) || !p.Contains(a("10.0.0.3")) || p.Contains(a("::1")) {
		t.Error("Contains")
	}
}
