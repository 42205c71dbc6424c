//go:build integration

package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
)

// soon is for what the daemon hears from the kernel. It looks for nothing of that by itself.
const soon = 10 * time.Second

// saOf returns an SA of a session's client.
func (f *fixture) saOf(session control.Session, direction string) control.SA {
	f.t.Helper()
	sas, err := f.Server.SAs(f.ctx)
	f.must(err)
	for _, sa := range sas {
		if sa.TunnelID == session.TunnelID && sa.Direction == direction {
			return sa
		}
	}
	f.t.Fatalf("session %s has no SA %s: %+v", session.ID, direction, sas)
	return control.SA{}
}

// event waits for an event of a tunnel.
func (f *fixture) event(limit time.Duration, kind string, tunnel uint16) (event control.Event) {
	f.t.Helper()
	f.must(lab.Until(f.ctx, limit, "event "+kind, func() error {
		events, err := f.Server.Events(f.ctx, kind)
		for _, event = range events {
			if event.TunnelID == tunnel {
				return nil
			}
		}
		return fmt.Errorf("there are %+v (%v)", events, err)
	}))
	return event
}

// strangers makes what belongs to others in the server's namespace and returns a check that it is all there still, which removes it.
func (f *fixture) strangers() (unharmed func()) {
	f.t.Helper()
	same, remove := f.foreigners()
	return func() {
		f.t.Helper()
		same()
		remove()
	}
}

// foreignTunnel finds the tunnel of others in what ip prints, and not one whose number only begins alike.
var foreignTunnel = regexp.MustCompile(`(?i)\btunnel 77\b`)

// foreigners makes what belongs to others in the server's namespace; same checks that it is all there still.
func (f *fixture) foreigners() (same, remove func()) {
	f.t.Helper()
	keys := "enc cbc(aes) 0x00112233445566778899aabbccddeeff auth-trunc hmac(sha1) 0x00112233445566778899aabbccddeeff00112233 96"
	f.must(f.Server.Batch(
		"xfrm state add src 192.0.2.1 dst 192.0.2.200 proto esp spi 0x7777 reqid 77 mode tunnel "+keys,
		"xfrm state add src 192.0.2.200 dst 192.0.2.1 proto esp spi 0x7778 reqid 0x17024000 mode tunnel "+keys,
		"xfrm policy add src 10.77.0.0/24 dst 10.78.0.0/24 dir out tmpl src 192.0.2.1 dst 192.0.2.200 proto esp reqid 77 mode tunnel",
		"l2tp add tunnel tunnel_id 77 peer_tunnel_id 78 encap udp local 192.0.2.1 remote 192.0.2.200 udp_sport 7777 udp_dport 7777",
		"l2tp add session name foreign tunnel_id 77 session_id 1 peer_session_id 2",
		"link set foreign up"))
	f.must(f.Server.Nft("add table inet foreign; add chain inet foreign in { type filter hook input priority 0; }; add rule inet foreign in counter"))
	look := func() string {
		var all strings.Builder
		for _, args := range [][]string{
			{"ip", "xfrm", "state", "list", "reqid", "77"}, {"ip", "xfrm", "state", "list", "reqid", fmt.Sprint(0x17024000)}, {"ip", "xfrm", "policy", "list", "nosock"},
			{"ip", "l2tp", "show", "tunnel", "tunnel_id", "77"}, {"ip", "l2tp", "show", "session", "tunnel_id", "77"}, {"ip", "-br", "link", "show", "foreign"},
			{"nft", "-s", "list", "table", "inet", "foreign"},
		} {
			out, err := f.Server.Run(f.ctx, args...)
			f.must(err)
			for line := range strings.Lines(out) {
				if args[1] != "l2tp" || foreignTunnel.MatchString(line) { // it shows all
					all.WriteString(line)
				}
			}
		}
		return all.String()
	}
	before := look()
	same = func() {
		f.t.Helper()
		if after := look(); after != before {
			f.t.Errorf("what belongs to others was\n%s\nand is\n%s", before, after)
		}
	}
	return same, func() {
		f.t.Helper()
		f.must(f.Server.Batch("l2tp del session tunnel_id 77 session_id 1", "l2tp del tunnel tunnel_id 77", "xfrm policy flush",
			"xfrm state delete src 192.0.2.1 dst 192.0.2.200 proto esp spi 0x7777", "xfrm state delete src 192.0.2.200 dst 192.0.2.1 proto esp spi 0x7778"))
	}
}

// TestRemovedSA deletes SAs under the daemon: bob negotiates anew and keeps his session; alice does not, and is ended. Neither leaves
// anything in the clear, and what belongs to others stays.
func TestRemovedSA(t *testing.T) {
	t.Parallel() // one client is waited for
	f := setUp(t, config("", "alice", "bob"))
	unharmed := f.strangers()
	alice, bob := f.home("alice"), f.public("bob")
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	wire, err := f.Server.Capture("eth0", fmt.Sprintf("src host %s and (%s)", lab.ServerAddress, cleartext))
	f.must(err)
	for direction, session := range map[string]control.Session{"out": ofAlice, "in": ofBob} {
		sa := f.saOf(session, direction)
		f.must(f.Server.Batch(fmt.Sprintf("xfrm state delete src %s dst %s proto esp spi %s", sa.Src, sa.Dst, sa.SPI)))
		if e := f.event(soon, "sa_lost", session.TunnelID); e.Severity != "warning" || e.Cause != "removed" || e.Peer != session.Peer {
			t.Errorf("told %+v of %+v", e, session)
		}
	}
	_, err = f.Server.PingInVain(f.ctx, ofAlice.IP, 5) // has no SA to leave by
	f.must(err)

	f.renew(bob) // another Quick Mode
	f.passesTraffic(bob, ofBob)
	if e := f.event(90*time.Second, "session_down", ofAlice.TunnelID); !strings.Contains(e.Text, "removed from the kernel") {
		t.Errorf("alice's session ended with %+v", e)
	}
	f.must(lab.Until(f.ctx, 60*time.Second, "alice is gone", func() error { return f.onlySession("bob") }))
	f.passesTraffic(bob, ofBob)
	packets, err := wire.Stop()
	f.must(err)
	if len(packets) > 0 {
		t.Errorf("in the clear:\n%s", strings.Join(packets, "\n"))
	}
	if stats := f.stats(); stats.Errors.LostSAs != 2 {
		t.Errorf("%d SAs are counted as lost", stats.Errors.LostSAs)
	}

	unharmed()

	// Somebody takes away everything.
	f.must(f.Server.Batch("xfrm state flush"))
	f.must(lab.Until(f.ctx, soon, "the flush is noticed", func() error {
		if n := f.stats().Errors.LostSAs; n != 3 {
			return fmt.Errorf("%d SAs are counted as lost", n)
		}
		return nil
	}))
	f.must(alice.Restart(f.ctx))
	f.passesTraffic(alice, f.connect(alice))
	f.renew(bob)
	f.passesTraffic(bob, ofBob)
	f.must(alice.Disconnect(f.ctx))
	f.must(bob.Disconnect(f.ctx))
	f.empty()
}

// sameAsWanted waits until there is no difference between daemon and kernel.
func (f *fixture) sameAsWanted() {
	f.t.Helper()
	f.must(lab.Until(f.ctx, 30*time.Second, "daemon and kernel agree", func() error {
		drift, err := f.Server.Drift(f.ctx)
		if err == nil && len(drift) > 0 {
			err = fmt.Errorf("they differ in %+v", drift)
		}
		return err
	}))
}

// TestDrift lets the daemon sleep while everything of a client is removed, and somebody makes what looks like ours; doctor tells of what the
// daemon does not repair.
func TestDrift(t *testing.T) {
	f := setUp(t, config("", "alice"))
	unharmed := f.strangers()
	f.sameAsWanted()
	alice := f.home("alice")
	session := f.connect(alice)
	f.sameAsWanted()
	f.must(f.Server.Batch(
		"xfrm state add src 192.0.2.1 dst 192.0.2.200 proto esp spi 0x7779 reqid "+fmt.Sprint(0x17014abc)+" mode transport enc cbc(aes) 0x00112233445566778899aabbccddeeff auth-trunc hmac(sha1) 0x00112233445566778899aabbccddeeff00112233 96",
		fmt.Sprintf("link set dev %s down", session.Interface), fmt.Sprintf("link set dev %s name elsewhere", session.Interface)))
	want := []control.Drift{
		{Object: "interface", Name: session.Interface, TunnelID: session.TunnelID, Problem: "missing"},
		{Object: "sa", Name: "0x00007779 to 192.0.2.200", TunnelID: 0x4abc, Problem: "unexpected"},
	}
	drift, err := f.Server.Drift(f.ctx)
	f.must(err)
	if !slices.Equal(drift, want) {
		t.Errorf("the drift is %+v, want %+v", drift, want)
	}
	findings, err := f.Server.Doctor(f.ctx)
	f.must(err)
	told := 0
	for _, found := range findings {
		if found.Name == "drift" && found.Status == doctor.Warn && found.Fix != "" {
			told++
		}
	}
	if told != len(want) {
		t.Errorf("doctor tells of %d differences: %+v", told, findings)
	}
	f.must(f.Server.Batch("xfrm state delete src 192.0.2.1 dst 192.0.2.200 proto esp spi 0x7779",
		fmt.Sprintf("link set dev elsewhere name %s", session.Interface)))

	f.must(f.Server.Process.Pause())
	f.must(f.Server.Nft("flush ruleset; add table inet foreign; add chain inet foreign in { type filter hook input priority 0; }; add rule inet foreign in counter"))
	f.must(f.Server.Batch(fmt.Sprintf("l2tp del tunnel tunnel_id %d", session.TunnelID)))
	f.must(f.Server.Process.Resume())
	f.must(alice.WaitDown(f.ctx))
	f.sameAsWanted()
	_, err = alice.Dial(f.ctx)
	f.must(err)
	f.sessionOf("alice")
	f.pings(alice.Namespace, inner)
	f.sameAsWanted()
	unharmed()
	f.must(alice.Disconnect(f.ctx))
	f.empty()
	f.sameAsWanted()
}

// TestRemovedFromKernel deletes a tunnel, a session, an interface and a pppd under the daemon: each is noticed at once, its session ends with
// the reason, and the client, which is told, can dial again. What belongs to others stays.
func TestRemovedFromKernel(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	unharmed := f.strangers()
	alice, bob := f.home("alice"), f.public("bob")
	ofBob := f.connect(bob)
	wire, err := f.Server.Capture("eth0", cleartext)
	f.must(err)
	f.must(alice.IPsecUp(f.ctx))
	for _, c := range []struct {
		what, event, reason string
		do                  func(control.Session) error
	}{
		{"tunnel", "tunnel_lost", "its tunnel was removed from the kernel", func(s control.Session) error {
			return f.Server.Batch(fmt.Sprintf("l2tp del tunnel tunnel_id %d", s.TunnelID))
		}},
		{"session", "session_lost", "it was removed from the kernel", func(s control.Session) error {
			tunnel, session := f.kernelSession(s.TunnelID)
			return f.Server.Batch(fmt.Sprintf("l2tp del session tunnel_id %d session_id %d", tunnel, session))
		}},
		{"interface", "interface_lost", "its interface was removed", func(s control.Session) error { return f.Server.Batch("link del " + s.Interface) }},
		{"pppd", "", "", func(s control.Session) error {
			return f.Server.KillPPPD(s.Interface)
		}},
	} {
		_, err := alice.Dial(f.ctx)
		f.must(err)
		session, err := f.Server.SessionOf(f.ctx, "alice")
		f.must(err)
		f.pings(alice.Namespace, inner)
		before, err := f.Server.Events(f.ctx, "session_down")
		f.must(err)
		f.must(c.do(session))
		began := time.Now()
		if c.event != "" {
			if e := f.event(soon, c.event, session.TunnelID); e.Severity != "warning" || e.Cause != "removed" || e.Hint == "" || e.Peer != session.Peer {
				t.Errorf("%s: told %+v", c.what, e)
			}
		}
		f.must(lab.Until(f.ctx, 30*time.Second, c.what+": the session has ended", func() error {
			down, err := f.Server.Events(f.ctx, "session_down")
			if err != nil || len(down) != len(before)+1 {
				return fmt.Errorf("%d sessions have ended (%v)", len(down), err)
			}
			last := down[len(down)-1]
			if t.Logf("%s: ended within %v: %s", c.what, time.Since(began), last.Text); last.SessionID != session.ID || last.Text == "" || !strings.Contains(last.Text, c.reason) {
				t.Errorf("%s: the session ended with %+v", c.what, last)
			}
			return nil
		}))
		f.must(alice.WaitDown(f.ctx))
		f.pings(bob.Namespace, inner)
	}
	f.passesTraffic(bob, ofBob)
	packets, err := wire.Stop()
	f.must(err)
	if len(packets) > 0 {
		t.Errorf("in the clear:\n%s", strings.Join(packets, "\n"))
	}
	unharmed()
	f.must(alice.IPsecDown(f.ctx))
	f.must(bob.Disconnect(f.ctx))
	f.empty()
}
