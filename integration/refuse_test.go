//go:build integration

package integration

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
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
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.PSK = "another key"
	alice := f.started(f.HomeClient("alice", o))
	if err := alice.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp: %v, want %v", err, lab.ErrIPsec)
	}
	if drops := f.stats().IKE.Drops; drops["authentication"] == 0 && drops["malformed"] == 0 {
		t.Errorf("no counter tells of the wrong key: %v", drops)
	}
	f.empty(60 * time.Second)
}

func TestWrongPassword(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.Password = "not hers"
	alice := f.started(f.HomeClient("alice", o))
	if _, err := alice.Connect(f.ctx); !errors.Is(err, lab.ErrPPP) {
		t.Errorf("Connect: %v, want %v", err, lab.ErrPPP)
	}
	if rejected := f.stats().PPP.Rejected; rejected == 0 {
		t.Error("no login was counted as rejected")
	}
	f.must(lab.Until(f.ctx, 20*time.Second, "the session is gone", func() error {
		sessions, err := f.Server.Sessions(f.ctx)
		if err == nil && len(sessions) > 0 {
			err = fmt.Errorf("the sessions are %+v", sessions)
		}
		return err
	}))
	f.must(alice.IPsecDown(f.ctx))
	f.empty(15 * time.Second)
}

func TestProposalMismatch(t *testing.T) {
	f := setUp(t, config(fmt.Sprintf("ike:\n  psk: %q\n  proposals: [aes256-sha256-modp3072]\n  esp_proposals: [aes256-sha256]\n", psk), "alice", "bob"))
	alice := f.home("alice") // has another group
	if err := alice.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp with another group: %v, want %v", err, lab.ErrIPsec)
	}
	o := options("bob")
	o.IKE = "aes256-sha256-modp3072" // the ESP proposal differs still
	bob := f.started(f.HomeClient("bob", o))
	if err := bob.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp with another ESP proposal: %v, want %v", err, lab.ErrIPsec)
	}
	if failed := f.stats().IKE.Failed; failed < 2 {
		t.Errorf("%d failed exchanges were counted, want 2", failed)
	}
	f.must(bob.IPsecDown(f.ctx))
	f.empty(60 * time.Second)
}

// TestUnencryptedL2TP sends SCCRQ in the clear: to port 1701, and to the port of a client that is connected.
func TestUnencryptedL2TP(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.public("alice")
	session := f.connect(alice)
	mallory, address, _, err := f.PublicHost("mallory")
	f.must(err)
	conn, err := mallory.UDP(netip.AddrPortFrom(address, 1701))
	f.must(err)
	defer conn.Close()

	before := f.stats()
	for _, port := range []uint16{1701, session.TunnelID} {
		for range 3 {
			answer, err := lab.Answer(conn, netip.AddrPortFrom(lab.ServerAddress, port), lab.SCCRQ(7, "mallory"), 300*time.Millisecond)
			if !errors.Is(err, lab.ErrSilence) {
				t.Errorf("port %d answered a stranger's SCCRQ with %x (%v)", port, answer, err)
			}
		}
	}
	after := f.stats()
	if got := after.Steering["plain_l2tp"] - before.Steering["plain_l2tp"]; got != 3 {
		t.Errorf("counter steering.plain_l2tp rose by %d, want 3", got)
	}
	if got := after.XfrmStat["XfrmInTmplMismatch"] - before.XfrmStat["XfrmInTmplMismatch"]; got != 3 {
		t.Errorf("counter xfrm_stat.XfrmInTmplMismatch rose by %d, want 3; steering %v, xfrm_stat %v", got, after.Steering, after.XfrmStat)
	}
	tunnels, err := f.Server.Tunnels(f.ctx)
	f.must(err)
	if len(tunnels) != 1 {
		t.Errorf("tunnels: %+v", tunnels)
	}
	f.pings(alice.Namespace, inner)
}
