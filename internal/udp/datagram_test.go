package udp

import (
	"bytes"
	"testing"
)

func TestIKEMessage(t *testing.T) {
	for _, c := range []struct {
		name         string
		in           string
		encapsulated bool
		want         string // empty: not for us
		runt         bool
	}{
		{"plain IKE on 500", "cookie", false, "cookie", false},
		{"marker on 500, as some Apple clients send", "\x00\x00\x00\x00cookie", false, "cookie", false},
		{"keepalive on 500", "\xff", false, "", false},
		{"marker on 4500", "\x00\x00\x00\x00cookie", true, "cookie", false},
		{"keepalive on 4500", "\xff", true, "", false},
		{"no marker on 4500 is ESP", "cookie", true, "", true},
		{"marker and nothing else", "\x00\x00\x00\x00", true, "", true},
		{"marker and less than a word", "\x00\x00\x00\x00abc", true, "", true},
		{"three octets", "abc", false, "", true},
		{"another octet", "\xfe", true, "", true},
		{"empty", "", false, "", true},
	} {
		if got, runt := ikeMessage([]byte(c.in), c.encapsulated); string(got) != c.want || runt != c.runt {
			t.Errorf("%s: got %q, runt %v, want %q, %v", c.name, got, runt, c.want, c.runt)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		size int
		want []string
	}{
		{0, []string{"abcdefg"}}, {-1, []string{"abcdefg"}}, {7, []string{"abcdefg"}}, {9, []string{"abcdefg"}},
		{3, []string{"abc", "def", "g"}},
	} {
		got := split([]byte("abcdefg"), c.size)
		if len(got) != len(c.want) {
			t.Errorf("size %d: %q", c.size, got)
			continue
		}
		for i := range got {
			if string(got[i]) != c.want[i] {
				t.Errorf("size %d: %q", c.size, got)
			}
		}
	}
}

// FuzzControl: control messages come from the kernel, but the parser must stand anything.
func FuzzControl(f *testing.F) {
	f.Add(fromAddress(loopback4), []byte("message"))
	f.Add(fromAddress(loopback6), []byte("message"))
	f.Fuzz(func(t *testing.T, oob, payload []byte) {
		c := parseControl(oob)
		if joined := bytes.Join(split(payload, c.segment), nil); !bytes.Equal(joined, payload) {
			t.Errorf("split at %d loses octets", c.segment)
		}
	})
}
