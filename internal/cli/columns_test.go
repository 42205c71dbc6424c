package cli

import "testing"

func TestHuman(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 1023: "1023B", 1024: "1.0KiB", 1536: "1.5KiB", 5 << 30: "5.0GiB", 1<<64 - 1: "16.0EiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d octets: %s, want %s", n, got, want)
		}
	}
	for s, want := range map[int64]string{0: "0s", 59: "59s", 60: "1m00s", 3599: "59m59s", 3700: "1h01m", 93784: "1d02h"} {
		if got := humanDuration(s); got != want {
			t.Errorf("%d s: %s, want %s", s, got, want)
		}
	}
}

func TestNatural(t *testing.T) {
	for _, pair := range [][2]string{{"16384-2", "16384-10"}, {"", "a"}, {"a", "b"}, {"a9", "a10"}, {"9", "a"}, {"a", "ab"}, {"x99999999999999999998", "x99999999999999999999"}} {
		if natural(pair[0], pair[1]) >= 0 || natural(pair[1], pair[0]) <= 0 || natural(pair[0], pair[0]) != 0 {
			t.Errorf("%q is not before %q", pair[0], pair[1])
		}
	}
}

func TestEscaped(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü 語":    "plain ü 語",
		"\x1b[2J":      `\x1b[2J`,
		"a\tb\nc\x7f":  `a\x09b\x0ac\x7f`,
		"\u202e\u009b": `\u202e\u009b`,
		"\xff\\x1b":    `\xff\\x1b`,
		"�":            "�",
	} {
		if got := escaped(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
