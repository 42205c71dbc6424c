//go:build integration

package integration

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/doctor"
)

// TestFewSlots has a block of 16 ports, of which a program listens on 14: the daemon says so at its start, gives its clients the other
// two, refuses the third client with the reason, and doctor tells the same.
func TestFewSlots(t *testing.T) {
	t.Parallel() // a client that is refused takes long to give up
	f := setUp(t, config("slots:\n  port_base: 16384\n  port_mask: 0xFFF0\n", "alice", "bob", "carol"))
	f.must(f.Server.Stop())
	var programs []*net.UDPConn
	for port := range uint16(14) {
		conn, err := f.Server.UDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 16384+port))
		f.must(err)
		programs = append(programs, conn)
	}
	f.must(f.Server.Start(f.ctx))
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "clients' ports", "UDP 16384, 16385, 16386, 16387, 16388, and 9 more", "ip_local_reserved_ports"))
	alice, bob, carol := f.home("alice"), f.public("bob"), f.public("carol")
	a, b := f.connect(alice), f.connect(bob)
	if a.TunnelID != 16398 || b.TunnelID != 16399 {
		t.Errorf("the slots are %d and %d", a.TunnelID, b.TunnelID)
	}
	findings, err := f.Server.Doctor(f.ctx) // slots rest for a minute: no time to wait for carol first
	f.must(err)
	for _, want := range []doctor.Finding{
		{Status: doctor.Warn, Name: "clients' ports", Detail: "UDP 16384, 16385, 16386, 16387, 16388, and 9 more: in use by"},
		{Status: doctor.Fail, Name: "slots", Detail: "2 in use, 14 resting, 0 free"},
	} {
		found := false
		for _, got := range findings {
			found = found || got.Status == want.Status && got.Name == want.Name && strings.Contains(got.Detail, want.Detail) && got.Fix != ""
		}
		if !found {
			t.Errorf("doctor does not say %+v: %+v", want, findings)
		}
	}
	if err := carol.IPsecUp(f.ctx); err == nil {
		t.Error("there was a slot for carol")
	}
	refused, err := f.Server.Events(f.ctx, "client_failed")
	f.must(err)
	if len(refused) == 0 || refused[0].Cause != "no_slot" || !strings.Contains(refused[0].Hint, "slots.port_mask") {
		t.Errorf("carol's failure is %+v", refused)
	}
	taken, err := f.Server.Events(f.ctx, "slot_port_taken")
	f.must(err)
	if len(taken) != 14 {
		t.Errorf("%d ports are told to be taken: %+v", len(taken), taken)
	}
	f.passesTraffic(alice, a)
	f.must(alice.Disconnect(f.ctx))
	f.must(bob.Disconnect(f.ctx))
	f.must(carol.IPsecDown(f.ctx))
	for _, conn := range programs {
		conn.Close()
	}
	f.empty()
}
