//go:build integration

package integration

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// onlySession returns an error unless the user's session is the only one.
func (f *fixture) onlySession(user string) error {
	sessions, err := f.Server.Sessions(f.ctx)
	if err == nil && (len(sessions) != 1 || sessions[0].User != user) {
		err = fmt.Errorf("the sessions are %+v", sessions)
	}
	return err
}

func TestWrongPSK(t *testing.T) {
	t.Parallel() // the client takes long to give up
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.PSK = "another key"
	alice := f.started(f.HomeClient("alice", o))
	if err := alice.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp: %v, want %v", err, lab.ErrIPsec)
	}
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "phase 1 failed", lab.NATAddress.String(), "probable PSK mismatch",
		"compare the pre-shared key of the client with the one configured for "+lab.NATAddress.String()))
	// All that the client sent after messages 1 and 3, which it may have repeated, was message 5, again and again.
	stats := f.stats().IKE
	refused := stats.Drops["authentication"]
	delete(stats.Drops, "duplicate")
	if stats.Failed == 0 || stats.Established != 0 || len(stats.Drops) != 1 || refused < 3 || refused > stats.Received-2 {
		t.Errorf("the counters should tell of a failure and of nothing but messages 5 dropped: %+v", stats)
	}
	f.empty()
}

func TestWrongPassword(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.Password = "not hers"
	alice := f.started(f.HomeClient("alice", o))
	if _, err := alice.Connect(f.ctx); !errors.Is(err, lab.ErrPPP) {
		t.Errorf("Connect: %v, want %v", err, lab.ErrPPP)
	}
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "authentication failed", lab.NATAddress.String(), "alice", "wrong password"))
	if stats := f.stats().PPP; stats.Rejected != 1 || stats.Authenticated != 0 {
		t.Errorf("1 login should have been rejected: %+v", stats)
	}
	f.empty() // its SAs and its slot as well, though the client keeps IPsec up
}

// TestWrongPasswordThenCDN has a client that fails and closes its call before the server's pppd is done with it: neither CHAP Failure nor LCP
// Terminate-Request reach the client.
func TestWrongPasswordThenCDN(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.Password = "not hers"
	alice := f.started(f.HomeClient("alice", o))
	f.must(alice.IPsecUp(f.ctx))
	f.must(alice.Nft(`table ip deaf {
	chain input {
		type filter hook input priority 0
		udp sport 1701 @th,112,40 { 0xff03c22304, 0xff03c02105 } drop
	}
}`)) // after the header of L2TP without a length, as the kernel sends it
	f.must(alice.StartDialing())
	f.must(f.Server.Says(f.ctx, 20*time.Second, "authentication failed", "wrong password"))
	f.must(alice.KillPPP())
	f.must(f.Server.Says(f.ctx, 30*time.Second, "session down", "wrong password", `"by_peer": true`))
	f.empty()
}

// TestNoCommonMethod has a client that authenticates by none of the methods that the server allows.
func TestNoCommonMethod(t *testing.T) {
	f := setUp(t, config("ppp:\n  auth: [mschapv2]\n", "alice"))
	o := options("alice")
	o.PPP = []string{"refuse-mschap-v2"}
	alice := f.started(f.HomeClient("alice", o))
	if _, err := alice.Connect(f.ctx); err == nil { // it may hear of the end of the tunnel first
		t.Error("Connect succeeded")
	}
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "authentication failed", lab.NATAddress.String(), "no method in common",
		"allow one of the accepted methods on the client"))
	f.empty()
}

func TestProposalMismatch(t *testing.T) {
	f := setUp(t, config(fmt.Sprintf("ike:\n  psk: %q\n  proposals: [aes256-sha256-modp3072]\n  esp_proposals: [aes256-sha256]\n", psk), "alice", "bob"))
	patient := options("alice") // what it sent twice would be refused twice
	patient.Patient = true
	alice := f.started(f.HomeClient("alice", patient)) // has another group
	if err := alice.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp with another group: %v, want %v", err, lab.ErrIPsec)
	}
	o := options("bob")
	o.Patient = true
	o.IKE = "aes256-sha256-modp3072" // the ESP proposal differs still
	bob := f.started(f.HomeClient("bob", o))
	if err := bob.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp with another ESP proposal: %v, want %v", err, lab.ErrIPsec)
	}
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "phase 1 failed", lab.NATAddress.String(), "no phase 1 proposal in common",
		"aes256-sha256-modp2048", "aes256-sha256-modp3072", "hint", "allow aes256-sha256-modp2048 in phase 1"))
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "phase 2 failed", lab.NATAddress.String(), "no phase 2 proposal in common",
		"aes256-sha1", "aes256-sha256", "hint", "aes256-sha1 in phase 2"))
	stats := f.stats().IKE
	if stats.Failed != 2 || stats.Established != 1 || stats.Children != 0 || len(stats.Drops) != 1 || stats.Drops["no_proposal"] != 2 {
		t.Errorf("the counters should tell of two refusals, one in each phase: %+v", stats)
	}
	f.must(bob.IPsecDown(f.ctx))
	f.empty()
}

// TestUnencryptedL2TP sends in the clear: SCCRQ and data with the ids of a client that is connected, to port 1701 over IPv4 and IPv6,
// and to the port of that client.
func TestUnencryptedL2TP(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.public("alice")
	session := f.connect(alice)
	ofTunnel, ofSession := f.kernelSession(session.TunnelID)
	arrivals := f.listen(f.Server.Namespace)
	mallory, v4, v6, err := f.PublicHost("mallory")
	f.must(err)

	before := f.stats()
	for _, target := range []struct{ from, to netip.AddrPort }{
		{netip.AddrPortFrom(v4, 1701), netip.AddrPortFrom(lab.ServerAddress, 1701)},
		{netip.AddrPortFrom(v6, 1701), netip.AddrPortFrom(lab.ServerAddress6, 1701)},
		{netip.AddrPortFrom(v4, 1702), netip.AddrPortFrom(lab.ServerAddress, session.TunnelID)},
	} {
		conn, err := mallory.UDP(target.from)
		f.must(err)
		defer conn.Close()
		for what, message := range map[string][]byte{
			"SCCRQ":            lab.SCCRQ(7, "mallory"),
			"data":             lab.DataPacket(ofTunnel, ofSession, false, udpFrame(session.IP, inner, "forged: in the clear")),
			"data with length": lab.DataPacket(ofTunnel, ofSession, true, udpFrame(session.IP, inner, "forged: in the clear, L bit")),
		} {
			answer, err := lab.Answer(conn, target.to, message, 300*time.Millisecond)
			if !errors.Is(err, lab.ErrSilence) {
				t.Errorf("%v answered a stranger's %s with %x (%v)", target.to, what, answer, err)
			}
		}
	}
	f.rises(6, "steering.plain_l2tp", before, func(s control.Stats) uint64 { return s.Steering["plain_l2tp"] })
	f.rises(3, "xfrm_stat.XfrmInTmplMismatch", before, func(s control.Stats) uint64 { return s.XfrmStat["XfrmInTmplMismatch"] })
	if got := arrivals.forged(); len(got) > 0 {
		t.Errorf("arrived: %q", got)
	}
	tunnels, err := f.Server.Tunnels(f.ctx)
	f.must(err)
	if len(tunnels) != 1 {
		t.Errorf("tunnels: %+v", tunnels)
	}
	f.pings(alice.Namespace, inner)
}
