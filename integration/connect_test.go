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

// TestSmoke is the shortest proof of the main job: one client up, pings both ways, down, nothing left.
func TestSmoke(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.home("alice")
	session := f.connect(alice)
	f.pings(alice.Namespace, inner)
	f.pings(f.Server.Namespace, session.IP)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

func TestOneClientWithoutNAT(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.public("alice")
	session := f.connect(alice)
	tunnels, err := f.Server.Tunnels(f.ctx)
	f.must(err)
	if len(tunnels) != 1 || tunnels[0].NATT || tunnels[0].IKEProposal != "aes256-sha256-modp2048" || tunnels[0].ESPProposal != "aes256-sha1" {
		t.Errorf("tunnel list: %+v", tunnels)
	}
	f.passesTraffic(alice, session)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

func TestOneClientBehindNAT(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.home("alice")
	session := f.connect(alice)
	tunnels, err := f.Server.Tunnels(f.ctx)
	f.must(err)
	if len(tunnels) != 1 || !tunnels[0].NATT || tunnels[0].Peer.Addr() != lab.NATAddress {
		t.Errorf("tunnel list: %+v", tunnels)
	}
	f.passesTraffic(alice, session)
	sas, err := f.Server.SAs(f.ctx)
	f.must(err)
	if len(sas) != 2 {
		t.Errorf("there are %d SAs, want 2: %+v", len(sas), sas)
	}
	for _, sa := range sas {
		if sa.Bytes == 0 || sa.Encapsulation == "" {
			t.Errorf("SA without traffic or encapsulation: %+v", sa)
		}
	}
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

// TestDataStaysInTheKernel counts the daemon's system calls while TCP passes through a session.
func TestDataStaysInTheKernel(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.home("alice")
	session := f.connect(alice)
	trace, err := f.Server.Trace()
	f.must(err)
	before, err := f.Server.Counters(session.Interface)
	f.must(err)
	f.must(alice.Transfer(f.ctx, f.Server.Namespace, inner, 32<<20, false))
	after, err := f.Server.Counters(session.Interface)
	f.must(err)
	daemon, err := trace.Stop()
	f.must(err)
	t.Logf("%d packets passed while the daemon made %v", after.Packets-before.Packets, daemon)
	if packets := after.Packets - before.Packets; packets < 1000 || packets < 100*(daemon.Receiving+daemon.Sending) {
		t.Errorf("%d packets passed while the daemon made %v", packets, daemon)
	}
}

func TestIPv6Outside(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.Server = lab.ServerAddress6
	alice := f.started(f.PublicClient("alice", o))
	session := f.connect(alice)
	if !session.Peer.Addr().Is6() {
		t.Errorf("the session's peer is %v, want an IPv6 address", session.Peer)
	}
	f.passesTraffic(alice, session)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

// TestTwoBehindOneNAT has two clients with the same outer address and the same inner UDP source port.
func TestTwoBehindOneNAT(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	alice, bob := f.home("alice"), f.home("bob")
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	if ofAlice.Peer.Addr() != ofBob.Peer.Addr() || ofAlice.TunnelID == ofBob.TunnelID || ofAlice.IP == ofBob.IP {
		t.Errorf("sessions: %+v, %+v", ofAlice, ofBob)
	}
	f.bothPassTraffic(alice, bob, ofAlice, ofBob)

	towardsServer, err := alice.PingContinuously(f.ctx, inner, 20)
	f.must(err)
	towardsAlice, err := f.Server.PingContinuously(f.ctx, ofAlice.IP, 20)
	f.must(err)
	f.pings(bob.Namespace, inner)
	f.must(bob.Disconnect(f.ctx))
	f.must(lab.Until(f.ctx, 60*time.Second, "bob's session is gone", func() error { return f.onlySession("alice") }))
	f.connect(bob)
	f.pings(bob.Namespace, inner)
	f.must(bob.Disconnect(f.ctx))
	for _, stream := range []*lab.PingStream{towardsServer, towardsAlice} {
		pings, err := stream.Stop(20)
		f.must(err)
		if pings.Lost() > 0 {
			t.Errorf("while bob came and went alice lost %d of %d pings", pings.Lost(), pings.Sent)
		}
	}
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

// bothPassTraffic sends TCP through two sessions at the same time, one of them towards the server and the other from it, and pings both ways.
func (f *fixture) bothPassTraffic(up, down *lab.Client, ofUp, ofDown control.Session) {
	f.t.Helper()
	f.each([]*lab.Client{up, down}, func(c *lab.Client) error {
		return c.Transfer(f.ctx, f.Server.Namespace, inner, 4<<20, c == down)
	})
	f.each([]*lab.Client{up, down}, func(c *lab.Client) error {
		address := map[*lab.Client]netip.Addr{up: ofUp.IP, down: ofDown.IP}[c]
		there, errThere := c.Ping(f.ctx, inner, 10)
		back, errBack := f.Server.Ping(f.ctx, address, 10)
		if there.Lost()+back.Lost() > 0 {
			return fmt.Errorf("lost pings: there %+v, back %+v", there, back)
		}
		return errors.Join(errThere, errBack)
	})
}

// TestChecksums has one client that sends UDP checksums and one that does not. There is no NAT: the kernel does not look at the inner
// checksum of what came in UDP.
func TestChecksums(t *testing.T) {
	f := setUp(t, config("", "with", "without"))
	with := options("with")
	with.Checksums = true
	for _, c := range []*lab.Client{f.started(f.PublicClient("with", with)), f.public("without")} {
		// Local output is where packets pass before ESP hides them.
		f.must(c.Nft(`table ip probe {
	counter bare { }
	counter summed { }
	chain output {
		type filter hook output priority 0
		ip daddr ` + lab.ServerAddress.String() + ` udp dport 1701 udp checksum 0 counter name bare
		ip daddr ` + lab.ServerAddress.String() + ` udp dport 1701 udp checksum != 0 counter name summed
	}
}`))
		f.passesTraffic(c, f.connect(c))
		bare, err := c.Counter("ip", "probe", "bare")
		f.must(err)
		summed, err := c.Counter("ip", "probe", "summed")
		f.must(err)
		t.Logf("%s: %d datagrams with checksum, %d without", c.Name, summed, bare)
		if c.Options.Checksums {
			summed, bare = bare, summed
		}
		if summed > 0 || bare < 100 {
			t.Errorf("%s sent %d datagrams of the wrong kind and %d of the right one", c.Name, summed, bare)
		}
		f.must(c.Disconnect(f.ctx))
	}
	f.empty()
}

// TestMasqueradeOnServer has the rules on the server that usually break several clients behind one NAT: connection tracking that drops what
// it does not know and a masquerade of everything, which gives what it tracks another port.
func TestMasqueradeOnServer(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	f.must(f.Server.Nft(`table ip operator {
	chain postrouting {
		type nat hook postrouting priority 100
		masquerade random
	}
	chain input {
		type filter hook input priority 0
		ct state invalid drop
	}
	chain output {
		type filter hook output priority 0
		ct state invalid drop
	}
}`))
	alice, bob := f.home("alice"), f.home("bob")
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	f.passesTraffic(alice, ofAlice)
	f.passesTraffic(bob, ofBob)
	f.passesTraffic(alice, ofAlice)
	f.must(alice.Disconnect(f.ctx))
	f.must(bob.Disconnect(f.ctx))
	f.empty()
}

// TestSourcePortOtherThan1701 is a client that, like phones do, speaks L2TP from another port.
func TestSourcePortOtherThan1701(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.SourcePort, o.AnyPort = 51701, true
	alice := f.started(f.HomeClient("alice", o))
	f.passesTraffic(alice, f.connect(alice))
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}
