package wire

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// windowsSCCRQ is what Windows 10 sends, field by field.
func windowsSCCRQ() Message {
	return Message{AVPs: []AVP{
		SCCRQ.Value(),
		Uint16(AttrProtocolVersion, 0x0100),
		Uint32(AttrFramingCaps, 1),
		Uint32(AttrBearerCaps, 0),
		Uint16(AttrFirmwareRevision, 0x0a00).Optional(),
		Bytes(AttrHostName, "DESKTOP-1234567"),
		Bytes(AttrVendorName, "Microsoft").Optional(),
		Uint16(AttrAssignedTunnelID, 7),
		Uint16(AttrReceiveWindow, 8),
	}}
}

func mustAppend(t testing.TB, m Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessageOctets(t *testing.T) {
	for _, test := range []struct {
		name string
		m    Message
		want string
	}{
		{"ZLB is 12 octets", Message{TunnelID: 1, SessionID: 0, Ns: 2, Nr: 3}, "c802000c 0001 0000 0002 0003"},
		{"first AVP is 8008 0000 0000", Message{TunnelID: 0x1234, Ns: 1, Nr: 0xffff, AVPs: []AVP{HELLO.Value()}},
			"c8020014 1234 0000 0001 ffff 8008 0000 0000 0006"},
		{"vendor AVP without M", Message{SessionID: 5, AVPs: []AVP{{Vendor: 311, Type: 1, Value: []byte{1, 2}}}},
			"c8020014 0000 0005 0000 0000 0008 0137 0001 0102"},
		{"hidden and reserved bits", Message{AVPs: []AVP{{Mandatory: true, Hidden: true, Reserved: 0xf, Type: 9}}},
			"c8020012 0000 0000 0000 0000 fc06 0000 0009"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := mustAppend(t, test.m)
			if want := unhex(t, test.want); !cmp.Equal(b, want) {
				t.Errorf("wrote %x, want %x", b, want)
			}
			got, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.m, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("round trip (-wrote +read):\n%s", diff)
			}
		})
	}
}

func TestWindowsSCCRQIs108Octets(t *testing.T) {
	if n := len(mustAppend(t, windowsSCCRQ())); n != 108 {
		t.Errorf("%d octets, but captures show 108 for a host name of 15", n)
	}
}

func TestParseEveryPrefix(t *testing.T) {
	whole := mustAppend(t, windowsSCCRQ())
	for n := range whole {
		if _, err := Parse(whole[:n]); !errors.Is(err, ErrHeader) {
			t.Errorf("prefix of %d octets: error %v, want ErrHeader", n, err)
		}
		if n < HeaderLen {
			continue
		}
		short := append([]byte{}, whole[:n]...)
		binary.BigEndian.PutUint16(short[2:], uint16(n))
		m, err := Parse(short)
		if err != nil && !errors.Is(err, ErrAVP) {
			t.Errorf("cut to %d octets: error %v, want ErrAVP or none", n, err)
		}
		if err == nil && len(mustAppend(t, m)) != n {
			t.Errorf("cut to %d octets: not all was read", n)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		name, packet string
		want         error
	}{
		{"empty", "", ErrHeader},
		{"one octet", "c8", ErrHeader},
		{"data message", "0002 0001 0001 ff03", ErrData},
		{"data message with length", "4002 000a 0001 0001 ff03", ErrData},
		{"L2TPv3", "c803000c 0001 0000 0000 0000", ErrVersion},
		{"L2F", "8001000c 0001 0000 0000 0000", ErrVersion},
		{"no L bit", "8802000c 0001 0000 0000 0000", ErrHeader},
		{"no S bit", "c002000c 0001 0000 0000 0000", ErrHeader},
		{"O bit", "ca02000c 0001 0000 0000 0000", ErrHeader},
		{"length 11", "c802000b 0001 0000 0000 0000", ErrHeader},
		{"length beyond the datagram", "c802000d 0001 0000 0000 0000", ErrHeader},
		{"AVP length 5", "c8020012 0001 0000 0000 0000 8005 0000 0000", ErrAVP},
		{"AVP length 0", "c8020012 0001 0000 0000 0000 8000 0000 0000", ErrAVP},
		{"AVP beyond the message", "c8020012 0001 0000 0000 0000 8007 0000 0000 00", ErrAVP},
		{"half an AVP header", "c802000f 0001 0000 0000 0000 8007 00", ErrAVP},
		{"octets after Length are nobody's", "c802000c 0001 0000 0000 0000 8000", nil},
		{"P and reserved bits do not matter", "f9f2000c 0001 0000 0000 0000", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Parse(unhex(t, test.packet)); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

func TestAppendRefusesWhatDoesNotFit(t *testing.T) {
	if _, err := (Message{AVPs: []AVP{Bytes(AttrHostName, make([]byte, MaxValueLen+1))}}).Append(nil); !errors.Is(err, ErrAVP) {
		t.Errorf("value of %d octets: error %v", MaxValueLen+1, err)
	}
	long := Bytes(AttrHostName, make([]byte, MaxValueLen))
	m := Message{}
	for range 70 {
		m.AVPs = append(m.AVPs, long)
	}
	if _, err := m.Append(nil); !errors.Is(err, ErrAVP) {
		t.Errorf("message above 65,535 octets: error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(mustAppend(f, windowsSCCRQ()))
	f.Add(unhex(f, "c802000c 0001 0000 0002 0003"))
	f.Add(unhex(f, "c8020012 0000 0000 0000 0000 fc06 0000 0009"))
	f.Add(unhex(f, "c8020034 0001 0002 0003 0004 8008 0000 0000 000e 800e 0000 0001 0300000000000000 8008 0000 000e 1234 800a 0000 0024 01020304"))
	f.Add(mustAppend(f, Message{AVPs: []AVP{ICRQ.Value(), Bytes(AttrRandomVector, "vector"), hide(Bytes(AttrHostName, "name"), "secret", "vector", 3)}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		m.Type()
		m.Decode(nil)
		m.Decode([]byte("secret"))
		if err != nil {
			return
		}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatalf("parsed but does not marshal: %v", err)
		}
		again, err := Parse(b)
		if err != nil {
			t.Fatalf("marshalled but does not parse: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("round trip:\n%s", diff)
		}
	})
}
