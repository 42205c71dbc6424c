package xfrm

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
)

func expireBytes(hard byte) []byte {
	b := append(inbound().info(), make([]byte, 8)...)
	b[sizeUserSAInfo] = hard
	return b
}

func mappingBytes(t testing.TB) []byte {
	return unhex(t, `c0000201 000000000000000000000000 c0ffee01 0200 32 00
		05400117
		c6336407 000000000000000000000000
		cb007109 000000000000000000000000
		03f3 fde8`)
}

// deletedBytes is DELSA of the inbound SA, with the SA in an attribute between others.
func deletedBytes() []byte {
	id := inbound().ID.marshal()
	b := appendAttribute(id, attrSADir, []byte{1})
	return appendAttribute(b, attrSA, inbound().info())
}

func TestParseEvent(t *testing.T) {
	id := ID{Dst: server4, SPI: 0xc0ffee01}
	for _, c := range []struct {
		name string
		kind netlink.HeaderType
		data []byte
		want Event
	}{
		{"soft", msgExpire, expireBytes(0), Expire{ID: id, ReqID: 0x17014005}},
		{"hard", msgExpire, expireBytes(1), Expire{ID: id, ReqID: 0x17014005, Hard: true}},
		{"mapping", msgMapping, mappingBytes(t), Mapping{
			ID: id, ReqID: 0x17014005,
			Old: netip.MustParseAddrPort("198.51.100.7:1011"), New: netip.MustParseAddrPort("203.0.113.9:65000"),
		}},
		{"deleted", msgDelSA, deletedBytes(), Deleted{ID: id, ReqID: 0x17014005}},
		{"flushed", msgFlushSA, []byte{50, 0, 0, 0}, Flushed{}},
		{"other messages are nothing", msgNewSA, inbound().appendTo(nil), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseEvent(c.kind, c.data)
			if err != nil {
				t.Fatal(err)
			}
			same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
			samePort := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
			if d := cmp.Diff(c.want, got, same, samePort); d != "" {
				t.Error(d)
			}
			if c.want == nil || c.kind == msgFlushSA {
				return
			}
			if c.kind == msgDelSA {
				c.data = c.data[:sizeUserSAID] // without the SA it is an event still
			}
			for n := range len(c.data) {
				if _, err := parseEvent(c.kind, c.data[:n]); err == nil {
					t.Errorf("%d octets were taken for an event", n)
				}
			}
		})
	}
}

func FuzzEvent(f *testing.F) {
	f.Add(uint16(msgExpire), expireBytes(1))
	f.Add(uint16(msgMapping), mappingBytes(f))
	f.Add(uint16(msgDelSA), deletedBytes())
	f.Fuzz(func(t *testing.T, kind uint16, b []byte) {
		e, err := parseEvent(netlink.HeaderType(kind), b)
		if m, ok := e.(Mapping); ok && err == nil && m.Old.Addr().Is4() != m.ID.Dst.Is4() {
			t.Errorf("%v mixes families", m)
		}
	})
}

func TestParseEvents(t *testing.T) {
	message := func(kind uint16, data []byte) []byte {
		b := make([]byte, 16, 16+len(data)+3)
		native.PutUint32(b, uint32(16+len(data)))
		native.PutUint16(b[4:], kind)
		b = append(b, data...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	both := append(message(uint16(msgFlushSA), []byte{50}), message(uint16(msgDelSA), deletedBytes())...)
	whole := len(parseEvents(append([]byte(nil), both...)))
	if whole != 2 {
		t.Fatalf("%d events of two", whole)
	}
	for n := range both {
		if got := len(parseEvents(append([]byte(nil), both[:n]...))); got >= whole {
			t.Errorf("%d octets of %d gave %d events", n, len(both), got)
		}
	}
	if parseEvents(both); slices.Max(both) != 0 {
		t.Error("octets are left in the buffer, where keys are")
	}
}
