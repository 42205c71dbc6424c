//go:build integration

package integration

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

// cleartext matches L2TP that is not inside of ESP, on the server's wire: from or to its port, or from the port of a slot.
var cleartext = fmt.Sprintf("udp and (port 1701 or (src host %s and src portrange 16384-32767))", lab.ServerAddress)

// TestFlushedRuleset takes the steering table away under traffic: it comes back, traffic goes on, and nothing ever leaves or enters in the
// clear, not even while the keeper is kept from putting it back.
func TestFlushedRuleset(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	alice, bob := f.home("alice"), f.public("bob")
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	wire, err := f.Server.Capture("eth0", cleartext)
	f.must(err)

	before := f.stats()
	for n, script := range []string{"flush ruleset", "flush chain inet l2tpctl deliver", "delete table inet l2tpctl"} {
		stream, err := alice.PingContinuously(f.ctx, inner, 20)
		f.must(err)
		f.must(f.Server.Nft(script))
		flushed := time.Now()
		f.must(lab.Until(f.ctx, soon, "the table is back", func() error {
			if got := f.stats().Errors.Restored; got != uint64(n+1) {
				return fmt.Errorf("%d restorations", got)
			}
			return nil
		}))
		t.Logf("%s: restored within %v", script, time.Since(flushed))
		f.pings(bob.Namespace, inner)
		f.pings(f.Server.Namespace, ofAlice.IP)
		pings, err := stream.Stop(20)
		f.must(err)
		if t.Logf("%s: %d of %d pings lost", script, pings.Lost(), pings.Sent); pings.Lost() > 60 { // 20 a second
			t.Errorf("%s: traffic stood for longer than three seconds", script)
		}
	}
	after := f.stats()
	if after.Steering["steered_in"] <= before.Steering["steered_in"] || after.Steering["steered_out"] <= before.Steering["steered_out"] {
		t.Errorf("the counters did not go on: %v, then %v", before.Steering, after.Steering)
	}
	events, err := f.Server.Events(f.ctx, "steering_restored")
	f.must(err)
	if len(events) != 3 || events[0].Severity != "warning" || !strings.Contains(events[0].Text, "nft (pid ") || !strings.Contains(events[0].Hint, "nft") {
		t.Errorf("the events are %+v", events)
	}

	// The keeper sleeps, and the table stays away.
	keeper, err := f.Server.Keeper()
	f.must(err)
	f.must(syscall.Kill(keeper, syscall.SIGSTOP))
	f.must(f.Server.Nft("flush ruleset"))
	for _, way := range []struct {
		from *lab.Namespace
		to   netip.Addr
	}{{alice.Namespace, inner}, {bob.Namespace, inner}, {f.Server.Namespace, ofAlice.IP}, {f.Server.Namespace, ofBob.IP}} {
		pings, err := way.from.PingInVain(f.ctx, way.to, 10)
		f.must(err)
		if pings.Received > 0 {
			t.Errorf("%d pings from %s to %v got through without a steering table", pings.Received, way.from.Name, way.to)
		}
	}
	f.must(syscall.Kill(keeper, syscall.SIGCONT))
	f.must(lab.Until(f.ctx, soon, "traffic goes on", func() error {
		pings, err := alice.PingInVain(f.ctx, inner, 1)
		if err == nil && pings.Lost() > 0 {
			err = errors.New("no answer")
		}
		return err
	}))
	f.passesTraffic(bob, ofBob)

	// Does the capture see anything at all?
	mallory, v4, _, err := f.PublicHost("mallory")
	f.must(err)
	conn, err := mallory.UDP(netip.AddrPortFrom(v4, 1702))
	f.must(err)
	defer conn.Close()
	if _, err := lab.Answer(conn, netip.AddrPortFrom(lab.ServerAddress, 1701), lab.SCCRQ(7, "mallory"), 300*time.Millisecond); !errors.Is(err, lab.ErrSilence) {
		t.Errorf("a stranger got an answer (%v)", err)
	}
	f.must(lab.Until(f.ctx, soon, "a packet is captured", func() error {
		if len(wire.Packets()) == 0 {
			return errors.New("none")
		}
		return nil
	}))
	packets, err := wire.Stop()
	f.must(err)
	if len(packets) != 1 || !strings.Contains(packets[0], v4.String()+".1702 > ") {
		t.Errorf("L2TP in the clear, beside the one SCCRQ of mallory:\n%s", strings.Join(packets, "\n"))
	}
	f.must(alice.Disconnect(f.ctx))
	f.must(bob.Disconnect(f.ctx))
	f.empty()
}
