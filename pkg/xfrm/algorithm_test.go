package xfrm

import (
	"net/netip"
	"strings"
	"testing"
)

// TestLongKey: a key that is longer than an attribute can be does not become attributes of its own, whose mark would take the place of ours.
func TestLongKey(t *testing.T) {
	smuggled := func() []byte {
		mark := appendAttributeUint32(nil, attrSetMark, 0xdeadbeef)
		return append(make([]byte, 1<<16-sizeAlgName-12+40), mark...)
	}
	for name, c := range map[string]struct {
		change func(*State)
		want   string
	}{
		"AEAD":                  {func(s *State) { s.AEAD.Key = smuggled() }, "is above 256"},
		"cipher":                {func(s *State) { s.AEAD, s.Crypt, s.Auth = nil, AESCBC(smuggled()), HMACSHA1(make([]byte, 20)) }, "is above 256"},
		"MAC":                   {func(s *State) { s.AEAD, s.Crypt, s.Auth = nil, AESCBC(make([]byte, 16)), HMACSHA1(smuggled()) }, "is above 256"},
		"long name":             {func(s *State) { s.AEAD.Name = strings.Repeat("a", 64) }, "want a name"},
		"name with another end": {func(s *State) { s.AEAD.Name = "rfc4106(gcm(aes))\x00x" }, "want a name"},
		"no name":               {func(s *State) { s.AEAD.Name = "" }, "want a name"},
	} {
		s := State{
			ID: ID{Dst: netip.MustParseAddr("192.0.2.1"), SPI: 1000}, Src: netip.MustParseAddr("192.0.2.2"), Direction: In,
			OutputMark: Mark{Value: 1, Mask: 1}, AEAD: AESGCM16(make([]byte, 20)),
		}
		if err := s.validate(); err != nil {
			t.Fatal(err)
		}
		c.change(&s)
		// The error comes before anything is sent.
		if err := (&Conn{}).Add(&s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
