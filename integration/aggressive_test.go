//go:build integration

package integration

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

const groupPSK = "the key of the group of the integration tests"

// groupOptions are those of a client that begins with Aggressive Mode; id is what strongSwan calls itself.
func groupOptions(user, id string, more ...string) lab.ClientOptions {
	o := options(user)
	o.PSK = groupPSK
	o.IPsec = append([]string{"rekey=no", "aggressive=yes", "leftid=" + id}, more...)
	return o
}

// TestAggressiveMode connects members of a group by Aggressive Mode, with a NAT and without, and one by Main Mode; strangers it keeps out.
func TestAggressiveMode(t *testing.T) {
	t.Parallel() // who is kept out takes long to give up
	f := setUp(t, config(fmt.Sprintf("ike:\n  psk: %q\n  half_open_timeout: 15s\n  groups:\n    - name: sales\n      psk: %q\n", psk, groupPSK),
		"alice", "bob", "carol", "dave", "eve"))
	alice := f.started(f.HomeClient("alice", groupOptions("alice", "keyid:sales")))
	bob := f.started(f.HomeClient("bob", groupOptions("bob", "@#73616c6573"))) // the same name
	carol := f.started(f.PublicClient("carol", groupOptions("carol", "@sales")))
	dave := f.home("dave") // Main Mode
	clients := []*lab.Client{alice, bob, carol, dave}
	for _, c := range clients {
		f.passesTraffic(c, f.connect(c))
	}
	connected, err := f.Server.Events(f.ctx, "client_connected")
	f.must(err)
	var names []string
	for _, e := range connected {
		names = append(names, e.Identity)
	}
	slices.Sort(names)
	if len(names) != 4 || !slices.Equal(names[1:], []string{"sales", "sales", "sales"}) {
		t.Errorf("the clients call themselves %q", names)
	}
	f.each(clients, func(c *lab.Client) error { return c.Disconnect(f.ctx) })
	f.empty()

	stranger := f.started(f.HomeClient("eve", groupOptions("eve", "keyid:marketing")))
	if err := stranger.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp: %v, want %v", err, lab.ErrIPsec)
	}
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "phase 1 failed", "in the name of no group", "marketing"))
	o := groupOptions("mallory", "keyid:sales")
	o.PSK = "not the key"
	mallory := f.started(f.HomeClient("mallory", o))
	if err := mallory.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp: %v, want %v", err, lab.ErrIPsec)
	}
	f.must(f.Server.Says(f.ctx, 60*time.Second, "WARN", "phase 1 failed", "message 3 of Aggressive Mode did not arrive", "group sales"))
	if stats := f.stats().IKE; stats.Established != 4 || stats.Drops["unknown_group"] == 0 {
		t.Errorf("4 clients should have been let in, and one refused: %+v", stats)
	}
	f.empty()
}

// TestAggressiveModeOff has a client with a group name, and a server without groups.
func TestAggressiveModeOff(t *testing.T) {
	t.Parallel()
	f := setUp(t, config("", "alice"))
	alice := f.started(f.HomeClient("alice", groupOptions("alice", "keyid:sales")))
	if err := alice.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("IPsecUp: %v, want %v", err, lab.ErrIPsec)
	}
	f.must(f.Server.Says(f.ctx, 20*time.Second, "WARN", "phase 1 failed", "Aggressive Mode, which is off"))
	if stats := f.stats().IKE; stats.Sent != 0 || stats.Drops["aggressive_mode"] != stats.Received {
		t.Errorf("nothing should have been answered: %+v", stats)
	}
}
