//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// streams are pings through a session in both directions.
type streams map[string]*lab.PingStream

func (f *fixture) stream(c *lab.Client, session control.Session) streams {
	f.t.Helper()
	up, err := c.PingContinuously(f.ctx, inner, 20)
	f.must(err)
	down, err := f.Server.PingContinuously(f.ctx, session.IP, 20)
	f.must(err)
	return streams{"up": up, "down": down}
}

// lost stops the streams and expects at most some pings of each to be lost.
func (f *fixture) lost(s streams, most int) {
	f.t.Helper()
	for direction, stream := range s {
		pings, err := stream.Stop(40)
		f.must(err)
		f.t.Logf("%s: %d of %d pings lost", direction, pings.Lost(), pings.Sent)
		if pings.Lost() > most {
			f.t.Errorf("%s: %d of %d pings lost, want at most %d", direction, pings.Lost(), pings.Sent, most)
		}
	}
}

// onlyTunnel returns the only tunnel.
func (f *fixture) onlyTunnel() control.Tunnel {
	f.t.Helper()
	tunnels, err := f.Server.Tunnels(f.ctx)
	f.must(err)
	if len(tunnels) != 1 {
		f.t.Fatalf("there are tunnels %+v, want one", tunnels)
	}
	return tunnels[0]
}

// TestRekeyUnderTraffic has a client replace its ESP SAs (Quick Mode) and its ISAKMP SA (Main Mode) several times while pings pass.
func TestRekeyUnderTraffic(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.IPsec = []string{"rekey=yes", "lifetime=9s", "ikelifetime=14s", "margintime=5s", "rekeyfuzz=0%", "keyingtries=%forever"}
	o.KeepRekeyed = true
	alice := f.started(f.HomeClient("alice", o))
	session := f.connect(alice)
	first, before := f.onlyTunnel(), f.stats()
	pings := f.stream(alice, session)
	f.must(lab.Until(f.ctx, 90*time.Second, "the SAs are replaced", func() error {
		now, err := f.Server.Stats(f.ctx)
		if err != nil {
			return err
		}
		if children, phase1 := now.IKE.Children-before.IKE.Children, now.IKE.Established-before.IKE.Established; children < 3 || phase1 < 1 {
			return fmt.Errorf("%d new pairs of ESP SAs, %d new ISAKMP SAs", children, phase1)
		}
		return nil
	}))
	f.pings(alice.Namespace, inner)
	f.lost(pings, 0)
	last := f.onlyTunnel()
	if last.ID != first.ID || last.SPIIn == first.SPIIn || last.SPIOut == first.SPIOut {
		t.Errorf("the tunnel was %+v and is %+v", first, last)
	}
	if again, err := f.Server.SessionOf(f.ctx, "alice"); err != nil || again.ID != session.ID {
		t.Errorf("the session was %s and is %s (%v)", session.ID, again.ID, err)
	}
	sas, err := f.Server.SAs(f.ctx)
	f.must(err)
	if len(sas) > 8 { // the newest pair, those whose nine seconds are not over, and one that the client has not deleted yet
		t.Errorf("there are %d SAs: %+v", len(sas), sas)
	}
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

// TestRekeyByOctets has a client replace its ESP SAs after some kilobytes, with extended sequence numbers in them. The kernel's limits on our
// side come later than its own, so that none of them ends an SA.
func TestRekeyByOctets(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.ESP = "aes128-sha256-esn"
	o.IPsec = []string{"rekey=yes", "lifebytes=40000", "marginbytes=15000", "rekeyfuzz=0%"}
	alice := f.started(f.HomeClient("alice", o))
	session := f.connect(alice)
	states, err := f.Server.Namespace.Run(f.ctx, "ip", "-s", "xfrm", "state")
	f.must(err)
	for want, n := range map[string]int{"limit: soft 40000(bytes), hard 50000(bytes)": 2, "flag esn": 2} {
		if got := strings.Count(states, want); got != n {
			t.Errorf("%q is there %d times, want %d:\n%s", want, got, n, states)
		}
	}
	before := f.stats()
	pings := f.stream(alice, session)
	f.must(lab.Until(f.ctx, 4*time.Minute, "the ESP SAs are replaced", func() error {
		now, err := f.Server.Stats(f.ctx)
		if err == nil && now.IKE.Children-before.IKE.Children < 4 {
			err = fmt.Errorf("%d new pairs of ESP SAs", now.IKE.Children-before.IKE.Children)
		}
		return err
	}))
	f.lost(pings, 20) // here strongSwan deletes its old SA together with message 3, so what is under way to it may be lost: 200 ms each time
	sas, err := f.Server.SAs(f.ctx)
	f.must(err)
	if len(sas) > 4 { // the newest pair, and one that the client has not deleted yet
		t.Errorf("there are %d SAs: %+v", len(sas), sas)
	}
	for _, sa := range sas {
		if sa.Bytes >= 50000 {
			t.Errorf("an SA has gone to its hard limit: %+v", sa)
		}
	}
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

// TestPeerAsksDPD has a client that ends its connection unless the server answers R-U-THERE.
func TestPeerAsksDPD(t *testing.T) {
	t.Parallel()
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.IPsec = []string{"rekey=no", "dpdaction=clear", "dpddelay=1s", "dpdtimeout=15s"}
	alice := f.started(f.HomeClient("alice", o))
	session := f.connect(alice)
	for range 3 {
		mark, _ := alice.LogMarks()
		f.must(alice.CharonSays(f.ctx, mark, "N(DPD_ACK)"))
	}
	f.pings(f.Server.Namespace, session.IP)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

// TestNATRebinding has the NAT router give a connected client another port.
func TestNATRebinding(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.home("alice")
	session := f.connect(alice)
	first := f.onlyTunnel()
	pings := f.stream(alice, session)
	f.must(f.NAT.Rebind("eth0", 30000, 30999))
	f.must(lab.Until(f.ctx, 30*time.Second, "the tunnel has the client's new port", func() error {
		tunnels, err := f.Server.Tunnels(f.ctx)
		if err == nil && (len(tunnels) != 1 || tunnels[0].Peer.Port() < 30000 || tunnels[0].Peer.Port() > 30999) {
			err = fmt.Errorf("the tunnels are %+v", tunnels)
		}
		return err
	}))
	f.passesTraffic(alice, session)
	f.lost(pings, 60) // 3 s
	last := f.onlyTunnel()
	if last.ID != first.ID || last.SPIIn != first.SPIIn || last.Peer.Addr() != first.Peer.Addr() {
		t.Errorf("the tunnel was %+v and is %+v", first, last)
	}
	f.must(alice.Disconnect(f.ctx)) // IKE follows too
	f.empty()
}
