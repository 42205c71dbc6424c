package concentrator

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

// statsFailed is for machines whose kernel does not count what XFRM drops.
func statsFailed(err error) bool { return err != nil && !errors.Is(err, os.ErrNotExist) }

func TestRows(t *testing.T) {
	play(t, 60, func(t *testing.T, b *bench) {
		direct, natted := b.connected(2), b.connected(1)
		ipsec := b.station(3)
		ipsec.noL2TP = true
		ipsec.dial()
		b.until("IPsec only", func() bool { return b.m.counts().sas == 6 })
		time.Sleep(10 * time.Second)
		api := b.c.API()

		tunnels, err := api.Tunnels(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		row := control.Tunnel{
			ID: 0x4000, PeerID: 101, State: "established", Role: "lns", Peer: direct.peer.Addr, PeerName: "lac", Identity: "198.51.100.2",
			Local: serverAddr, IKEState: "established", IKEAuth: "psk", IKEProposal: "aes256-sha256-ecp256", ESPProposal: "aes256-sha1",
			SPIIn: spi(direct.quick.Theirs), SPIOut: spi(direct.quick.Ours), Sessions: 1, UptimeSeconds: 11, RxBytes: 3000, TxBytes: 4000,
		}
		behind := row
		behind.ID, behind.Peer, behind.Local, behind.NATT, behind.Identity = 0x4001, natted.peer.Addr, netip.MustParseAddrPort("203.0.113.1:4500"), true, "192.168.0.5"
		behind.SPIIn, behind.SPIOut = spi(natted.quick.Theirs), spi(natted.quick.Ours)
		bare := behind
		bare.ID, bare.Peer, bare.PeerID, bare.PeerName, bare.State, bare.Sessions = 0x4002, ipsec.peer.Addr, 0, "", "ipsec", 0
		bare.SPIIn, bare.SPIOut, bare.RxBytes, bare.TxBytes = spi(ipsec.quick.Theirs), spi(ipsec.quick.Ours), 0, 0
		near := cmpopts.IgnoreFields(control.Tunnel{}, "UptimeSeconds")
		if diff := cmp.Diff([]control.Tunnel{row, behind, bare}, tunnels, near, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("tunnels:\n%s", diff)
		}
		if tunnels[2].UptimeSeconds != 10 {
			t.Errorf("up for %d s", tunnels[2].UptimeSeconds)
		}

		sessions, err := api.Sessions(t.Context())
		if err != nil || len(sessions) != 2 {
			t.Fatalf("sessions %+v, %v", sessions, err)
		}
		want := control.Session{
			ID: "16384-1", TunnelID: 0x4000, State: "established", User: "alice", IP: sessions[0].IP, Peer: direct.peer.Addr, Interface: "l2t16384-1",
			MTU: 1400, Auth: "mschapv2", UptimeSeconds: 10, RxBytes: 1000, TxBytes: 2000,
		}
		if diff := cmp.Diff(want, sessions[0], cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); diff != "" || !sessions[0].IP.Is4() {
			t.Errorf("session:\n%s", diff)
		}
		if sessions[1].ID != "16385-1" || sessions[1].Peer != natted.peer.Addr {
			t.Errorf("second session %+v", sessions[1])
		}

		sas, err := api.SAs(t.Context())
		if err != nil || len(sas) != 6 || sas[0].TunnelID != 0x4000 || sas[5].TunnelID != 0x4002 {
			t.Fatalf("SAs %+v, %v", sas, err)
		}
		for _, sa := range sas {
			in := sa.Direction == "in"
			if in != (sa.Dst == serverAddr.Addr()) || (sa.Packets > 0) != (sa.TunnelID != 0x4002) || in != (sa.Mark == 0x17010000|uint32(sa.TunnelID)) ||
				sa.Encryption != "aes256" || sa.Integrity != "sha1" || (sa.Encapsulation == "") != (sa.TunnelID == 0x4000) || sa.AgeSeconds < 10 {
				t.Errorf("SA %+v", sa)
			}
		}

		stats, err := api.Stats(t.Context())
		if statsFailed(err) {
			t.Fatal(err)
		}
		if stats.Tunnels != 2 || stats.Sessions != 2 || stats.IKE.Clients != 3 || stats.IKE.Established != 3 || stats.IKE.Children != 3 ||
			stats.L2TP.TunnelsUp != 2 || stats.L2TP.SessionsUp != 2 || stats.PPP.Processes != 2 || stats.PPP.Authenticated != 2 ||
			stats.PPP.PoolUsed != 2 || stats.Slots != (control.SlotStats{Used: 3, Free: 13}) || stats.UptimeSeconds < 10 ||
			stats.IKE.Received == 0 || stats.L2TP.Sent == 0 {
			t.Errorf("stats %+v", stats)
		}

		direct.leave()
		time.Sleep(time.Second)
		stats, _ = api.Stats(t.Context())
		if stats.Tunnels != 1 || stats.L2TP.TunnelsDown != 1 || stats.L2TP.SessionsDown != 1 || stats.Slots != (control.SlotStats{Used: 2, Resting: 1, Free: 13}) {
			t.Errorf("after one has left: %+v", stats)
		}
	})
}
