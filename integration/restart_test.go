//go:build integration

package integration

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/fleet"
	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// restarted kills the daemon and starts it again, and returns how long nobody served.
func (f *fixture) restarted() time.Duration {
	f.t.Helper()
	begin := time.Now()
	f.Server.Process.Kill()
	f.must(f.Server.Start(f.ctx))
	return time.Since(begin)
}

// essence is what a restart must not change of sessions.
func essence(sessions []control.Session) (list []string) {
	for _, s := range sessions {
		list = append(list, fmt.Sprint(s.ID, s.State, s.User, s.IP, s.Interface, s.MTU, s.Auth))
	}
	slices.Sort(list)
	return list
}

// unchanged compares the sessions with those before.
func (f *fixture) unchanged(before []control.Session) {
	f.t.Helper()
	after, err := f.Server.Sessions(f.ctx)
	f.must(err)
	if !slices.Equal(essence(before), essence(after)) {
		f.t.Fatalf("the sessions were %v and are %v", essence(before), essence(after))
	}
	for _, was := range before {
		for _, is := range after {
			if was.ID == is.ID && (is.RxBytes < was.RxBytes || is.TxBytes < was.TxBytes || is.UptimeSeconds < was.UptimeSeconds) {
				f.t.Errorf("counters went back: from %+v to %+v", was, is)
			}
		}
	}
}

// TestKilledDaemon kills the daemon three times with strongSwan's clients under ping, and leaves once on request. What they do
// afterwards works: rekeying, hanging up, dialling again.
func TestKilledDaemon(t *testing.T) {
	f := setUp(t, config("", "alice", "bob", "carol"))
	alice, bob, carol := f.home("alice"), f.home("bob"), f.public("carol")
	clients := []*lab.Client{alice, bob, carol}
	var streams []*lab.PingStream
	for _, c := range clients {
		f.connect(c)
		stream, err := c.PingContinuously(f.ctx, inner, 50)
		f.must(err)
		streams = append(streams, stream)
	}
	before, err := f.Server.Sessions(f.ctx)
	f.must(err)
	for range 3 {
		t.Logf("nobody served for %v", f.restarted().Round(time.Millisecond))
		f.unchanged(before)
	}
	f.must(f.Server.Process.Signal(syscall.SIGUSR2, 60*time.Second))
	f.must(f.Server.Start(f.ctx))
	f.unchanged(before)
	for i, stream := range streams {
		pings, err := stream.Stop(20)
		f.must(err)
		if pings.Lost() > 0 {
			t.Errorf("%s: %d of %d pings lost", clients[i].Name, pings.Lost(), pings.Sent)
		}
	}
	adopted, err := f.Server.Events(f.ctx, "daemon_adopted")
	f.must(err)
	if len(adopted) != 1 {
		t.Errorf("the events of adoption are %+v", adopted)
	}
	sas, err := f.Server.SAs(f.ctx)
	f.must(err)
	for _, sa := range sas {
		if sa.Encryption != "aes256" || sa.Integrity != "sha256" && sa.Integrity != "sha1" {
			t.Errorf("after the restarts there is an SA with %s and %s", sa.Encryption, sa.Integrity)
		}
	}
	f.sameAsWanted()
	f.must(alice.HangUp(f.ctx))
	_, err = alice.Dial(f.ctx)
	f.must(err)
	again, err := f.Server.SessionOf(f.ctx, "alice")
	f.must(err)
	f.passesTraffic(alice, again)
	_, err = f.Server.CLI(f.ctx, "session", "disconnect", f.sessionOf("bob").ID)
	f.must(err)
	f.must(bob.WaitDown(f.ctx))
	f.must(alice.Disconnect(f.ctx))
	f.must(carol.Disconnect(f.ctx))
	f.empty()
}

func (f *fixture) sessionOf(user string) control.Session {
	f.t.Helper()
	s, err := f.Server.SessionOf(f.ctx, user)
	f.must(err)
	return s
}

// TestRestartOfMany kills the daemon with 200 sessions under ping, half of them behind one NAT, while some of them rekey.
func TestRestartOfMany(t *testing.T) {
	const each, busy = 100, 5
	f := setUp(t, crewConfig("log:\n  level: info\n", 2*each))
	users := crew(2 * each)
	indoors, err := f.HomeHost("indoors")
	f.must(err)
	outdoors, _, _, err := f.PublicHost("outdoors")
	f.must(err)
	short := func(c *ikev1.Config) { c.MaxChildLifetime = 40 * time.Second }
	fleets := []*fleet.Fleet{
		f.fleet(indoors, netip.MustParseAddr("10.0.0.100"), users[:each], short),
		f.fleet(outdoors, netip.MustParseAddr("192.0.2.100"), users[each:], nil),
	}
	var stops []func() fleet.Report
	for _, fl := range fleets {
		clients := fl.Clients()
		stops = append(stops, fl.Stream(f.ctx, clients[:busy], 50), fl.Stream(f.ctx, clients[busy:], 1))
	}
	before, err := f.Server.Sessions(f.ctx)
	f.must(err)
	if len(before) != len(users) {
		t.Fatalf("there are %d sessions", len(before))
	}
	for range 3 {
		away := f.restarted()
		f.unchanged(before)
		adopted, err := f.Server.Events(f.ctx, "daemon_adopted")
		f.must(err)
		t.Logf("%v until the daemon answered again; %s", away.Round(time.Millisecond), adopted[0].Text)
		time.Sleep(2 * time.Second)
	}
	for _, stop := range stops {
		stop()
	}
	for _, fl := range fleets {
		r := fl.Report()
		if r.Lost > 0 || r.Sent < 1000 {
			t.Errorf("the report is %+v", r)
		}
		t.Logf("%d pings, %d lost, the slowest answer after %v", r.Sent, r.Lost, r.Slowest.Round(time.Millisecond))
		for _, c := range fl.Clients() {
			f.must(c.Hello(f.ctx))
			f.must(fl.Disconnect(c))
		}
	}
	f.empty()
}

// killKeeper kills the keeper and waits for the daemon to end with it.
func (f *fixture) killKeeper() {
	f.t.Helper()
	f.must(f.Server.KillKeeper())
	select {
	case <-f.Server.Process.Ended():
	case <-time.After(60 * time.Second):
		f.t.Fatal("the daemon goes on without a keeper")
	}
}

// TestKilledKeeper kills the keeper: the daemon ends, nothing goes on, and the next start sweeps what the kernel still has.
func TestKilledKeeper(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	clients := []*lab.Client{f.home("alice"), f.home("bob")}
	for _, c := range clients {
		f.connect(c)
	}
	f.killKeeper()
	f.must(f.Server.Start(f.ctx))
	f.must(f.Server.WaitClean(f.ctx, 60*time.Second, false))
	for _, c := range clients {
		f.must(c.Restart(f.ctx))
		f.passesTraffic(c, f.connect(c))
		f.must(c.Disconnect(f.ctx))
	}
	f.empty()
}
