package l2tpnl

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"
)

var sameAddresses = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// notification is what the kernel multicasts for a command: with the flag of an acknowledgement and the requester's port.
func notification(t testing.TB, family uint16, command uint8, fn func(*netlink.AttributeEncoder)) netlink.Message {
	t.Helper()
	e := netlink.NewAttributeEncoder()
	fn(e)
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(family), Flags: netlink.Acknowledge, Sequence: 99, PID: 4711},
		Data:   append([]byte{command, 1, 0, 0}, data...),
	}
}

func tunnelBody(version uint8) func(*netlink.AttributeEncoder) {
	return func(e *netlink.AttributeEncoder) {
		e.Uint8(attrProtoVersion, version)
		e.Uint32(attrConnID, 16384)
		e.Uint32(attrPeerConnID, 7)
		e.Uint16(attrEncapType, encapTypeUDP)
		e.Nested(attrStats, encodeStats(Stats{TxPackets: 11, RxErrors: 3}))
		e.Uint16(attrUDPSport, 16384)
		e.Uint16(attrUDPDport, 1701)
		e.Bytes(attrIPSaddr, []byte{192, 0, 2, 1})
		e.Bytes(attrIPDaddr, []byte{198, 51, 100, 7})
	}
}

func sessionBody(kind uint16) func(*netlink.AttributeEncoder) {
	return func(e *netlink.AttributeEncoder) {
		e.Uint32(attrConnID, 16384)
		e.Uint32(attrSessionID, 3)
		e.Uint32(attrPeerConnID, 7)
		e.Uint32(attrPeerSessionID, 9)
		e.Uint16(attrPWType, kind)
		e.Uint8(attrSendSeq, 1)
		e.Nested(attrStats, encodeStats(Stats{RxSeqDiscards: 4, RxOOS: 5}))
	}
}

// TestMonitor plays a kernel that tells of things, some of which are none of ours, and then loses some.
func TestMonitor(t *testing.T) {
	wantTunnel := Tunnel{ID: 16384, PeerID: 7, FD: -1, Local: netip.MustParseAddrPort("192.0.2.1:16384"),
		Remote: netip.MustParseAddrPort("198.51.100.7:1701"), Stats: Stats{TxPackets: 11, RxErrors: 3}}
	wantSession := Session{TunnelID: 16384, ID: 3, PeerTunnelID: 7, PeerID: 9, SendSeq: true, Stats: Stats{RxSeqDiscards: 4, RxOOS: 5}}
	tunnel := func(command uint8) netlink.Message {
		return notification(t, testFamily, command, tunnelBody(protoVersion2))
	}
	session := func(command uint8) netlink.Message {
		return notification(t, testFamily, command, sessionBody(pwTypePPP))
	}
	steps := []struct {
		told []netlink.Message
		err  error
		want []Event
		fail error
	}{
		{told: []netlink.Message{tunnel(1)}, want: []Event{TunnelEvent{Created, wantTunnel}}},
		{told: []netlink.Message{tunnel(3), session(5), session(7)},
			want: []Event{TunnelEvent{Modified, wantTunnel}, SessionEvent{Created, wantSession}, SessionEvent{Modified, wantSession}}},
		{err: unix.ENOBUFS, fail: ErrOverrun},
		{told: []netlink.Message{
			notification(t, testFamily, 2, tunnelBody(3)),                                                        // L2TPv3
			notification(t, testFamily, 6, sessionBody(5)),                                                       // Ethernet
			notification(t, testFamily+1, 2, tunnelBody(protoVersion2)),                                          // of another family
			notification(t, testFamily, 200, tunnelBody(protoVersion2)),                                          // of a later kernel
			notification(t, testFamily, 2, func(e *netlink.AttributeEncoder) { e.Bytes(attrConnID, []byte{1}) }), // cut off
		}},
		{told: []netlink.Message{session(6), tunnel(2)}, want: []Event{SessionEvent{Deleted, wantSession}, TunnelEvent{Deleted, wantTunnel}}},
		{err: unix.EBADF, fail: unix.EBADF},
	}
	next := 0
	m := &Monitor{family: testFamily, c: genetlink.NewConn(nltest.Dial(func([]netlink.Message) ([]netlink.Message, error) {
		s := steps[next]
		next++
		return s.told, s.err
	}))}
	for _, s := range steps {
		if s.want == nil && s.fail == nil {
			continue // Receive goes on to the next
		}
		got, err := m.Receive()
		if !errors.Is(err, s.fail) {
			t.Fatalf("%v, want %v", err, s.fail)
		}
		if diff := cmp.Diff(s.want, got, sameAddresses); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	}
	if next != len(steps) {
		t.Errorf("%d of %d datagrams were read", next, len(steps))
	}

	closing := &Monitor{family: testFamily, c: genetlink.NewConn(nltest.Dial(func([]netlink.Message) ([]netlink.Message, error) {
		return nil, unix.EBADF
	}))}
	_ = closing.Close()
	if _, err := closing.Receive(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestChangeString(t *testing.T) {
	for c, want := range map[Change]string{Created: "created", Modified: "modified", Deleted: "deleted", 9: "change 9"} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzEvent checks that an event is of the kind that its command tells of.
func FuzzEvent(f *testing.F) {
	for command := range uint8(9) {
		f.Add(command, notification(f, testFamily, command, tunnelBody(protoVersion2)).Data[4:])
		f.Add(command, notification(f, testFamily, command, sessionBody(pwTypePPP)).Data[4:])
	}
	f.Fuzz(func(t *testing.T, command uint8, data []byte) {
		e, err := decodeEvent(command, data)
		if err != nil && e != nil {
			t.Fatalf("%v and %v", e, err)
		}
		switch e := e.(type) {
		case nil:
		case TunnelEvent:
			if command < cmdTunnelCreate || command > cmdTunnelModify || e.Change != changes[command] {
				t.Errorf("%v of command %d", e, command)
			}
		case SessionEvent:
			if command < cmdSessionCreate || command > cmdSessionModify || e.Change != changes[command] {
				t.Errorf("%v of command %d", e, command)
			}
		}
	})
}
