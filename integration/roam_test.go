//go:build integration

package integration

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// resettle gives the NAT another address, and waits until the server knows that its clients are there.
func (f *fixture) resettle(from, to netip.Addr) {
	f.t.Helper()
	began := time.Now()
	f.must(f.NAT.Resettle("eth0", netip.PrefixFrom(from, 24), netip.PrefixFrom(to, 24)))
	f.must(lab.Until(f.ctx, 60*time.Second, "the clients are at "+to.String(), func() error {
		tunnels, err := f.Server.Tunnels(f.ctx)
		if err != nil {
			return err
		}
		for _, t := range tunnels {
			if t.Peer.Addr() != to {
				return fmt.Errorf("tunnel %d is with %v", t.ID, t.Peer)
			}
		}
		return nil
	}))
	f.t.Logf("after %v the clients are at %v", time.Since(began).Round(time.Millisecond), to)
}

// same expects the session of a user to be the one that it was.
func (f *fixture) same(session control.Session) {
	f.t.Helper()
	now, err := f.Server.SessionOf(f.ctx, session.User)
	f.must(err)
	if now.ID != session.ID || now.Interface != session.Interface || now.IP != session.IP {
		f.t.Errorf("the session was %+v and is %+v", session, now)
	}
}

var elsewhere = netip.MustParseAddr("192.0.2.77")

// TestRoaming has the NAT of two clients with traffic move to another address and back. They notice nothing but some lost packets.
func TestRoaming(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	alice, bob := f.home("alice"), f.home("bob")
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	before := f.stats()
	pings := []streams{f.stream(alice, ofAlice), f.stream(bob, ofBob)}
	f.resettle(lab.NATAddress, elsewhere)
	time.Sleep(3 * time.Second)
	f.pings(alice.Namespace, inner)
	f.pings(f.Server.Namespace, ofBob.IP)
	f.resettle(elsewhere, lab.NATAddress)
	time.Sleep(3 * time.Second)
	f.bothPassTraffic(alice, bob, ofAlice, ofBob)
	for _, s := range pings {
		f.lost(s, 60) // of both moves, one and a half seconds each
	}
	f.same(ofAlice)
	f.same(ofBob)
	after := f.stats()
	if after.IKE.Established != before.IKE.Established || after.IKE.Children != before.IKE.Children {
		t.Errorf("somebody had to negotiate anew: %+v, before %+v", after.IKE, before.IKE)
	}
	moves, err := f.Server.Events(f.ctx, "client_moved")
	f.must(err)
	if len(moves) != 4 {
		t.Errorf("events %+v, want one for each client and move", moves)
	}
	f.sameAsWanted()
	f.must(alice.Disconnect(f.ctx))
	f.must(bob.Disconnect(f.ctx))
	f.empty()
}

// TestRoamingSilently is a client without traffic but for what daemons say to each other; afterwards it rekeys and says goodbye.
func TestRoamingSilently(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.KeepRekeyed = true
	o.IPsec = []string{"rekey=yes", "lifetime=20s", "margintime=5s", "rekeyfuzz=0%", "keyingtries=%forever", "dpddelay=2s", "dpdtimeout=60s", "dpdaction=clear"}
	alice := f.started(f.HomeClient("alice", o))
	session := f.connect(alice)
	first := f.onlyTunnel()
	f.resettle(lab.NATAddress, elsewhere)
	f.pings(alice.Namespace, inner)
	f.pings(f.Server.Namespace, session.IP)
	pings := f.stream(alice, session)
	f.must(lab.Until(f.ctx, 90*time.Second, "the SAs are replaced", func() error {
		if now := f.onlyTunnel(); now.SPIIn == first.SPIIn {
			return fmt.Errorf("the SAs are those of the beginning")
		}
		return nil
	}))
	time.Sleep(3 * time.Second)
	f.lost(pings, 0)
	f.same(session)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}
