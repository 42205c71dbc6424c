//go:build integration

package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

// TestClientVanishes has a client disappear without a word, with one way at a time in which the daemon may notice.
func TestClientVanishes(t *testing.T) {
	t.Parallel()
	const never = "1h" // longer than the test; DPD and LCP echo have 0 for that
	for _, tt := range []struct {
		name             string
		dpd, hello, echo string
		limit            time.Duration
		says             []string // one line of the daemon's log
	}{
		{"LCP echo", "0s", never, "1s", 60 * time.Second, []string{"session down", "does not answer LCP echo"}},
		{"DPD", "2s", never, "0s", 90 * time.Second, []string{"client gone", "dead peer: no answer for 12s"}},
		// Retransmissions: 1, 2, 4, 8, 8 and 8 s.
		{"L2TP Hello", "0s", "5s", "0s", 120 * time.Second, []string{"tunnel down", "the peer does not answer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, config(fmt.Sprintf("ike:\n  psk: %q\n  dpd_interval: %s\n  dpd_timeout: 12s\nl2tp:\n  hello_interval: %s\nppp:\n  echo_interval: %s\n  echo_failures: 6\n",
				psk, tt.dpd, tt.hello, tt.echo), "alice", "bob"))
			alice, bob := f.public("alice"), f.home("bob")
			ofAlice, ofBob := f.connect(alice), f.connect(bob)
			f.must(alice.Vanish())
			f.must(lab.Until(f.ctx, tt.limit, "alice is given up", func() error { return f.onlySession("bob") }))
			f.must(f.Server.Says(f.ctx, 20*time.Second, append(tt.says, fmt.Sprint(ofAlice.TunnelID))...))
			f.passesTraffic(bob, ofBob)
			f.must(alice.Restart(f.ctx))
			f.passesTraffic(alice, f.connect(alice))
			f.must(alice.Disconnect(f.ctx))
			f.must(bob.Disconnect(f.ctx))
			if tt.name != "LCP echo" { // which ends the session; the client's SAs have five minutes to carry another
				f.empty()
			}
		})
	}
}

// TestServerStops has the daemon say goodbye to its clients.
func TestServerStops(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	alice, bob := f.home("alice"), f.public("bob")
	type marks struct{ charon, xl2tpd int64 }
	at := map[*lab.Client]marks{}
	for _, c := range []*lab.Client{alice, bob} {
		f.connect(c)
		charon, xl2tpd := c.LogMarks()
		at[c] = marks{charon, xl2tpd}
	}
	f.stopped()
	for c, mark := range at {
		f.must(c.CharonSays(f.ctx, mark.charon, "received DELETE for IKE_SA"))
		f.must(c.TunnelSays(f.ctx, mark.xl2tpd, "Connection closed to"))
		f.must(c.WaitDown(f.ctx))
	}
}

// TestOperatorDisconnects ends one client by its session and another by its tunnel.
func TestOperatorDisconnects(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	alice, bob := f.home("alice"), f.home("bob")
	ofAlice, ofBob := f.connect(alice), f.connect(bob)
	_, err := f.Server.CLI(f.ctx, "session", "disconnect", ofAlice.ID)
	f.must(err)
	f.must(alice.WaitDown(f.ctx))
	f.must(lab.Until(f.ctx, 60*time.Second, "alice's session is gone", func() error { return f.onlySession("bob") }))
	f.pings(bob.Namespace, inner)
	_, err = f.Server.CLI(f.ctx, "tunnel", "close", fmt.Sprint(ofBob.TunnelID))
	f.must(err)
	f.must(bob.WaitDown(f.ctx))
	f.empty()
}

// TestRedialInsideSA hangs up and dials again without a new Quick Mode: the next tunnel uses the same slot.
func TestRedialInsideSA(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.home("alice")
	first := f.connect(alice)
	f.must(alice.HangUp(f.ctx))
	f.must(lab.Until(f.ctx, 60*time.Second, "the first session is gone", func() error {
		sessions, err := f.Server.Sessions(f.ctx)
		if err == nil && len(sessions) > 0 {
			err = fmt.Errorf("the sessions are %+v", sessions)
		}
		return err
	}))
	_, err := alice.Dial(f.ctx)
	f.must(err)
	second, err := f.Server.SessionOf(f.ctx, "alice")
	f.must(err)
	if first.TunnelID != second.TunnelID {
		t.Errorf("the slot changed from %d to %d inside one SA", first.TunnelID, second.TunnelID)
	}
	f.passesTraffic(alice, second)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}
