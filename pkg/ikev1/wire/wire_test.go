package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

// windowsSA is the phase 1 offer of Windows 10: five transforms, the lifetime in the long form.
func windowsSA() *SA {
	transform := func(n uint8, cipher, bits, group uint16) Transform {
		t := Transform{Number: n, ID: TransformKeyIKE, Attributes: []Attribute{ShortAttribute(AttrEncryption, cipher)}}
		if bits != 0 {
			t.Attributes = append(t.Attributes, ShortAttribute(AttrKeyLength, bits))
		}
		t.Attributes = append(t.Attributes, ShortAttribute(AttrHash, 2), ShortAttribute(AttrGroup, group),
			ShortAttribute(AttrAuthMethod, 1), ShortAttribute(AttrLifeType, 1), LongAttribute(AttrLifeDuration, 28800))
		return t
	}
	return &SA{DOI: DOIIPsec, Situation: SituationIdentityOnly, Proposals: []Proposal{{
		Number: 1, Protocol: ProtocolISAKMP, SPI: []byte{},
		Transforms: []Transform{
			transform(1, 7, 256, 20), transform(2, 7, 128, 19), transform(3, 7, 256, 14), transform(4, 5, 0, 14), transform(5, 5, 0, 2),
		},
	}}}
}

// bodies are payloads of every kind with their parsers.
var bodies = []struct {
	name  string
	value Payload
	parse func([]byte) (Payload, error)
}{
	{"SA of Windows", windowsSA(), parseSAPayload},
	{"SA with several proposals", &SA{DOI: DOIIPsec, Situation: SituationIdentityOnly, Proposals: []Proposal{
		{Number: 0, Protocol: ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: []Transform{{Number: 0, ID: 12}}},
		{Number: 1, Protocol: ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: []Transform{{Number: 1, ID: 20, Attributes: []Attribute{{Type: 99, Value: []byte{}}}}}},
	}}, parseSAPayload},
	{"ID", AddrID(netip.MustParseAddr("192.168.0.5"), 17, 1701), parseIDPayload},
	{"ID IPv6", AddrID(netip.MustParseAddr("2001:db8::1"), 0, 0), parseIDPayload},
	{"nonce", Nonce("12345678"), func(b []byte) (Payload, error) { return ParseNonce(b) }},
	{"notification", Notification{DOI: DOIIPsec, Protocol: ProtocolISAKMP, Kind: NotifyRUThere, SPI: make([]byte, 16), Data: []byte{0, 0, 0, 1}},
		func(b []byte) (Payload, error) { return ParseNotification(b) }},
	{"delete", Delete{DOI: DOIIPsec, Protocol: ProtocolESP, SPILen: 4, SPIs: [][]byte{{1, 2, 3, 4}, {5, 6, 7, 8}}},
		func(b []byte) (Payload, error) { return ParseDelete(b) }},
	{"NAT-OA", NATOA{Kind: PayloadNATOA, Addr: netip.MustParseAddr("10.0.0.1")},
		func(b []byte) (Payload, error) { return ParseNATOA(PayloadNATOA, b) }},
	{"certificate", Certificate{Encoding: EncodingX509Signature, Data: []byte("certificate")}, parseCertificatePayload},
	{"certificate without data", Certificate{Encoding: EncodingCRL}, parseCertificatePayload},
	{"certificate request", CertificateRequest{Encoding: EncodingX509Signature, Authority: []byte("name")}, parseCertificateRequestPayload},
	{"certificate request of Windows", CertificateRequest{Encoding: EncodingX509Signature}, parseCertificateRequestPayload},
	{"fragment", Fragment{ID: 0x1234, Number: 1, Data: []byte("part")}, parseFragmentPayload},
	{"last fragment", Fragment{ID: 1, Number: 255, Last: true, Data: []byte("x")}, parseFragmentPayload},
}

func parseCertificatePayload(b []byte) (Payload, error)        { return ParseCertificate(b) }
func parseCertificateRequestPayload(b []byte) (Payload, error) { return ParseCertificateRequest(b) }
func parseFragmentPayload(b []byte) (Payload, error)           { return ParseFragment(b) }

func parseSAPayload(b []byte) (Payload, error) { return ParseSA(b) }
func parseIDPayload(b []byte) (Payload, error) { return ParseID(b) }

func TestRoundTripAndTruncation(t *testing.T) {
	for _, c := range bodies {
		t.Run(c.name, func(t *testing.T) {
			want := c.value.AppendBody(nil)
			v, err := c.parse(want)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.AppendBody(nil); !bytes.Equal(got, want) {
				t.Errorf("marshals to %x, was parsed from %x", got, want)
			}
			for n := range want {
				v, err := c.parse(want[:n:n])
				if err == nil {
					// Where the end of the data is the end of the payload, a prefix is another value, not garbage.
					if got := v.AppendBody(nil); !bytes.Equal(got, want[:n]) {
						t.Errorf("the first %d octets parse as another value: %x", n, got)
					}
				} else if !errors.Is(err, ErrShort) && !errors.Is(err, ErrValue) {
					t.Errorf("the first %d octets: error %v has no class", n, err)
				}
			}
		})
	}
}

func TestMessage(t *testing.T) {
	h := Header{InitiatorCookie: Cookie{1}, ResponderCookie: Cookie{2}, Exchange: ExchangeMain, MessageID: 7}
	payloads := []Payload{KE("public"), Nonce("12345678"), Hash("hash"), Signature("signature"), VendorID("vendor"), Raw{Kind: PayloadNATD, Body: []byte("natd")}}
	b := Message(h, payloads...)
	parsed, err := ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	if int(parsed.Length) != len(b) || parsed.Version != Version1 || parsed.NextPayload != PayloadKE || parsed.MessageID != 7 {
		t.Errorf("header %+v", parsed)
	}
	chain, n, err := ParseChain(parsed.NextPayload, append(b[HeaderLen:], 0, 0, 0))
	if err != nil || n != len(b)-HeaderLen || len(chain) != len(payloads) {
		t.Fatalf("%d payloads in %d octets, error %v", len(chain), n, err)
	}
	for i, p := range payloads {
		if chain[i].Kind != p.Type() || !bytes.Equal(chain[i].Body, p.AppendBody(nil)) {
			t.Errorf("payload %d is %+v", i, chain[i])
		}
	}
	for n := range b {
		if _, err := ParseHeader(b[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("header of the first %d octets: %v", n, err)
		}
		if n > HeaderLen {
			if _, _, err := ParseChain(PayloadKE, b[HeaderLen:n]); !errors.Is(err, ErrShort) {
				t.Errorf("payloads of the first %d octets: %v", n, err)
			}
		}
	}
}

func TestSealed(t *testing.T) {
	b := Sealed(Header{Exchange: ExchangeQuick}, PayloadHash, make([]byte, 32))
	h, err := ParseHeader(b)
	if err != nil || h.Flags != FlagEncryption || h.NextPayload != PayloadHash || h.Length != 60 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestRefused(t *testing.T) {
	sa := windowsSA().AppendBody(nil)
	with := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] = v
		return b
	}
	long := func(n int) []byte {
		var b []byte
		for range n {
			b = append(b, byte(PayloadVendorID), 0, 0, 4)
		}
		return b
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"DOI", second(ParseSA(with(sa, 3, 2))), ErrValue},
		{"situation", second(ParseSA(with(sa, 7, 2))), ErrValue},
		{"proposal followed by a transform", second(ParseSA(with(sa, 8, byte(PayloadTransform)))), ErrValue},
		{"more transforms announced than there are", second(ParseSA(with(sa, 15, 6))), ErrValue},
		{"fewer", second(ParseSA(with(sa, 15, 4))), ErrValue},
		{"none", second(ParseSA(with(sa, 15, 0))), ErrValue},
		{"SPI longer than the proposal", second(ParseSA(with(sa[:20], 11, 12))), ErrShort},
		{"transform length 3", second(ParseSA(with(sa, 19, 3))), ErrValue},
		{"too many payloads", third(ParseChain(PayloadVendorID, long(MaxPayloads+1))), ErrLimit},
		{"payload length 0", third(ParseChain(PayloadKE, make([]byte, 8))), ErrValue},
		{"nonce of 7", second(ParseNonce(make([]byte, 7))), ErrValue},
		{"nonce of 257", second(ParseNonce(make([]byte, 257))), ErrValue},
		{"IPv4 of 5 octets", second(ParseID(make1(1, 9))), ErrValue},
		{"IPv6 of 4 octets", second(ParseID(make1(5, 8))), ErrValue},
		{"NAT-OA of an unknown type", second(ParseNATOA(PayloadNATOA, make1(2, 8))), ErrValue},
		{"65535 SPIs", second(ParseDelete([]byte{0, 0, 0, 1, 3, 4, 0xff, 0xff})), ErrLimit},
		{"SPIs of length 0", second(ParseDelete([]byte{0, 0, 0, 1, 3, 0, 0, 1, 9})), ErrValue},
		{"certificate without an encoding", second(ParseCertificate(nil)), ErrShort},
		{"certificate of 16385 octets", second(ParseCertificate(make([]byte, 1+MaxCertificate+1))), ErrLimit},
		{"certificate of 16384 octets", second(ParseCertificate(make([]byte, 1+MaxCertificate))), nil},
		{"certificate request without an encoding", second(ParseCertificateRequest(nil)), ErrShort},
		{"certificate request of 16385 octets", second(ParseCertificateRequest(make([]byte, 1+MaxCertificate+1))), ErrLimit},
		{"attribute of 3 octets", second(ParseAttributes(make([]byte, 3))), ErrShort},
		{"attribute longer than the list", second(ParseAttributes([]byte{0, 2, 0, 5, 1, 2, 3, 4})), ErrShort},
		{"17 attributes", second(ParseAttributes(make([]byte, 4*17))), ErrLimit},
		{"16 attributes", second(ParseAttributes(make([]byte, 4*16))), nil},
		{"fragment of 3 octets", second(ParseFragment(make1(1, 3))), ErrShort},
		{"fragment 0", second(ParseFragment([]byte{0, 1, 0, 1, 'x'})), ErrValue},
		{"fragment without data", second(ParseFragment([]byte{0, 1, 1, 1})), ErrValue},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, c.err, c.want)
		}
	}
}

func make1(first byte, n int) []byte {
	b := make([]byte, n)
	b[0] = first
	return b
}

func second[T any](_ T, err error) error      { return err }
func third[T, U any](_ T, _ U, e error) error { return e }

func TestAttributeUint(t *testing.T) {
	for _, c := range []struct {
		value []byte
		want  uint64
		ok    bool
	}{
		{nil, 0, false},
		{[]byte{7}, 7, true},
		{[]byte{0x70, 0x80}, 28800, true},
		{[]byte{0, 0, 0x70, 0x80}, 28800, true},
		{[]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 1, true},
		{[]byte{1, 0, 0, 0, 0, 0, 0, 0, 0}, 0, false},
	} {
		if got, ok := (Attribute{Value: c.value}).Uint(); got != c.want || ok != c.ok {
			t.Errorf("%x is %d, %v", c.value, got, ok)
		}
	}
}

func TestIDString(t *testing.T) {
	for _, c := range []struct {
		id   ID
		want string
	}{
		{AddrID(netip.MustParseAddr("::ffff:10.1.2.3"), 0, 0), "10.1.2.3"},
		{ID{Kind: IDFQDN, Data: []byte("pc.example")}, "pc.example"},
		{ID{Kind: IDFQDN, Data: []byte("a\n\x1b[31m")}, `a\n\x1b[31m`},
		{ID{Kind: IDKeyID, Data: []byte{1, 2}}, "type11:0102"},
		{ID{Kind: IDKeyID, Data: []byte{0xff, 0xfe}}, "type11:fffe"},
		{ID{Kind: IDKeyID, Data: []byte("Außendienst \"1\"")}, `Au\u00dfendienst \"1\"`},
	} {
		if got := c.id.String(); got != c.want {
			t.Errorf("%+v is %q, want %q", c.id, got, c.want)
		}
	}
}

func TestNotifyType(t *testing.T) {
	for _, c := range []struct {
		kind  NotifyType
		name  string
		isErr bool
	}{
		{0, "0", false},
		{NotifyInvalidPayloadType, "INVALID-PAYLOAD-TYPE", true},
		{NotifyInvalidMajorVersion, "INVALID-MAJOR-VERSION", true},
		{NotifyUnequalPayloadLengths, "UNEQUAL-PAYLOAD-LENGTHS", true},
		{31, "31", true},
		{NotifyConnected, "CONNECTED", false},
		{NotifyResponderLifetime, "RESPONDER-LIFETIME", false},
		{NotifyRUThereAck, "R-U-THERE-ACK", false},
		{65535, "65535", false},
	} {
		if got := c.kind.String(); got != c.name || c.kind.IsError() != c.isErr {
			t.Errorf("%d is %s, error %v", c.kind, got, c.kind.IsError())
		}
	}
	for n := NotifyType(1); n < notifyTypesOfRFC2408; n++ {
		if notifyErrors[n] == "" {
			t.Errorf("%d has no name", n)
		}
	}
}
