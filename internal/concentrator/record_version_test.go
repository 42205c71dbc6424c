package concentrator

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// TestRecordOfBefore: what an earlier daemon has written means the same to this one, name by name. A change of what is written has to
// leave the files as they are, and add others; one that would be misunderstood needs a new recordVersion.
func TestRecordOfBefore(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2030, 1, 1, 0, 0, seconds, 1, time.UTC) }
	ours, theirs := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddrPort("198.51.100.7:4500")
	before(t, "client", clientRecord{
		Version: 1, ID: 7, Port: 16385, Local: ours, Remote: theirs, Identity: "10.0.0.7", Kind: "windows", Links: 3, Opened: at(1), Idle: at(2), Lost: at(3),
		Children: map[ikev1.ChildID]childRecord{9: {
			In: xfrm.ID{Dst: ours, SPI: 0x1001}, Out: xfrm.ID{Dst: theirs.Addr(), SPI: 0x2002},
			InPlace: placementRecord{4, xfrm.Offload{Device: 4, Mode: xfrm.OffloadCrypto}}, OutPlace: placementRecord{5, xfrm.Offload{Device: 5, Mode: xfrm.OffloadPacket}},
			Encapsulated: true, Integrity: ikev1.HMACSHA256_128,
		}},
		Dialed: true, Judged: true, Proved: true, Ending: "over", Plain: 77,
	})
	before(t, "session", sessionRecord{
		Version: 1, Port: 16385, ID: 1234, N: 3, NAS: "NAS-0000000000000001", State: sessionEstablished, User: "alice", Method: "mschapv2",
		Address: netip.MustParseAddr("10.9.0.5"), Local: netip.MustParseAddr("10.9.0.1"), MTU: 1400, Created: at(4), Up: at(5), KillAt: at(6), Reason: "why",
		Failed: true, Unlinked: true, Running: true, Absent: true,
		Down: &l2tp.SessionDown{Tunnel: 16385, Session: 1234, PeerSession: 5, Reason: "CDN received", Result: l2tp.Result{Code: 3, Error: 2, Message: "bye"}, ByPeer: true, Established: true},
	})
	before(t, "login", loginRecord{Version: 1, SessionInfo: aaa.SessionInfo{
		Session: aaa.Session{NASID: "NAS-0000000000000001", PeerAddr: theirs.Addr()}, User: "alice", Method: aaa.MethodMSCHAPv2,
		Address: netip.MustParseAddr("10.9.0.5"), Up: true, Tries: 2, Superseded: true,
	}})
}

// before compares a record with the file that has it.
func before[T interface{ version() uint8 }](t *testing.T, file string, want T) {
	t.Helper()
	text, err := os.ReadFile("testdata/records/" + file + "-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	written, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord[T](written)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v (%v)", file, got, want, err)
	}
	if now, err := encodeRecord(want); err != nil || !bytes.Equal(now, written) {
		t.Errorf("%s: written now as %s, it was %s (%v)", file, diagnosed(now), diagnosed(written), err)
	}
}
