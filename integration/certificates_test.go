//go:build integration

package integration

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

// hierarchy is a root with an authority below, which issues the clients' certificates.
type hierarchy struct{ root, below *lab.Authority }

func (f *fixture) hierarchy(kind lab.KeyKind) hierarchy {
	f.t.Helper()
	root, err := f.Authority("root", kind)
	f.must(err)
	below, err := root.Below("below", kind)
	f.must(err)
	return hierarchy{root, below}
}

// serve gives the server a certificate of the root and starts it again without a pre-shared key.
func (f *fixture) serve(h hierarchy, kind lab.KeyKind, extra string, users ...string) {
	f.t.Helper()
	server, err := h.root.Identity("server.example.com", kind, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IP(lab.ServerAddress.AsSlice())}
	})
	f.must(err)
	f.must(f.Server.Stop())
	f.must(f.Server.Configure(config(fmt.Sprintf("ike:\n  certificates: [{certificate: %s, key: %s}]\n  authorities: [%s]\n%s",
		server.Certificate, server.Key, h.root.File, extra), users...)))
	f.must(f.Server.Start(f.ctx))
}

// holder is a strongSwan behind the NAT with a certificate.
func (f *fixture) holder(h hierarchy, id *lab.Identity, user string) *lab.Client {
	f.t.Helper()
	o := options(user)
	o.PSK, o.Identity, o.Roots = "", id, []string{h.root.File}
	return f.started(f.HomeClient(user, o))
}

// TestCertificates has strongSwan and l2tpctl authenticate each other with certificates, the client's through an intermediate authority.
func TestCertificates(t *testing.T) {
	for _, kind := range []lab.KeyKind{"rsa2048", "ecdsa256", "ecdsa384", "ecdsa521"} {
		t.Run(string(kind), func(t *testing.T) {
			f := setUp(t, config("", "alice"))
			h := f.hierarchy(kind)
			f.serve(h, kind, "  revocation: off\n", "alice")
			id, err := h.below.Identity("alice.example.com", kind, nil)
			f.must(err)
			alice := f.holder(h, id, "alice")
			session := f.connect(alice)
			method := strings.TrimSuffix(string(kind), "2048")
			if tunnel := f.onlyTunnel(); !strings.Contains(tunnel.Identity, "alice.example.com") || tunnel.IKEAuth != method {
				t.Errorf("the tunnel's identity is %q, authenticated by %s", tunnel.Identity, tunnel.IKEAuth)
			}
			f.passesTraffic(alice, session)
			f.must(alice.Disconnect(f.ctx))
			f.empty()
		})
	}
}

// TestRevokedCertificate: one client's certificate is on the CRL, the other's is not.
func TestRevokedCertificate(t *testing.T) {
	f := setUp(t, config("", "alice", "bob"))
	h := f.hierarchy("ecdsa256")
	good, err := h.below.Identity("alice.example.com", "ecdsa256", nil)
	f.must(err)
	bad, err := h.below.Identity("bob.example.com", "ecdsa256", nil)
	f.must(err)
	lower, err := h.below.Revoke(bad)
	f.must(err)
	upper, err := h.root.Revoke()
	f.must(err)
	f.serve(h, "ecdsa256", fmt.Sprintf("  revocation: strict\n  crls: [%s, %s]\n", lower, upper), "alice", "bob")

	alice, bob := f.holder(h, good, "alice"), f.holder(h, bad, "bob")
	session := f.connect(alice)
	f.pings(alice.Namespace, inner)
	if err := bob.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("the client with the revoked certificate: %v", err)
	}
	f.must(f.Server.Says(f.ctx, 30*time.Second, "certificate_revoked", "bob.example.com"))
	f.pings(f.Server.Namespace, session.IP)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}

// TestForeignCertificate: an authority that the server does not know.
func TestForeignCertificate(t *testing.T) {
	f := setUp(t, config("", "mallory"))
	h := f.hierarchy("ecdsa256")
	f.serve(h, "ecdsa256", "  revocation: off\n", "mallory")
	foreign, err := f.Authority("foreign", "ecdsa256")
	f.must(err)
	id, err := foreign.Identity("mallory.example.com", "ecdsa256", nil)
	f.must(err)
	mallory := f.holder(h, id, "mallory")
	if err := mallory.IPsecUp(f.ctx); !errors.Is(err, lab.ErrIPsec) {
		t.Errorf("the client of a foreign authority: %v", err)
	}
	f.must(f.Server.Says(f.ctx, 30*time.Second, "certificate_untrusted"))
	f.empty()
}

// TestBigCertificate: message 5 and message 6 do not fit into a packet, and both sides send them in fragments.
func TestBigCertificate(t *testing.T) {
	f := setUp(t, config("", "alice"))
	h := f.hierarchy("rsa4096")
	f.serve(h, "rsa4096", "  revocation: off\n", "alice")
	id, err := h.below.Identity("alice.example.com", "rsa4096", func(c *x509.Certificate) {
		for i := range 60 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("a-long-name-number-%d.of-alice.example.com", i))
		}
	})
	f.must(err)
	alice := f.holder(h, id, "alice")
	session := f.connect(alice)
	f.must(alice.CharonSays(f.ctx, 0, "splitting IKE message"))
	f.must(alice.CharonSays(f.ctx, 0, "received fragment #2"))
	f.pings(alice.Namespace, inner)
	f.pings(f.Server.Namespace, session.IP)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}
