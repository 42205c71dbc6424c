//go:build integration

package integration

import (
	"fmt"
	"testing"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

// TestForcedEncapsulation: a client without a NAT believes that there is one, and its ESP travels in UDP.
func TestForcedEncapsulation(t *testing.T) {
	f := setUp(t, config(fmt.Sprintf("ike:\n  psk: %q\n  force_encapsulation: true\n", psk), "alice", "bob"))
	for _, c := range []struct {
		name  string
		where func(string) *lab.Client
	}{{"alice", f.public}, {"bob", f.home}} {
		client := c.where(c.name)
		session := f.connect(client)
		f.must(client.CharonSays(f.ctx, 0, "local host is behind NAT"))
		sas, err := f.Server.SAs(f.ctx)
		f.must(err)
		if len(sas) != 2 {
			t.Errorf("%s: there are %d SAs, want 2: %+v", c.name, len(sas), sas)
		}
		for _, sa := range sas {
			if sa.Encapsulation == "" {
				t.Errorf("%s: an SA without encapsulation: %+v", c.name, sa)
			}
		}
		f.passesTraffic(client, session)
		f.must(client.Disconnect(f.ctx))
		f.empty()
	}
}

// TestShorterLifetimes: strongSwan, which asks for three hours and one, takes the notifications that both are less here.
func TestShorterLifetimes(t *testing.T) {
	f := setUp(t, config(fmt.Sprintf("ike:\n  psk: %q\n  lifetime: 20m\n  esp_lifetime: 10m\n", psk), "alice"))
	alice := f.home("alice")
	session := f.connect(alice)
	f.must(alice.CharonSays(f.ctx, 0, "parsed ID_PROT response 0 [ ID HASH N("))
	f.must(alice.CharonSays(f.ctx, 0, "NAT-OA N("))
	f.pings(alice.Namespace, inner)
	f.pings(f.Server.Namespace, session.IP)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

// TestIKEv2IsRefused: strongSwan begins with IKEv2 and gives up at the first answer, instead of asking for a minute.
func TestIKEv2IsRefused(t *testing.T) {
	f := setUp(t, config("", "alice"))
	o := options("alice")
	o.IPsec = []string{"keyexchange=ikev2"}
	alice, err := f.HomeClient("alice", o)
	alice = f.started(alice, err)
	if err := alice.IPsecUp(f.ctx); err == nil {
		t.Error("IPsec is up with IKEv2")
	}
	f.must(alice.CharonSays(f.ctx, 0, "received INVALID_MAJOR_VERSION notify error"))
	f.must(alice.CharonSays(f.ctx, 0, "CONNECTING => DESTROYING"))
	f.empty()
}
