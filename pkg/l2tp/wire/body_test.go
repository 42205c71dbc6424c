package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeWindowsSCCRQ(t *testing.T) {
	b := windowsSCCRQ().Decode(nil)
	want := Body{
		Has:             1<<0 | 1<<2 | 1<<3 | 1<<4 | 1<<6 | 1<<7 | 1<<8 | 1<<9 | 1<<10,
		ProtocolVersion: 0x0100, FramingCaps: 1, FirmwareRevision: 0x0a00,
		HostName: []byte("DESKTOP-1234567"), VendorName: []byte("Microsoft"), AssignedTunnelID: 7, ReceiveWindow: 8,
	}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeResultForms(t *testing.T) {
	for _, test := range []struct {
		name, value string
		want        ResultCode
	}{
		{"the RFC's", "0003 0006 74657874", ResultCode{Code: 3, Error: 6, Message: []byte("text")}},
		{"without text", "0001 0000", ResultCode{Code: 1, Message: []byte{}}},
		{"MikroTik and Android: 2 octets", "0006", ResultCode{Code: 6}},
		{"Apple CDN: 8 octets, little endian", "0300 0000 00000000", ResultCode{Code: 3, Message: []byte{0, 0, 0, 0}}},
		{"Apple StopCCN", "0100 0000 00000000", ResultCode{Code: 1, Message: []byte{0, 0, 0, 0}}},
		{"three octets", "0002 00", ResultCode{Code: 2}},
		{"one octet", "02", ResultCode{}},
		{"none", "", ResultCode{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := Message{AVPs: []AVP{CDN.Value(), Bytes(AttrResultCode, unhex(t, test.value))}}
			b := m.Decode(nil)
			if diff := cmp.Diff(test.want, b.Result); diff != "" {
				t.Error(diff)
			}
			if len(b.Faults) > 0 || len(b.Unrecognized) > 0 {
				t.Errorf("faults %v, unrecognised %v", b.Faults, b.Unrecognized)
			}
		})
	}
}

func TestDecodeDispatchesOnVendorAndType(t *testing.T) {
	b := Message{AVPs: []AVP{
		ICRQ.Value(),
		{Vendor: 311, Type: AttrResultCode, Value: make([]byte, 16)},           // Windows' Correlation ID
		{Mandatory: true, Vendor: 3561, Type: 14, Value: []byte{1, 2}},         // mandatory and unknown
		{Mandatory: true, Type: 99},                                            // unknown type
		{Type: 98},                                                             // unknown, but not mandatory
		{Mandatory: true, Reserved: 1, Type: AttrCallSerial, Value: []byte{4}}, // reserved bits
		{Mandatory: true, Hidden: true, Type: AttrCallingNumber},               // hidden without a secret
		Bytes(AttrDisconnectCause, "\x00\x01\x00\x02\x03"),                     // RFC 3145
		Uint16(AttrAssignedSessionID, 9),
		Uint16(AttrAssignedSessionID, 10), // repeated
		Uint16(AttrCallSerial, 1),         // 2 octets where 4 belong
	}}.Decode(nil)
	if b.Has.Contains(AttrResultCode) || b.AssignedSessionID != 9 || !b.Has.Contains(AttrDisconnectCause) {
		t.Errorf("decoded %+v", b)
	}
	if len(b.Unrecognized) != 4 {
		t.Errorf("unrecognised mandatory: %v, want 4", b.Unrecognized)
	}
	if len(b.Faults) != 1 || b.Has.Contains(AttrCallSerial) {
		t.Errorf("faults: %v, want Call Serial Number", b.Faults)
	}
	if attr, malformed, missing := b.Missing(AttrAssignedSessionID, AttrCallSerial); attr != AttrCallSerial || !malformed || !missing {
		t.Errorf("missing %v, malformed %v, missing %v", attr, malformed, missing)
	}
}

func TestDecodeEveryAttributeAtEveryEdge(t *testing.T) {
	for attr, known := range attributes {
		for _, n := range []int{0, 1, known.min - 1, known.min, known.max, known.max + 1, MaxValueLen} {
			if n < 0 || n > MaxValueLen {
				continue
			}
			m := Message{AVPs: []AVP{Bytes(attr, make([]byte, n))}}
			b := m.Decode(nil)
			fits := n >= known.min && n <= known.max
			if got := len(b.Faults) == 0; got != fits {
				t.Errorf("%v of %d octets: accepted %v, want %v", attr, n, got, fits)
			}
			if attr != AttrRandomVector && b.Has.Contains(attr) != fits {
				t.Errorf("%v of %d octets: in Has %v", attr, n, !fits)
			}
		}
	}
}

func TestMessageType(t *testing.T) {
	for _, test := range []struct {
		name string
		avps []AVP
		ok   bool
	}{
		{"first", []AVP{SCCRQ.Value()}, true},
		{"ZLB", nil, false},
		{"second", []AVP{Uint16(AttrAssignedTunnelID, 1), SCCRQ.Value()}, false},
		{"other vendor", []AVP{{Vendor: 9, Value: []byte{0, 1}}}, false},
		{"hidden", []AVP{{Hidden: true, Value: []byte{0, 1}}}, false},
		{"one octet", []AVP{{Value: []byte{1}}}, false},
	} {
		if _, _, ok := (Message{AVPs: test.avps}).Type(); ok != test.ok {
			t.Errorf("%s: ok %v, want %v", test.name, ok, test.ok)
		}
	}
	for kind := MessageType(0); kind < 20; kind++ {
		if want := kind != 0 && kind != 5 && kind != 13 && kind < 17; kind.Known() != want {
			t.Errorf("%v known: %v", kind, kind.Known())
		}
	}
}
