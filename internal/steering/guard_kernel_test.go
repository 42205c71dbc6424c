//go:build kernel

package steering

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// guarded runs a Guard in a namespace of its own; what it tells comes by the channel.
func guarded(t *testing.T) (*Guard, <-chan Restoration) {
	t.Helper()
	newNamespace(t)
	run(t, "ip", "link", "set", "lo", "up")
	here, err := netns.Get()
	must(t, err)
	t.Cleanup(func() { here.Close() })
	g, err := NewGuard(DefaultConfig())
	must(t, err)
	told := make(chan Restoration, 100)
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		if err := netns.Set(here); err != nil {
			ended <- err
			return
		}
		ended <- g.Run(func(r Restoration) { told <- r })
	}()
	t.Cleanup(func() {
		must(t, g.Close())
		select {
		case err := <-ended:
			must(t, err)
		case <-time.After(patience):
			t.Error("Run did not end with Close")
		}
	})
	return g, told
}

func wantIntact(t *testing.T, g *Guard, why string) {
	t.Helper()
	if ok, err := g.Intact(); err != nil || !ok {
		t.Errorf("%s: Intact = %v, %v\n%s", why, ok, err, run(t, "nft", "list", "ruleset"))
	}
}

// counted sends packets that the table counts, and returns the counters when it has.
func counted(t *testing.T, g *Guard, packets uint64) Counters {
	t.Helper()
	before, err := g.Read()
	must(t, err)
	sendPlain(t, int(packets))
	var after Counters
	eventually(t, "the table counts", func() (string, bool) {
		after, err = g.Read()
		return fmt.Sprintf("%+v, %v", after, err), err == nil && after.PlainL2TP.Packets >= before.PlainL2TP.Packets+packets
	})
	return after
}

// TestGuardRestores changes the table in every way that changes what becomes of a packet, and some that do not.
func TestGuardRestores(t *testing.T) {
	g, told := guarded(t)
	for _, c := range []struct {
		script  string
		missing bool
	}{
		{"flush ruleset", true},
		{"delete table inet l2tpctl", true},
		{"flush ruleset; add table inet filter; add chain inet filter in { type filter hook input priority 0; }", true},
		{"flush table inet l2tpctl", false},
		{"flush chain inet l2tpctl client", false},
		{"insert rule inet l2tpctl prerouting udp dport 1701 accept", false},
		{"add rule inet l2tpctl output drop", false},
		{"add chain inet l2tpctl more { type filter hook prerouting priority -400; policy drop; }", false},
		{"add chain inet l2tpctl prerouting { policy drop; }", false},
		{"add table inet l2tpctl { flags dormant; }", false},
	} {
		wantIntact(t, g, "before "+c.script)
		before := counted(t, g, 2)
		began := time.Now()
		run(t, "nft", c.script)
		select {
		case r := <-told:
			t.Logf("%s: restored after %v: %+v", c.script, time.Since(began), r)
			if r.Err != nil || r.Missing != c.missing || r.Process != "nft" || r.PID == 0 {
				t.Errorf("%s: told %+v, want missing %v, by nft", c.script, r, c.missing)
			}
		case <-time.After(patience):
			t.Fatalf("%s: nothing was restored", c.script)
		}
		wantIntact(t, g, "after "+c.script)
		if after, err := g.Read(); err != nil || after != before {
			t.Errorf("%s: the counters were %+v and are %+v, %v", c.script, before, after, err)
		}
		if after := counted(t, g, 1); after.PlainL2TP.Packets != before.PlainL2TP.Packets+1 {
			t.Errorf("%s: one packet later the counters are %+v", c.script, after)
		}
	}
	if list := run(t, "nft", "list", "ruleset"); strings.Contains(list, "chain more") || !strings.Contains(list, "table inet filter") {
		t.Errorf("a strange chain is still in our table, or a strange table is gone:\n%s", list)
	}
	for _, script := range []string{
		"add table ip l2tpctl; add table inet other; add chain inet other prerouting; delete table inet other; delete table ip l2tpctl",
		"add table inet other; add set inet other s { type ipv4_addr; }; flush table inet other",
	} {
		run(t, "nft", script)
	}
	select {
	case r := <-told:
		t.Errorf("other tables are none of our business: %+v", r)
	case <-time.After(time.Second):
	}
}

// TestGuardAgainstAnotherProgram has somebody flush all the time: the table comes back every time, and is there at the end.
func TestGuardAgainstAnotherProgram(t *testing.T) {
	g, told := guarded(t)
	const flushes = 30
	for range flushes {
		run(t, "nft", "flush ruleset")
	}
	// Events may be lost, restorations may be put off: what counts is the end.
	eventually(t, "the table is there, and that is told", func() (string, bool) {
		ok, err := g.Intact()
		return fmt.Sprintf("intact %v, %v; %d restorations", ok, err, len(told)), ok && err == nil && len(told) > 0
	})
	n := len(told)
	t.Logf("%d restorations after %d flushes", n, flushes)
	if n > flushes {
		t.Errorf("%d restorations after %d flushes", n, flushes)
	}
}

// TestGuardCloses: what happens after Close is not undone.
func TestGuardCloses(t *testing.T) {
	g, told := guarded(t)
	must(t, g.Close())
	must(t, Remove(g.cfg))
	time.Sleep(200 * time.Millisecond)
	if out, err := exec.Command("nft", "list", "tables").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("there is %s, %v", out, err)
	}
	if len(told) > 0 {
		t.Errorf("told %+v", <-told)
	}
}
