package protocol

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

var update = flag.Bool("update", false, "write testdata/version1 anew")

// bodies are one of each, with every field set.
func bodies() []any {
	local, remote := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("[2001:db8::7]:4500")
	setup := Setup{
		Listen: []netip.Addr{local},
		Steering: steering.Config{
			Table: "t", Tag: 0x1701, PortBase: 0x4000, PortMask: 0xc000, InterfacePrefix: "l2t",
			PlainPeers: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, PlainBase: 0x2000, PlainMask: 0xe000,
		},
		Marker: "l2tpctl-l2t-",
	}
	process := Process{Interface: "l2t16384-1", Name: "nas", Tunnel: 16384, Session: 7, PID: 99, Started: 1, Exit: &pppd.Exit{Code: 16, Signal: 9, Reason: "gone"}}
	return []any{
		&Hello{Protocol: 1, Build: "v1"},
		&Welcome{Protocol: 1, Build: "v1", PID: 3, ForServe: true, Secret: "s", Setup: &setup},
		&setup,
		&Store{Changes: []Change{{Key: "k", Value: []byte("v")}, {Key: "gone"}, {Key: "empty", Value: []byte{}}}},
		&Name{Name: "n"},
		&Inventory{
			IKE:       []IKESocket{{Local: remote, Encapsulated: true, Initials: true, File: 1}},
			Clients:   []Client{{Local: remote, Remote: remote, Open: 2, Tunnel: 3}},
			Sessions:  []SessionID{{Tunnel: 1, Session: 2}},
			Processes: []Process{process},
			Records:   []Change{{Key: "k", Value: []byte("v")}},
			Held:      []Held{{Name: "control", File: 4}},
			Plain:     []PlainSocket{{Local: remote, File: 5}},
		},
		&xfrm.State{
			ID: xfrm.ID{Dst: local, SPI: 0xc0ffee01}, Src: netip.MustParseAddr("192.0.2.2"), ReqID: 0x17014000,
			Selector: xfrm.Selector{
				Src: netip.MustParsePrefix("192.0.2.2/32"), Dst: netip.MustParsePrefix("192.0.2.1/32"), Proto: 17,
				SrcPort: 1, SrcPortMask: 2, DstPort: 3, DstPortMask: 4, Family: 2,
			},
			Mode: xfrm.ModeTunnel, Crypt: xfrm.AESCBC([]byte("0123456789abcdef")), Auth: xfrm.HMACSHA256([]byte("key")), AEAD: xfrm.AESGCM16([]byte("aead")),
			Encap: &xfrm.Encap{SrcPort: 4500, DstPort: 1024}, OutputMark: xfrm.Mark{Value: 1, Mask: 2}, Direction: xfrm.In, ESN: true, ReplayWindow: 1024,
			Sequence: xfrm.Sequence{Sent: 1, Received: 2}, MappingThreshold: 5 * time.Second,
			Soft: xfrm.Limit{Bytes: 1, Time: time.Second}, Hard: xfrm.Limit{Bytes: 2, Time: time.Minute}, Offload: xfrm.Offload{Device: 3, Mode: xfrm.OffloadCrypto},
			Stats: xfrm.Stats{
				Bytes: 1, Packets: 2, AddTime: time.Unix(1_700_000_000, 0), UseTime: time.Unix(1_700_000_001, 0),
				ReplayFailed: 3, WindowFailed: 4, IntegrityFailed: 5,
			},
		},
		&SAMove{ID: xfrm.ID{Dst: local, SPI: 1000}, To: xfrm.Place{
			Src: remote.Addr(), Dst: local, Encap: &xfrm.Encap{SrcPort: 1, DstPort: 2},
			Selector: xfrm.Selector{Src: netip.PrefixFrom(remote.Addr(), 32), Proto: 17, DstPort: 0x4000, DstPortMask: 0xffff},
		}},
		&Tunnel{ID: 16384, PeerID: 1},
		&TunnelID{ID: 16384},
		&l2tpnl.Tunnel{
			ID: 1, PeerID: 2, FD: -1, Local: remote, Remote: remote, NoChecksum: true,
			Stats: l2tpnl.Stats{TxPackets: 1, TxBytes: 2, TxErrors: 3, RxPackets: 4, RxBytes: 5, RxErrors: 6, RxSeqDiscards: 7, RxOOS: 8, RxInvalid: 9, RxCookieDiscards: 10},
		},
		&Session{Tunnel: 1, Session: 2, PeerTunnel: 3, PeerSession: 4},
		&l2tpnl.Session{
			TunnelID: 1, ID: 2, PeerID: 3, LNSMode: true, SendSeq: true, RecvSeq: true, ReorderTimeout: time.Second, Debug: 1, PeerTunnelID: 4,
			Interface: "i", UsingIPsec: true, Stats: l2tpnl.Stats{TxPackets: 1},
		},
		&OpenClient{Local: local, Port: 16384, Mark: 0x17014000},
		&Connect{Port: 16384, Remote: remote},
		&Port{Port: 16384},
		&PPP{
			Name: "nas", Interface: "l2t16384-1", Tunnel: 16384, Session: 1, LocalIP: local, DNS: []netip.Addr{local}, MTU: 1400, MRU: 1401,
			Auth: 7, EchoInterval: time.Second, EchoFailure: 4, Peer: local,
		},
		&Line{Interface: "i", Text: "t"},
		&Counters{Packets: map[string]uint64{"a": 1}},
		&Intact{Intact: true},
		&Way{Local: local, Remote: local, ReqID: 1},
		&Restoration{Missing: true, PID: 1, Process: "nft", Err: &Error{Text: "e"}},
		&Error{Text: "e", Errno: uint32(unix.EPERM), Names: []string{"exist"}, XFRM: &KernelError{Op: "o", Message: "m"}, Refusal: &Refusal{Oldest: 1, Newest: 2, Build: "v", BusyWith: 3}},
	}
}

// TestVersion1 compares what is written with what was written when the version was made: old keepers meet new daemons. A change here that does not
// only add a field is a new version.
func TestVersion1(t *testing.T) {
	var lines strings.Builder
	for _, body := range bodies() {
		b, err := Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s %s\n", reflect.TypeOf(body).Elem(), hex.EncodeToString(b))
	}
	path := filepath.Join("testdata", "version1")
	if *update {
		if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines.String() != string(want) {
		t.Errorf("written now:\n%sin version 1:\n%s", lines.String(), want)
	}
}

func TestBodiesComeBack(t *testing.T) {
	for _, body := range bodies() {
		b, err := Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		empty := reflect.New(reflect.TypeOf(body).Elem()).Interface()
		nothing, err := Marshal(empty)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range [][]byte{b, nothing} {
			got := reflect.New(reflect.TypeOf(body).Elem()).Interface()
			if err := Unmarshal(want, got); err != nil {
				t.Fatalf("%T: %v", body, err)
			}
			again, err := Marshal(got)
			if err != nil || !bytes.Equal(again, want) {
				t.Errorf("%T came back as %+v, %v", body, got, err)
			}
		}
		for n := range b {
			if err := Unmarshal(b[:n], reflect.New(reflect.TypeOf(body).Elem()).Interface()); !errors.Is(err, ErrMalformed) {
				t.Errorf("%T: %d octets of %d: %v", body, n, len(b), err)
			}
		}
	}
}

// TestFieldsAreSet finds fields that bodies leaves out, and with which the other tests would prove nothing.
func TestFieldsAreSet(t *testing.T) {
	for _, body := range bodies() {
		v := reflect.ValueOf(body).Elem()
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && v.Field(i).IsZero() {
				t.Errorf("%s.%s", v.Type(), f.Name)
			}
		}
	}
}

func TestRecordsTellNothingFromEmpty(t *testing.T) {
	b, err := Marshal(Store{Changes: []Change{{Key: "gone"}, {Key: "empty", Value: []byte{}}}})
	if err != nil {
		t.Fatal(err)
	}
	var s Store
	if err := Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if s.Changes[0].Value != nil || s.Changes[1].Value == nil {
		t.Errorf("%#v", s.Changes)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	w := Welcome{Build: "v1", Secret: "hush"}
	for _, text := range []string{fmt.Sprint(w), fmt.Sprintf("%+v", w), fmt.Sprintf("%#v", &w), fmt.Sprintf("%s", w)} {
		if strings.Contains(text, "hush") {
			t.Error(text)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for i, body := range bodies() {
		b, err := Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, b)
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		all := bodies()
		kind := reflect.TypeOf(all[uint(i)%uint(len(all))]).Elem()
		got := reflect.New(kind).Interface()
		if Unmarshal(b, got) != nil {
			return
		}
		again, err := Marshal(got)
		if err != nil {
			return // such as a netip.Addr with a zone of bad UTF-8
		}
		same := reflect.New(kind).Interface()
		if err := Unmarshal(again, same); err != nil {
			t.Fatalf("%+v: %v", got, err)
		}
	})
}
