package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

// still is a backend whose world stands still, except that closing is remembered.
type still struct {
	closed  []string
	refusal error // of a reload
}

func (*still) Tunnels(context.Context) ([]control.Tunnel, error) {
	peer := netip.MustParseAddrPort
	return []control.Tunnel{
		{
			ID: 16384, PeerID: 7, State: "established", Role: "lns", Peer: peer("203.0.113.9:49152"), PeerName: "DESKTOP-1",
			Identity: "192.168.1.20", NATT: true, Local: peer("198.51.100.1:4500"), IKEState: "established", IKEAuth: "psk", IKEProposal: "aes256-sha256-modp2048",
			ESPProposal: "aes256-sha1", SPIIn: "0xc0ffee01", SPIOut: "0x0badcafe", Sessions: 1, UptimeSeconds: 93784, RxBytes: 1536, TxBytes: 5 << 30,
		},
		{ID: 16385, State: "wait-ctl-conn", Role: "lns", Peer: peer("[2001:db8::9]:1701"), PeerName: "evil\x1b[2J\ttab\nline\u202e\xff", ESPProposal: "aes128gcm16", UptimeSeconds: 65, RxBytes: 999},
	}, nil
}

func (*still) Sessions(context.Context) ([]control.Session, error) {
	ip := netip.MustParseAddr
	return []control.Session{
		{ID: "16384-10", TunnelID: 16384, State: "established", User: "alice", IP: ip("10.99.0.10"), Interface: "l2t16384-10", MTU: 1400, Auth: "mschapv2", UptimeSeconds: 3700, RxBytes: 5, TxBytes: 2048},
		{ID: "16384-2", TunnelID: 16384, State: "established", User: "bob", IP: ip("10.99.0.9"), Interface: "l2t16384-2", MTU: 1400, Auth: "pap", UptimeSeconds: 5},
		{ID: "16385-1", TunnelID: 16385, State: "wait-connect"},
	}, nil
}

func (*still) Drift(context.Context) ([]control.Drift, error) { return nil, nil }

func (*still) SAs(context.Context) ([]control.SA, error) {
	ip := netip.MustParseAddr
	return []control.SA{
		{TunnelID: 16384, Direction: "in", SPI: "0xc0ffee01", Src: ip("203.0.113.9"), Dst: ip("198.51.100.1"), ReqID: 0x17014000, Mark: 0x17014000, Encryption: "aes256", Integrity: "sha1", Encapsulation: "udp 49152-4500", Bytes: 1 << 20, Packets: 900, AgeSeconds: 59},
		{TunnelID: 16384, Direction: "out", SPI: "0x0badcafe", Src: ip("198.51.100.1"), Dst: ip("203.0.113.9"), ReqID: 0x17014000, Encryption: "aes128gcm16", ReplayErrors: 3},
	}, nil
}

func (*still) Stats(context.Context) (control.Stats, error) {
	return control.Stats{
		UptimeSeconds: 77, Tunnels: 2, Sessions: 3, Goroutines: 12,
		IKE:      control.IKEStats{Clients: 2, Received: 9, Drops: map[string]uint64{"malformed": 1, "cookie": 2}},
		Slots:    control.SlotStats{Used: 2, Exhausted: 5},
		Errors:   control.ErrorStats{InboxFull: 6, Panics: 1, Send: 7, Kernel: 2, Runts: 9, Restored: 3, Unrestored: 8},
		Steering: map[string]uint64{"cleartext": 4},
		XfrmStat: map[string]uint64{"XfrmInNoStates": 8},
	}, nil
}

func (*still) Events(_ context.Context, q control.EventQuery) ([]control.Event, uint64, error) {
	at := func(second int) time.Time { return time.Date(2026, 3, 1, 9, 30, second, 500_000_000, time.UTC) }
	peer := netip.MustParseAddrPort("203.0.113.9:49152")
	all := []control.Event{
		{Seq: 1, Time: at(1), Severity: "info", Kind: "daemon_started", Text: "the daemon has started"},
		{Seq: 2, Time: at(2), Severity: "warning", Kind: "client_failed", Peer: peer, ClientKind: "android", Cause: "android_modp1024",
			Text: "no phase 1 proposal in common: this Android knows no other group than modp1024", Hint: "set ike.profile to legacy",
			Offered: "aes256-sha384-modp1024, aes256-sha256-modp1024", Allowed: strings.Repeat("aes256-sha256-modp2048, ", 13) + "aes128-sha1-ecp256"},
		{Seq: 3, Time: at(3), Severity: "info", Kind: "session_up", Peer: peer, ClientID: 4, TunnelID: 16384, SessionID: "16384-1", User: "alice",
			Identity: "192.168.1.20", ClientKind: "windows", Text: "10.99.0.10 on l2t16384-1"},
		{Seq: 4, Time: at(4), Severity: "warning", Kind: "auth_rejected", Peer: peer, ClientID: 5, TunnelID: 16385, SessionID: "16385-1", User: "evil\x1b[2J\u202e",
			Identity: "a\tb", Cause: "wrong_password", Text: "wrong password", Hint: `see HKLM\SYSTEM\Policy` + "\x1b"},
	}
	selected := slices.DeleteFunc(slices.Clone(all), func(e control.Event) bool { return e.Seq <= q.Since })
	if q.Limit > 0 && len(selected) > q.Limit {
		selected = selected[len(selected)-q.Limit:]
	}
	return selected, uint64(len(all)), nil
}

// NextEvents ends the streams when they have told of all.
func (*still) NextEvents(context.Context, uint64) ([]control.Event, error) { return nil, io.EOF }

func (s *still) CloseTunnel(_ context.Context, id uint16) error {
	if id != 16384 {
		return fmt.Errorf("tunnel %d: %w", id, control.ErrNotFound)
	}
	s.closed = append(s.closed, "tunnel")
	return nil
}

func (s *still) CloseSession(_ context.Context, id string) error {
	if !strings.HasPrefix(id, "16384-") {
		return fmt.Errorf("session %q: %w", id, control.ErrNotFound)
	}
	s.closed = append(s.closed, id)
	return nil
}

// Reload shows what each kind of change looks like, or what the test says.
func (s *still) Reload(context.Context) (control.Reload, error) {
	return control.Reload{
		Changes: []control.Change{
			{Effect: "now", Key: "ike.psk", New: "changed"},
			{Effect: "now", Key: "users[evil\x1b]", New: "removed"},
			{Effect: "reconnect", Key: "ppp.mtu", Old: "1400", New: "1300"},
			{Effect: "restart", Key: "listen", Old: "0.0.0.0, ::", New: "192.0.2.1"},
		},
		Notes:    []string{"evil\x1b: removed; session 16384-1 goes on until it ends: l2tpctl session disconnect 16384-1"},
		Warnings: []string{"/etc/c.yaml:1:2: ike.psk: short"},
	}, s.refusal
}
