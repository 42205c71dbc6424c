package wire

import (
	"crypto/md5"
	"encoding/binary"
	"testing"
)

// hide is RFC 2661 4.3 in the sending direction, with an original length of the caller's choice if pad is negative.
func hide(a AVP, secret, vector string, pad int) AVP {
	length := len(a.Value)
	if pad < 0 {
		length, pad = -pad, 0
	}
	plain := binary.BigEndian.AppendUint16(nil, uint16(length))
	plain = append(plain, a.Value...)
	plain = append(plain, make([]byte, pad)...)
	key := md5.Sum(append(binary.BigEndian.AppendUint16(nil, uint16(a.Type)), secret+vector...))
	for i := 0; i < len(plain); i += md5.Size {
		block := plain[i:min(i+md5.Size, len(plain))]
		for j := range block {
			block[j] ^= key[j]
		}
		key = md5.Sum(append([]byte(secret), block...))
	}
	a.Hidden, a.Value = true, plain
	return a
}

func TestRevealHidden(t *testing.T) {
	name := "a host name of more than two blocks of sixteen octets"
	for _, test := range []struct {
		reason         string
		avps           []AVP
		secret         string
		wantHost       string
		wantUnrevealed int
	}{
		{"round trip", []AVP{Bytes(AttrRandomVector, "vec"), hide(Bytes(AttrHostName, name), "s", "vec", 5)}, "s", name, 0},
		{"no padding", []AVP{Bytes(AttrRandomVector, "vec"), hide(Bytes(AttrHostName, "x"), "s", "vec", 0)}, "s", "x", 0},
		{"the most recent vector counts", []AVP{
			Bytes(AttrRandomVector, "old"), Bytes(AttrRandomVector, "vec"), hide(Bytes(AttrHostName, "x"), "s", "vec", 0),
		}, "s", "x", 0},
		{"no secret", []AVP{Bytes(AttrRandomVector, "vec"), hide(Bytes(AttrHostName, "x"), "s", "vec", 0)}, "", "", 1},
		{"no vector", []AVP{hide(Bytes(AttrHostName, "x"), "s", "", 0)}, "s", "", 1},
		{"length one above the room", []AVP{Bytes(AttrRandomVector, "vec"), hide(Bytes(AttrHostName, "abc"), "s", "vec", -4)}, "s", "", 1},
		{"length 0xffff", []AVP{Bytes(AttrRandomVector, "vec"), hide(Bytes(AttrHostName, "abc"), "s", "vec", -0xffff)}, "s", "", 1},
		{"one octet", []AVP{Bytes(AttrRandomVector, "vec"), {Mandatory: true, Hidden: true, Type: AttrHostName, Value: []byte{1}}}, "s", "", 1},
		{"empty", []AVP{Bytes(AttrRandomVector, "vec"), {Mandatory: true, Hidden: true, Type: AttrHostName}}, "s", "", 1},
	} {
		t.Run(test.reason, func(t *testing.T) {
			b := Message{AVPs: test.avps}.Decode([]byte(test.secret))
			if string(b.HostName) != test.wantHost || len(b.Unrecognized) != test.wantUnrevealed {
				t.Errorf("host %q, unrecognised %v", b.HostName, b.Unrecognized)
			}
		})
	}
}

func TestRevealLengthLeavesOtherValuesAlone(t *testing.T) {
	a := hide(Bytes(AttrHostName, "abcd"), "s", "v", -2)
	b := Message{AVPs: []AVP{Bytes(AttrRandomVector, "v"), a}}.Decode([]byte("s"))
	if string(b.HostName) != "ab" || cap(b.HostName) != 2 {
		t.Errorf("host %q, capacity %d", b.HostName, cap(b.HostName))
	}
}
