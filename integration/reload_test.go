//go:build integration

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// TestReload changes the key, the pool, the MTU and the users under two clients with traffic, and then tries a faulty file.
func TestReload(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	alice, bob := f.home("alice"), f.public("bob")
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	pings := []streams{f.stream(alice, ofAlice), f.stream(bob, ofBob)}

	const newPSK = "another key of the integration tests"
	changed := config(fmt.Sprintf("ike: {psk: %q}\npool: 10.98.0.0/24\nppp: {mtu: 1300}\n", newPSK), "alice", "carol")
	f.must(f.Server.Configure(changed))
	reload := func() (changes []control.Change) {
		t.Helper()
		out, err := f.Server.CLI(f.ctx, "reload", "-o", "json")
		f.must(err)
		f.must(json.Unmarshal([]byte(out), &changes))
		return changes
	}
	var keys []string
	for _, ch := range reload() {
		keys = append(keys, ch.Effect+" "+ch.Key)
	}
	if got, want := strings.Join(keys, ", "), "now ike.psk, now users[carol], now users[bob], now pool, reconnect ppp.local_address, reconnect ppp.mtu"; got != want {
		t.Errorf("changed: %s, want %s", got, want)
	}

	o := options("carol")
	o.PSK = newPSK
	carol := f.started(f.HomeClient("carol", o))
	ofCarol := f.connect(carol)
	ours := netip.MustParseAddr("10.98.0.1")
	if !netip.MustParsePrefix("10.98.0.0/24").Contains(ofCarol.IP) || ofCarol.MTU != 1300 {
		t.Errorf("the new session is %+v", ofCarol)
	}
	f.pings(carol.Namespace, ours)
	f.pings(f.Server.Namespace, ofCarol.IP)

	f.must(f.Server.Configure(strings.Replace(changed, "10.98.0.0/24", "10.97.0.0/240", 1)))
	if out, err := f.Server.CLI(f.ctx, "reload"); err == nil || out != "" || !strings.Contains(err.Error(), "exit status 1") ||
		!strings.Contains(err.Error(), `: pool: found "10.97.0.0/240"`) || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("a faulty file: %q, %v", out, err)
	}
	f.must(f.Server.Configure(changed))
	if left := reload(); len(left) > 0 {
		t.Errorf("the faulty file has changed something: going back makes %+v", left)
	}

	f.must(f.Server.Configure(strings.Replace(changed, "mtu: 1300", "mtu: 1310", 1)))
	f.must(syscall.Kill(f.Server.Process.PID(), syscall.SIGHUP))
	f.must(lab.Until(f.ctx, 30*time.Second, "SIGHUP reloads", func() error {
		events, err := f.Server.Events(f.ctx, "configuration_reloaded")
		if err == nil && (len(events) != 3 || !strings.Contains(events[2].Text, "ppp.mtu")) {
			err = fmt.Errorf("events %+v", events)
		}
		return err
	}))

	for _, c := range []*lab.Client{alice, bob} { // some more for the streams to count, too
		f.pings(c.Namespace, inner)
		f.pings(c.Namespace, inner)
	}
	for _, s := range pings {
		f.lost(s, 0)
	}
	for name, was := range map[string]control.Session{"alice": ofAlice, "bob": ofBob} {
		if is, err := f.Server.SessionOf(f.ctx, name); err != nil || is.ID != was.ID || is.IP != was.IP || is.MTU != was.MTU {
			t.Errorf("the session was %+v and is %+v (%v)", was, is, err)
		}
	}
	for _, c := range []*lab.Client{alice, bob, carol} {
		f.must(c.Disconnect(f.ctx))
	}
	f.empty()
	bobOnceMore := options("bob")
	bobOnceMore.PSK = newPSK
	bob2 := f.started(f.PublicClient("bob2", bobOnceMore))
	if address, err := bob2.Connect(f.ctx); !errors.Is(err, lab.ErrPPP) {
		t.Errorf("a user who was removed got %v, %v", address, err)
	}
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "authentication failed", "unknown user"))
	f.empty()
}
