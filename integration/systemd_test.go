//go:build integration

package integration

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
)

const (
	daemonUnit = "l2tpctl.service"
	keeperUnit = "l2tpctl-keeper.service"
)

// computer is a fixture whose server is run by systemd, by the units of contrib.
type computer struct {
	*fixture
	systemd    *lab.Systemd
	daemon     int // process id that the computer knows it by
	alice, bob *lab.Client
}

func boot(t *testing.T, config string) *computer {
	t.Helper()
	f := surroundings(t, os.Getenv(lab.BinaryVariable), config)
	s, err := f.Scene.Systemd(f.ctx, f.Server.Namespace, os.Getenv(lab.BinaryVariable), config,
		"../contrib/systemd/"+keeperUnit, "../contrib/systemd/"+daemonUnit)
	f.must(err)
	f.Server = s.Server
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		journal, err := s.Journal(context.WithoutCancel(f.ctx), 200)
		t.Logf("%s(%v)", journal, err)
	})
	return &computer{fixture: f, systemd: s}
}

// systemctl runs a command that has to succeed.
func (c *computer) systemctl(args ...string) {
	c.t.Helper()
	began := time.Now()
	_, err := c.systemd.Systemctl(c.ctx, args...)
	c.must(err)
	c.t.Logf("systemctl %s: %v", strings.Join(args, " "), time.Since(began).Round(time.Millisecond))
}

// serves waits for a daemon that is another than the last.
func (c *computer) serves() {
	c.t.Helper()
	began := time.Now()
	var err error
	c.daemon, err = c.systemd.Serving(c.ctx, c.daemon)
	c.must(err)
	c.t.Logf("serves after another %v", time.Since(began).Round(time.Millisecond))
}

// state expects properties of a unit, as "Name=value".
func (c *computer) state(unit string, properties ...string) {
	c.t.Helper()
	for _, p := range properties {
		name, want, _ := strings.Cut(p, "=")
		if got, err := c.systemd.Property(c.ctx, unit, name); err != nil || got != want {
			c.t.Errorf("%s: %s is %q, want %q (%v)", unit, name, got, want, err)
		}
	}
}

// connects connects both clients and has them ping.
func (c *computer) connects() (before []control.Session, streams []*lab.PingStream) {
	c.t.Helper()
	for _, client := range []*lab.Client{c.alice, c.bob} {
		c.connect(client)
		stream, err := client.PingContinuously(c.ctx, inner, 50)
		c.must(err)
		streams = append(streams, stream)
	}
	before, err := c.Server.Sessions(c.ctx)
	c.must(err)
	return before, streams
}

// again connects both clients once more. They begin anew: an xl2tpd that has not read the end of its tunnel before IPsec has gone, and the
// server refuses what it sends, puts the next call into the old one.
func (c *computer) again() {
	c.t.Helper()
	for _, client := range []*lab.Client{c.alice, c.bob} {
		c.must(client.Restart(c.ctx))
		c.connect(client)
		c.pings(client.Namespace, inner)
	}
}

// nothing expects that nothing runs and nothing is left.
func (c *computer) nothing() {
	c.t.Helper()
	c.must(c.Server.WaitNobody(c.ctx, 60*time.Second))
	c.must(c.Server.WaitClean(c.ctx, 60*time.Second, true))
}

// goodbye does what ends all sessions, and expects both clients to be told, by IKE and by PPP.
func (c *computer) goodbye(end func()) {
	c.t.Helper()
	clients := []*lab.Client{c.alice, c.bob}
	var before []int64
	for _, client := range clients {
		mark, _ := client.LogMarks()
		before = append(before, mark)
	}
	end()
	for i, client := range clients {
		c.must(client.CharonSays(c.ctx, before[i], "received DELETE for IKE_SA"))
		c.must(client.WaitDown(c.ctx))
	}
}

// TestSystemd does with the units of contrib what an operator does, as docs/operations.md has it.
func TestSystemd(t *testing.T) {
	first := config("", "alice", "bob")
	c := boot(t, first)
	c.systemctl("daemon-reload")
	c.systemctl("enable", "--now", "l2tpctl-keeper", "l2tpctl")
	c.serves()
	c.alice, c.bob = c.home("alice"), c.public("bob")
	before, streams := c.connects()

	c.systemctl("restart", "l2tpctl")
	c.serves()
	c.unchanged(before)

	c.systemctl("kill", "--signal", "KILL", "l2tpctl")
	c.serves()
	c.unchanged(before)
	c.state(daemonUnit, "NRestarts=1")

	c.reloads(first)
	c.unchanged(before)

	keeper, err := c.systemd.MainPID(c.ctx, keeperUnit)
	c.must(err)
	c.must(c.systemd.Upgrade())
	c.systemctl("reload", "l2tpctl-keeper") // has begun, and need not have ended
	c.systemctl("restart", "l2tpctl")
	c.serves()
	for _, pid := range []int{keeper, c.daemon} {
		c.must(lab.Until(c.ctx, 60*time.Second, "what runs is what is installed", func() error { return c.systemd.Current(pid) }))
	}
	c.unchanged(before)

	c.systemctl("stop", "l2tpctl")
	c.state(daemonUnit, "ActiveState=inactive", "Result=success")
	c.state(keeperUnit, "ActiveState=active")
	c.systemctl("start", "l2tpctl")
	c.serves()
	c.unchanged(before)
	if now, err := c.systemd.MainPID(c.ctx, keeperUnit); err != nil || now != keeper {
		t.Errorf("the keeper was process %d and is %d (%v)", keeper, now, err)
	}
	for _, stream := range streams {
		pings, err := stream.Stop(50)
		c.must(err)
		t.Logf("%d pings, %d lost", pings.Sent, pings.Lost())
		if pings.Lost() > 0 {
			t.Errorf("%d of %d pings lost", pings.Lost(), pings.Sent)
		}
	}
	c.passesTraffic(c.alice, c.sessionOf("alice"))
	c.healthy()

	c.goodbye(func() { c.systemctl("stop", "l2tpctl-keeper") })
	c.nothing()
	for _, unit := range []string{daemonUnit, keeperUnit} {
		c.state(unit, "ActiveState=inactive", "Result=success")
	}
	c.systemctl("start", "l2tpctl") // with the keeper that it requires
	c.serves()
	c.again()

	c.goodbye(func() { c.systemctl("restart", "l2tpctl-keeper") })
	c.serves()
	c.again()

	c.systemctl("kill", "--kill-whom", "main", "--signal", "KILL", "l2tpctl-keeper")
	c.serves()
	c.must(c.Server.WaitClean(c.ctx, 60*time.Second, false))
	for _, unit := range []string{daemonUnit, keeperUnit} {
		c.state(unit, "ActiveState=active", "SubState=running")
	}
	c.again()

	c.goodbye(func() { c.must(c.systemd.PowerOff(60 * time.Second)) })
	c.nothing()
}

// reloads has the daemon read a changed configuration and a faulty one.
func (c *computer) reloads(first string) {
	c.t.Helper()
	c.must(c.systemd.Configure(config("", "alice", "bob", "carol")))
	c.systemctl("reload", "l2tpctl")
	c.must(c.systemd.Configure(strings.Replace(first, "10.99.0.0/24", "10.99.0.0/240", 1)))
	if out, err := c.systemd.Systemctl(c.ctx, "reload", "l2tpctl"); err == nil {
		c.t.Errorf("systemctl reload with a faulty file: %s", out)
	}
	c.state(daemonUnit, "ActiveState=active", "SubState=running")
	c.must(c.systemd.Configure(first))
	c.systemctl("reload", "l2tpctl")
	events, err := c.Server.Events(c.ctx, "configuration_reloaded")
	c.must(err)
	if len(events) != 2 || !strings.Contains(events[0].Text, "carol") {
		c.t.Errorf("the events of reloading are %+v", events)
	}
}

// healthy expects nothing to be wrong that units could have caused.
func (c *computer) healthy() {
	c.t.Helper()
	findings, err := c.systemd.Doctor(c.ctx)
	c.must(err)
	if len(findings) == 0 || slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Status == doctor.Fail }) {
		c.t.Errorf("doctor finds %+v", findings)
	}
	c.sameAsWanted()
}
