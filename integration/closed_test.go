//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// leaks matches what must never leave the server: L2TP outside of ESP, and errors of ICMP, which quote what came out of
// ESP; those about ESP in UDP itself, to port 4500, quote only that.
var leaks = fmt.Sprintf("src host %s and (udp and (port 1701 or src portrange 16384-32767) or icmp[icmptype] == icmp-unreach and not icmp[30:2] == 4500)", lab.ServerAddress)

// closed is a scene with two clients, of which none may hear of the other in the clear.
type closed struct {
	*fixture
	alice, bob     *lab.Client // behind the NAT and not
	ofAlice, ofBob control.Session
	wire           *lab.Capture
}

func newClosed(t *testing.T, extra string) *closed {
	c := &closed{fixture: setUp(t, config(extra, "alice", "bob"))}
	c.alice, c.bob = c.home("alice"), c.public("bob")
	c.ofAlice, c.ofBob = c.connect(c.alice), c.connect(c.bob)
	var err error
	c.wire, err = c.Server.Capture("eth0", leaks)
	c.must(err)
	return c
}

// traffic sends both ways, to and from a client, and expects all answers, or none.
func (c *closed) traffic(what string, client *lab.Client, session control.Session, passes bool) {
	c.t.Helper()
	ping := func(from *lab.Namespace, to netip.Addr) (lab.Pings, error) {
		if passes {
			return from.Ping(c.ctx, to, 5)
		}
		return from.PingInVain(c.ctx, to, 5)
	}
	for _, way := range []func() (lab.Pings, error){
		func() (lab.Pings, error) { return ping(client.Namespace, inner) },
		func() (lab.Pings, error) { return ping(c.Server.Namespace, session.IP) },
	} {
		pings, err := way()
		if !passes && errors.Is(err, syscall.ENETUNREACH) {
			continue // there is not even an interface
		}
		c.must(err)
		if want := map[bool]int{true: pings.Sent}[passes]; pings.Received != want {
			c.t.Errorf("%s: %d of %d pings of %s are answered, want %d", what, pings.Received, pings.Sent, client.Name, want)
		}
	}
	c.tight(what)
}

// tight expects that nothing has left in the clear until now.
func (c *closed) tight(what string) {
	c.t.Helper()
	if packets := c.wire.Packets(); len(packets) > 0 {
		c.t.Fatalf("%s: in the clear:\n%s", what, strings.Join(packets, "\n"))
	}
}

// again connects a client whose server has forgotten it.
func (c *closed) again(client *lab.Client) {
	c.t.Helper()
	c.must(client.Restart(c.ctx))
	c.passesTraffic(client, c.connect(client))
}

// TestClosedWithoutDaemon takes SAs away, one direction or both, while nobody serves.
func TestClosedWithoutDaemon(t *testing.T) {
	c := newClosed(t, "")
	c.Server.Process.Kill()
	c.traffic("without a daemon", c.alice, c.ofAlice, true)
	c.traffic("without a daemon", c.bob, c.ofBob, true)
	c.must(c.Server.Start(c.ctx))
	for _, gone := range [][]string{{"out"}, {"in"}, {"in", "out"}} {
		what := "without SA " + strings.Join(gone, " and ")
		var commands []string
		for _, direction := range gone {
			for _, session := range []control.Session{c.ofAlice, c.ofBob} {
				sa := c.saOf(session, direction)
				commands = append(commands, fmt.Sprintf("xfrm state delete src %s dst %s proto esp spi %s", sa.Src, sa.Dst, sa.SPI))
			}
		}
		c.Server.Process.Kill()
		c.must(c.Server.Batch(commands...))
		c.traffic(what, c.alice, c.ofAlice, false)
		c.traffic(what, c.bob, c.ofBob, false)
		c.must(c.Server.Start(c.ctx))
		for _, client := range []*lab.Client{c.alice, c.bob} {
			c.renew(client)
		}
		c.traffic(what+", negotiated anew", c.alice, c.ofAlice, true)
		c.traffic(what+", negotiated anew", c.bob, c.ofBob, true)
	}
	c.must(c.alice.Disconnect(c.ctx))
	c.must(c.bob.Disconnect(c.ctx))
	c.empty()
}

// TestClosedWithoutSteering has a program own a table of the name of ours, so that nobody can put ours back, with a daemon and without: nothing passes,
// and the clients are ended after a while, not because LCP echo does not pass either.
func TestClosedWithoutSteering(t *testing.T) {
	c := newClosed(t, "ppp:\n  echo_interval: 0s\n")
	nft := c.Server.Command(context.Background(), "nft", "-i")
	script, err := nft.StdinPipe()
	c.must(err)
	owner, err := c.Start(nft, "nft-owner.log")
	c.must(err)
	_, err = io.WriteString(script, "delete table inet l2tpctl; add table inet l2tpctl { flags owner; }\n")
	c.must(err)
	c.must(lab.Until(c.ctx, 30*time.Second, "the daemon knows that it cannot steer", func() error {
		events, err := c.Server.Events(c.ctx, "steering_missing")
		if err == nil && (len(events) != 1 || events[0].Severity != "error") {
			err = fmt.Errorf("the events are %+v", events)
		}
		return err
	}))
	c.traffic("without steering", c.alice, c.ofAlice, false)
	c.traffic("without steering", c.bob, c.ofBob, false)
	c.Server.Process.Kill()
	c.traffic("without steering and daemon", c.alice, c.ofAlice, false)
	c.must(c.Server.Start(c.ctx))
	c.traffic("without steering, after a restart", c.bob, c.ofBob, false)
	c.must(lab.Until(c.ctx, 120*time.Second, "the clients are ended", func() error {
		events, err := c.Server.Events(c.ctx, "session_down")
		if err == nil && (len(events) != 2 || events[0].Text != "the steering table cannot be put back") {
			err = fmt.Errorf("the events are %+v", events)
		}
		sas, errSAs := c.Server.SAs(c.ctx)
		if len(sas) > 0 {
			err = errors.Join(err, fmt.Errorf("there are %d SAs", len(sas)))
		}
		return errors.Join(err, errSAs)
	}))
	c.tight("while the clients are ended")
	owner.Kill()
	c.must(lab.Until(c.ctx, 60*time.Second, "the table is back", func() error {
		drift, err := c.Server.Drift(c.ctx)
		if err == nil && len(drift) > 0 {
			err = fmt.Errorf("daemon and kernel differ in %+v", drift)
		}
		return err
	}))
	c.again(c.alice)
	c.again(c.bob)
	c.tight("with steering again")
	c.must(c.alice.Disconnect(c.ctx))
	c.must(c.bob.Disconnect(c.ctx))
	c.empty()
}

// TestClosedWithoutKeeper kills daemon and keeper: SAs and tunnels are in the kernel still, and the clients go on sending.
func TestClosedWithoutKeeper(t *testing.T) {
	c := newClosed(t, "")
	c.killKeeper()
	c.traffic("without a keeper", c.alice, c.ofAlice, false)
	c.traffic("without a keeper", c.bob, c.ofBob, false)
	time.Sleep(3 * time.Second) // LCP echo, Hello
	c.tight("a while without a keeper")
	c.must(c.Server.Start(c.ctx))
	c.must(c.Server.WaitClean(c.ctx, 60*time.Second, false))
	c.traffic("after the sweep", c.alice, c.ofAlice, false)
	for _, client := range []*lab.Client{c.alice, c.bob} {
		c.again(client)
	}
	c.tight("after reconnecting")
	c.must(c.alice.Disconnect(c.ctx))
	c.must(c.bob.Disconnect(c.ctx))
	c.empty()
}

// TestCrash ends the daemon as a defect in it does, with SIGABRT and the stacks of its goroutines, and by a limit of memory's SIGSEGV: the next
// one adopts everything.
func TestCrash(t *testing.T) {
	c := newClosed(t, "")
	before, err := c.Server.Sessions(c.ctx)
	c.must(err)
	for _, signal := range []syscall.Signal{syscall.SIGABRT, syscall.SIGQUIT, syscall.SIGSEGV} {
		stream, err := c.alice.PingContinuously(c.ctx, inner, 20)
		c.must(err)
		if err := c.Server.Process.Signal(signal, 60*time.Second); err == nil {
			t.Errorf("%v: the daemon has ended as if nothing had been", signal)
		}
		c.must(c.Server.Start(c.ctx))
		c.unchanged(before)
		pings, err := stream.Stop(20)
		if c.must(err); pings.Lost() > 0 {
			t.Errorf("%v: %d of %d pings were lost", signal, pings.Lost(), pings.Sent)
		}
		c.traffic(signal.String(), c.bob, c.ofBob, true)
	}
	c.sameAsWanted()
	c.must(c.alice.Disconnect(c.ctx))
	c.must(c.bob.Disconnect(c.ctx))
	c.empty()
}

// TestKeeperByItself has a keeper that was started before the daemon, as systemd does: the daemon's end leaves the sessions, and the keeper's
// says goodbye to everybody.
func TestKeeperByItself(t *testing.T) {
	f := surroundings(t, os.Getenv(lab.BinaryVariable), config("", "alice", "bob"))
	keeper, err := f.Server.StartKeeper(f.ctx)
	f.must(err)
	f.must(f.Server.Start(f.ctx))
	alice, bob := f.home("alice"), f.public("bob")
	f.connect(alice)
	f.connect(bob)
	before, err := f.Server.Sessions(f.ctx)
	f.must(err)
	stream, err := alice.PingContinuously(f.ctx, inner, 20)
	f.must(err)
	f.must(f.Server.Stop())
	time.Sleep(time.Second)
	f.must(f.Server.Start(f.ctx))
	f.unchanged(before)
	pings, err := stream.Stop(20)
	if f.must(err); pings.Lost() > 0 {
		t.Errorf("%d of %d pings were lost", pings.Lost(), pings.Sent)
	}
	charonA, xl2tpdA := alice.LogMarks()
	charonB, xl2tpdB := bob.LogMarks()
	f.must(keeper.Signal(syscall.SIGTERM, 60*time.Second))
	select {
	case <-f.Server.Process.Ended():
	case <-time.After(60 * time.Second):
		t.Error("the daemon goes on without a keeper")
	}
	for _, c := range []struct {
		*lab.Client
		charon, xl2tpd int64
	}{{alice, charonA, xl2tpdA}, {bob, charonB, xl2tpdB}} {
		f.must(c.WaitDown(f.ctx))
		f.must(c.TunnelSays(f.ctx, c.xl2tpd, "the server is stopping"))
		f.must(c.CharonSays(f.ctx, c.charon, "received DELETE for IKE_SA"))
	}
	f.must(f.Server.WaitNobody(f.ctx, 60*time.Second))
	f.must(f.Server.WaitClean(f.ctx, 60*time.Second, true))
}

// TestLingering kills the daemon of a keeper that does not wait for long.
func TestLingering(t *testing.T) {
	f := surroundings(t, os.Getenv(lab.BinaryVariable), config("", "alice", "bob"))
	const linger = 10 * time.Second
	keeper, err := f.Server.StartKeeper(f.ctx, "--linger", linger.String(), "--for-serve")
	f.must(err)
	f.must(f.Server.Start(f.ctx))
	alice, bob := f.home("alice"), f.public("bob")
	ofAlice := f.connect(alice)
	f.connect(bob)
	before, err := f.Server.Sessions(f.ctx)
	f.must(err)
	f.restarted() // while the keeper waits
	f.unchanged(before)
	f.passesTraffic(alice, ofAlice)
	died := time.Now()
	f.Server.Process.Kill()
	select {
	case <-keeper.Ended():
		t.Logf("the keeper ended %v after the daemon", time.Since(died).Round(time.Millisecond))
		if time.Since(died) < linger {
			t.Error("that is too early")
		}
	case <-time.After(90 * time.Second):
		t.Fatal("the keeper waits for ever")
	}
	f.must(f.Server.WaitNobody(f.ctx, 60*time.Second))
	f.must(f.Server.WaitClean(f.ctx, 60*time.Second, true))
	for _, c := range []*lab.Client{alice, bob} {
		f.must(c.WaitDown(f.ctx)) // PPP said goodbye
	}
	f.must(f.Server.Start(f.ctx))
	f.must(alice.Restart(f.ctx))
	f.passesTraffic(alice, f.connect(alice))
	f.must(alice.Disconnect(f.ctx))
	f.empty()
	f.must(f.Server.Stop())
	f.must(f.Server.WaitClean(f.ctx, 60*time.Second, true))
}
