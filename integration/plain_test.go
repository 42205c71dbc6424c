//go:build integration

package integration

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// plainConfig lets a prefix do without IPsec.
func plainConfig(prefix string, users ...string) string {
	return config("l2tp:\n  plain_peers: "+prefix+"\n", users...)
}

func lines(users ...string) (list []*lab.Line) {
	for _, user := range users {
		list = append(list, &lab.Line{User: user, Password: password(user)})
	}
	return list
}

// lac makes a LAC with an address of its own.
func (f *fixture) lac(name string, users ...string) (lac *lab.LAC, v4, v6 netip.Addr) {
	f.t.Helper()
	space, v4, v6, err := f.PublicHost(name)
	f.must(err)
	lac, err = f.LAC(space, lab.ServerAddress, lines(users...)...)
	f.must(err)
	return lac, v4, v6
}

// bothWays pings from a line to the server, and back. A client is through with IPCP a moment before the server is.
func (f *fixture) bothWays(line *lab.Line) {
	f.t.Helper()
	f.sessionOf(line.User)
	there, err := line.Ping(f.ctx, inner, 10)
	f.must(err)
	back, err := f.Server.Ping(f.ctx, line.Address, 10)
	f.must(err)
	if there.Lost()+back.Lost() > 0 {
		f.t.Errorf("%s: of pings there %d of %d are lost, back %d of %d", line.User, there.Lost(), there.Sent, back.Lost(), back.Sent)
	}
}

// TestLACWithoutIPsec has xl2tpd open two tunnels from one port, in userspace, with one call each.
func TestLACWithoutIPsec(t *testing.T) {
	f := setUp(t, plainConfig("192.0.2.8/29", "alice", "bob"))
	lac, address, _ := f.lac("lac", "alice", "bob")
	f.must(lac.Start(f.ctx))
	for _, line := range lac.Lines {
		f.must(lac.Dial(f.ctx, line))
	}
	for _, line := range lac.Lines {
		f.bothWays(line)
	}
	peer := netip.AddrPortFrom(address, 1701)
	tunnels, err := f.Server.Tunnels(f.ctx)
	f.must(err)
	if len(tunnels) != 2 || tunnels[0].PeerID == tunnels[1].PeerID {
		t.Fatalf("tunnels: %+v", tunnels)
	}
	for _, got := range tunnels {
		want := control.Tunnel{
			ID: got.ID, PeerID: got.PeerID, State: "established", Role: "lns", Peer: peer, PeerName: got.PeerName, Plain: true,
			Local: netip.AddrPortFrom(lab.ServerAddress, 1701), Sessions: 1, UptimeSeconds: got.UptimeSeconds, RxBytes: got.RxBytes, TxBytes: got.TxBytes,
		}
		if got != want || got.ID>>13 != 1 || got.RxBytes == 0 || got.TxBytes == 0 || got.PeerName == "" {
			t.Errorf("tunnel %+v, want %+v", got, want)
		}
	}
	for _, line := range lac.Lines {
		session, err := f.Server.SessionOf(f.ctx, line.User)
		f.must(err)
		if session.Peer != peer || session.IP != line.Address || session.Auth != "mschapv2" {
			t.Errorf("session %+v, want one of %v", session, peer)
		}
	}
	// A tunnel that ends leaves the other one alone.
	f.must(lac.HangUp(lac.Lines[0]))
	f.must(lab.Until(f.ctx, 60*time.Second, "one session is left", func() error { return f.onlySession("bob") }))
	f.bothWays(lac.Lines[1])
	f.must(lac.HangUp(lac.Lines[1]))
	f.empty()
}

// TestLACWithCalls has a LAC with two tunnels of two calls each, one of them over IPv6; an IPsec client is connected beside. It ends with the daemon.
func TestLACWithCalls(t *testing.T) {
	f := setUp(t, plainConfig(`[192.0.2.8/29, "2001:db8::/64"]`, "alice", "bob", "carol", "dave", "erin"))
	lac, v4, v6 := f.lac("lac", "alice", "bob", "carol", "dave")
	erin := f.home("erin")
	ofErin := f.connect(erin)
	for n, ends := range [][2]netip.Addr{{v4, lab.ServerAddress}, {v6, lab.ServerAddress6}} {
		trunk, err := lac.Trunk(f.ctx, ends[1], netip.AddrPortFrom(ends[0], 1701), uint16(7+n))
		f.must(err)
		for _, line := range lac.Lines[2*n : 2*n+2] {
			f.must(trunk.Dial(f.ctx, line))
		}
	}
	for _, line := range lac.Lines {
		f.bothWays(line)
	}
	f.passesTraffic(erin, ofErin)
	tunnels, err := f.Server.Tunnels(f.ctx)
	f.must(err)
	if len(tunnels) != 3 || !tunnels[0].Plain || !tunnels[1].Plain || tunnels[2].Plain || tunnels[0].Sessions != 2 || tunnels[1].Sessions != 2 {
		t.Errorf("tunnels: %+v", tunnels)
	}
	f.sameAsWanted()
	stats := f.stats()
	if stats.Plain.Tunnels != 2 || stats.Sessions != 5 || stats.Steering["plain_foreign"] != 0 {
		t.Errorf("stats: %+v", stats)
	}

	// One call of two ends by the operator, and the tunnel stays.
	session, err := f.Server.SessionOf(f.ctx, "alice")
	f.must(err)
	_, err = f.Server.CLI(f.ctx, "session", "disconnect", session.ID)
	f.must(err)
	f.must(lab.Until(f.ctx, 60*time.Second, "four sessions are left", func() error {
		if n := f.stats().Sessions; n != 4 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	}))
	f.bothWays(lac.Lines[1])
}

// TestLACAndRestarts: a LAC's calls go on over the daemon's death, and new ones come; when the keeper dies, too, the next start removes
// what is left, and another tunnel can begin.
func TestLACAndRestarts(t *testing.T) {
	f := setUp(t, plainConfig("192.0.2.8/29", "alice", "bob", "carol", "dave"))
	lac, address, _ := f.lac("lac", "alice", "bob", "carol", "dave")
	trunk, err := lac.Trunk(f.ctx, lab.ServerAddress, netip.AddrPortFrom(address, 1701), 7)
	f.must(err)
	alice, bob, carol, dave := lac.Lines[0], lac.Lines[1], lac.Lines[2], lac.Lines[3]
	f.must(trunk.Dial(f.ctx, alice))
	before, err := f.Server.SessionOf(f.ctx, "alice")
	f.must(err)
	stream, err := alice.PingContinuously(f.ctx, inner, 50)
	f.must(err)
	f.Server.Process.Kill()
	f.must(f.Server.Start(f.ctx))
	after, err := f.Server.SessionOf(f.ctx, "alice")
	f.must(err)
	if after.ID != before.ID || after.IP != before.IP || after.Peer != before.Peer {
		t.Errorf("session %+v has become %+v", before, after)
	}
	f.must(trunk.Dial(f.ctx, bob))
	f.bothWays(bob)
	pings, err := stream.Stop(20)
	f.must(err)
	if pings.Lost() > 0 {
		t.Errorf("over the daemon's death %d of %d pings were lost", pings.Lost(), pings.Sent)
	}
	f.must(trunk.Close(f.ctx))
	f.must(lab.Until(f.ctx, 60*time.Second, "no session is left", func() error {
		if n := f.stats().Sessions; n != 0 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	}))

	again, err := lac.Trunk(f.ctx, lab.ServerAddress, netip.AddrPortFrom(address, 1702), 8)
	f.must(err)
	f.must(again.Dial(f.ctx, carol))
	f.killKeeper()
	f.must(f.Server.Start(f.ctx))
	f.must(f.Server.WaitClean(f.ctx, 60*time.Second, false))
	third, err := lac.Trunk(f.ctx, lab.ServerAddress, netip.AddrPortFrom(address, 1703), 9)
	f.must(err)
	f.must(third.Dial(f.ctx, dave))
	f.bothWays(dave)
}

// TestNotListed: whoever is not listed hears nothing, and who is reaches tunnels of its own only.
func TestNotListed(t *testing.T) {
	f := setUp(t, plainConfig("192.0.2.10", "alice", "bob"))
	lac, address, _ := f.lac("lac", "alice")
	trunk, err := lac.Trunk(f.ctx, lab.ServerAddress, netip.AddrPortFrom(address, 1701), 7)
	f.must(err)
	f.must(trunk.Dial(f.ctx, lac.Lines[0]))
	bob := f.home("bob")
	ofBob := f.connect(bob)
	ofAlice, err := f.Server.SessionOf(f.ctx, "alice")
	f.must(err)
	arrivals := f.listen(f.Server.Namespace)

	mallory, v4, v6, err := f.PublicHost("mallory")
	f.must(err)
	wire, err := f.Server.Capture("eth0", fmt.Sprintf("host %s or host %s", v4, v6))
	f.must(err)
	before := f.stats()
	attempts := uint64(0)
	for _, target := range []struct{ from, to netip.AddrPort }{
		{netip.AddrPortFrom(v4, 1701), netip.AddrPortFrom(lab.ServerAddress, 1701)},
		{netip.AddrPortFrom(v6, 1701), netip.AddrPortFrom(lab.ServerAddress6, 1701)},
	} {
		conn, err := mallory.UDP(target.from)
		f.must(err)
		defer conn.Close()
		for _, message := range append(f.forgeries(ofAlice, ofBob), lab.SCCRQ(9, "mallory")) {
			attempts++
			if answer, err := lab.Answer(conn, target.to, message, 200*time.Millisecond); !errors.Is(err, lab.ErrSilence) {
				t.Errorf("%v answered a stranger's %x with %x (%v)", target.to, message, answer, err)
			}
		}
	}
	packets, err := wire.Stop()
	f.must(err)
	for _, packet := range packets {
		if strings.Contains(packet, "IP "+lab.ServerAddress.String()+".") || strings.Contains(packet, "IP6 "+lab.ServerAddress6.String()+".") {
			t.Errorf("the server answered: %s", packet)
		}
	}
	f.rises(attempts, "steering.plain_l2tp", before, func(s control.Stats) uint64 { return s.Steering["plain_l2tp"] })

	// The LAC itself, from another port and to the ports of tunnels.
	before = f.stats()
	conn, err := lac.UDP(netip.AddrPortFrom(address, 1777))
	f.must(err)
	defer conn.Close()
	attempts = 0
	for _, port := range []uint16{1701, ofAlice.TunnelID, ofBob.TunnelID} {
		for _, message := range f.forgeries(ofAlice, ofBob) {
			attempts++
			if answer, err := lab.Answer(conn, netip.AddrPortFrom(lab.ServerAddress, port), message, 200*time.Millisecond); !errors.Is(err, lab.ErrSilence) {
				t.Errorf("port %d answered a forged %x with %x (%v)", port, message, answer, err)
			}
		}
	}
	after := f.stats()
	t.Logf("of %d forged datagrams the table dropped %d", attempts, after.Steering["plain_foreign"]-before.Steering["plain_foreign"])
	if after.Steering["plain_foreign"]-before.Steering["plain_foreign"] < attempts/3 {
		t.Errorf("counters %v, then %v", before.Steering, after.Steering)
	}
	if got := arrivals.forged(); len(got) > 0 {
		t.Errorf("arrived: %q", got)
	}
	f.bothWays(lac.Lines[0])
	f.pings(bob.Namespace, inner)
}

// forgeries are data for a plain tunnel and for a client's, and control messages that would end them.
func (f *fixture) forgeries(plain, client control.Session) (list [][]byte) {
	f.t.Helper()
	for _, victim := range []control.Session{plain, client} {
		tunnel, session := f.kernelSession(victim.TunnelID)
		for _, long := range []bool{false, true} {
			list = append(list, lab.DataPacket(tunnel, session, long, udpFrame(victim.IP, inner, "forged: without IPsec")))
		}
		list = append(list, lab.StopCCN(tunnel, 7, 2, 1), lab.CDN(tunnel, session, 1, 2, 1))
	}
	return list
}
