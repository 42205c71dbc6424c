package xfrm

import (
	"bytes"
	"strings"
	"testing"
)

func TestSocketPolicyBytes(t *testing.T) {
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Log("big-endian machine: the expected octets are little-endian")
		return
	}
	zeros := func(n int) string { return strings.Repeat("00", n) }
	for _, c := range []struct {
		name   string
		got    []byte
		family string
		dir    string
		tmpl   bool
	}{
		{"in", appendTemplate(appendPolicy(nil, false, In), false, 0x17014005), "0200", "00", true},
		{"out v6", appendTemplate(appendPolicy(nil, true, Out), true, 0x17014005), "0a00", "01", true},
		{"bypass", appendPolicy(nil, false, Out), "0200", "01", false},
	} {
		want := zeros(40) + c.family + zeros(14) + strings.Repeat("ff", 32) + zeros(64) + zeros(8) + c.dir + zeros(7)
		if c.tmpl {
			want += zeros(20) + "32000000" + c.family + "0000" + zeros(16) + "05400117" + zeros(4) + strings.Repeat("ff", 12)
		}
		if w := unhex(t, want); !bytes.Equal(c.got, w) {
			t.Errorf("%s:\n%x want\n%x", c.name, c.got, w)
		}
	}
}
