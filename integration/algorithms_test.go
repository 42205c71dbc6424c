//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

// TestAlgorithms connects clients that differ in what they propose, in the notation of strongSwan and of l2tpctl, all to one daemon: with
// every cipher, hash and group of either phase, and groups of PFS.
func TestAlgorithms(t *testing.T) {
	pairs := []struct{ ike, esp, pfs string }{
		{"aes128-sha1-modp2048", "aes128-sha1", "-modp2048"},
		{"aes192-sha256-modp3072", "aes192-sha256", ""},
		{"aes256-sha384-modp4096", "aes256-sha384", ""},
		{"aes256-sha512-ecp256", "aes256-sha512", "-ecp256"},
		{"aes128-sha256-ecp384", "aes128gcm16", "-ecp384"},
		{"aes256-sha1-ecp256", "aes192gcm16", ""},
		{"aes256-sha384-ecp384", "aes256gcm16", ""},
		{"aes256-sha512-ecp521", "aes128gcm12", ""},
		{"aes128-sha256-modp6144", "aes192gcm12", ""},
		{"aes256-sha256-modp8192", "aes256gcm12", ""},
		{"3des-sha1-modp1024", "3des-sha1", ""},
		{"3des-sha256-modp1536", "3des-sha256", ""},
		{"aes192-sha384-modp1024", "aes128gcm8", ""},
		{"aes192-sha512-modp1536", "aes192gcm8", ""},
		{"aes192-sha1-modp2048", "aes256gcm8", ""},
	}
	users := names(len(pairs))
	var every []string
	for _, pair := range pairs {
		every = append(every, pair.ike)
	}
	f := setUp(t, config(fmt.Sprintf("ike:\n  psk: %q\n  profile: legacy\n  proposals: [%s]\n", psk, strings.Join(every, ", ")), users...))
	clients := make([]*lab.Client, len(pairs))
	want := map[string]string{} // by tunnel
	for i, pair := range pairs {
		o := options(users[i])
		o.IKE, o.ESP = pair.ike, pair.esp+pair.pfs
		var err error
		clients[i], err = f.HomeClient(users[i], o)
		f.must(err)
	}
	f.each(clients, func(c *lab.Client) error { return c.Start(f.ctx) })
	for i, c := range clients {
		session := f.connect(c)
		want[fmt.Sprint(session.TunnelID)] = pairs[i].ike + " " + pairs[i].esp
		f.pings(c.Namespace, inner)
		f.pings(f.Server.Namespace, session.IP)
	}
	tunnels, err := f.Server.Tunnels(f.ctx)
	f.must(err)
	for _, tunnel := range tunnels {
		id := fmt.Sprint(tunnel.ID)
		if got := tunnel.IKEProposal + " " + tunnel.ESPProposal; got != want[id] {
			t.Errorf("tunnel %s has %s, want %s", id, got, want[id])
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("there is no tunnel for %v", want)
	}
	f.each(clients, func(c *lab.Client) error { return c.Disconnect(f.ctx) })
	f.empty()
}

// TestAuthenticationMethods allows one PPP authentication method at a time; the client takes whichever it is asked for.
func TestAuthenticationMethods(t *testing.T) {
	f := setUp(t, config("", "alice"))
	alice := f.home("alice")
	for _, method := range []string{"pap", "chap", "mschapv2"} {
		f.must(f.Server.Stop())
		f.must(f.Server.Configure(config("ppp:\n  auth: ["+method+"]\n", "alice")))
		f.must(f.Server.Start(f.ctx))
		session := f.connect(alice)
		if session.Auth != method {
			t.Errorf("the session's method is %q, want %q", session.Auth, method)
		}
		f.pings(alice.Namespace, inner)
		f.must(alice.Disconnect(f.ctx))
		f.empty()
	}
}
