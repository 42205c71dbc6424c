package ikev1_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// withBigCertificate configures a certificate of several kilobytes, and trust in its authority.
func withBigCertificate(t testing.TB) func(*ikev1.Config) {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	issue := func(template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) *x509.Certificate {
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(2), start.Add(-time.Hour), start.Add(1000*time.Hour)
		der, err := x509.CreateCertificate(crand.Reader, template, parent, public, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	rootKey, leafKey := key(), key()
	root := &x509.Certificate{
		Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	root = issue(root, root, &rootKey.PublicKey, rootKey)
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "gateway"}, KeyUsage: x509.KeyUsageDigitalSignature}
	for n := range 150 {
		leaf.DNSNames = append(leaf.DNSNames, fmt.Sprintf("gateway%03d.example.com", n))
	}
	leaf = issue(leaf, root, &leafKey.PublicKey, rootKey)
	credential, err := pki.NewCredential([]*x509.Certificate{leaf}, leafKey)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := pki.NewTrust(pki.TrustConfig{Anchors: []*x509.Certificate{root}})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *ikev1.Config) { c.Credentials, c.Trust = []*pki.Credential{credential}, trust }
}

// TestFragmentsOfCertificates: messages 5 and 6 with big certificates go in fragments, which may be lost, repeated and out of order.
func TestFragmentsOfCertificates(t *testing.T) {
	certificate := withBigCertificate(t)
	for seed := range uint64(20) {
		p := newPair(t, seed, certificate)
		if seed > 0 {
			p.loss, p.twice, p.delay = 0.1, 0.1, 50*time.Millisecond
		}
		fragments, longest := 0, 0
		p.watch = func(d ikev1.Datagram) {
			longest = max(longest, len(d.Payload))
			if h, err := wire.ParseHeader(d.Payload); err == nil && h.NextPayload == wire.PayloadFragment {
				fragments++
			}
		}
		left := p.ends[0]
		c := left.connection()
		c.Method = pki.ECDSA256
		id := left.connect(c)
		p.run(time.Minute)
		if len(left.children()) != 1 {
			t.Fatalf("seed %d: no child: %s; %s", seed, left.describe(), left.other.describe())
		}
		p.consistent()
		if fragments < 8 || longest > 1252 {
			t.Errorf("seed %d: %d fragments, the longest datagram has %d octets", seed, fragments, longest)
		}
		p.loss, p.twice = 0, 0
		left.absorb(left.engine.Disconnect(p.now, id, "enough"))
		p.run(24 * time.Hour)
		p.over()
	}
}
