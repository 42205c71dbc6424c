package ikev1_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// owner is somebody with a certificate.
type owner struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(crand.Reader, 2048) })

// certify makes a certificate for name, by issuer or by itself.
func certify(t *testing.T, issuer *owner, name string, key crypto.Signer, adjust func(*x509.Certificate)) *owner {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: start.Add(-time.Hour), NotAfter: start.Add(1000 * time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{name},
	}
	if adjust != nil {
		adjust(template)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(crand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &owner{cert, key}
}

func asAuthority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.DNSNames = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
}

// signer returns a key for a method.
func signer(t *testing.T, m pki.Method) crypto.Signer {
	t.Helper()
	curves := map[pki.Method]elliptic.Curve{pki.ECDSA256: elliptic.P256(), pki.ECDSA384: elliptic.P384(), pki.ECDSA521: elliptic.P521()}
	var key crypto.Signer
	var err error
	if curve := curves[m]; curve != nil {
		key, err = ecdsa.GenerateKey(curve, crand.Reader)
	} else {
		key, err = rsaKey()
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// identify gives an engine a certificate, with what vouches for it.
func identify(t *testing.T, who *owner, chain ...*owner) func(*ikev1.Config) {
	t.Helper()
	certs := []*x509.Certificate{who.cert}
	for _, c := range chain {
		certs = append(certs, c.cert)
	}
	credential, err := pki.NewCredential(certs, who.key)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *ikev1.Config) { c.Credentials = []*pki.Credential{credential} }
}

// trusting makes a configuration without pre-shared keys that trusts an authority.
func trusting(t *testing.T, anchors ...*owner) func(*ikev1.Config) {
	t.Helper()
	var certs []*x509.Certificate
	for _, a := range anchors {
		certs = append(certs, a.cert)
	}
	trust, err := pki.NewTrust(pki.TrustConfig{Anchors: certs})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *ikev1.Config) {
		c.Trust = trust
		c.PSK = func(netip.Addr, netip.Addr) []byte { return nil }
	}
}

// certified is a pair in which both ends have certificates by one authority; the initiator's is made by adjust.
func certified(t *testing.T, m pki.Method, adjust func(*x509.Certificate)) *pair {
	t.Helper()
	root := certify(t, nil, "root", signer(t, pki.ECDSA256), asAuthority)
	between := certify(t, root, "between", signer(t, pki.ECDSA256), asAuthority)
	caller := certify(t, between, "caller.example.com", signer(t, m), adjust)
	called := certify(t, root, "called.example.com", signer(t, m), nil)
	p := newPairOf(t, 7,
		[]func(*ikev1.Config){trusting(t, root), identify(t, caller, between)},
		[]func(*ikev1.Config){trusting(t, root), identify(t, called)})
	return p
}

// TestSignatures: both ends prove who they are with certificates, an intermediate one among them.
func TestSignatures(t *testing.T) {
	for _, m := range []pki.Method{pki.RSASignature, pki.ECDSA256, pki.ECDSA384, pki.ECDSA521} {
		for _, h := range []keymat.Hash{keymat.SHA1, keymat.SHA256, keymat.SHA512} {
			t.Run(m.String()+" "+h.String(), func(t *testing.T) {
				p := certified(t, m, nil)
				left, right := p.ends[0], p.ends[1]
				c := left.connection()
				c.Method = m
				c.Phase1 = []ikev1.Phase1Proposal{{Cipher: keymat.AES, KeyBits: 256, Hash: h, Group: dh.ECP256}}
				left.connect(c)
				p.run(5 * time.Second)
				if len(left.children()) != 1 {
					t.Fatalf("no child: %s; %s", left.describe(), right.describe())
				}
				p.consistent()
				want(t, right.engine.Clients()[0].Identity, "CN=caller.example.com,O=Example", "the client is called what its certificate calls it")
				if !has(right, func(e ikev1.Phase1Established) bool { return e.Method == m && e.RevocationUnknown }) {
					t.Error("the event does not name the method, or that nothing is known of revocations")
				}
			})
		}
	}
}

// TestRefusedCertificates: whatever is wrong with a certificate, the operator is told.
func TestRefusedCertificates(t *testing.T) {
	for _, c := range []struct {
		name   string
		adjust func(*x509.Certificate)
		cause  ikev1.Cause
	}{
		{"expired", func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Minute) }, ikev1.CauseCertificateExpired},
		{"not valid yet", func(c *x509.Certificate) { c.NotBefore = start.Add(time.Hour) }, ikev1.CauseCertificateFuture},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := certified(t, pki.ECDSA256, c.adjust)
			left, right := p.ends[0], p.ends[1]
			conn := left.connection()
			conn.Method = pki.ECDSA256
			left.connect(conn)
			p.run(2 * time.Minute)
			if !has(right, func(e ikev1.Phase1Failed) bool { return e.Code == c.cause && e.Hint != "" }) {
				t.Errorf("the operator is not told: %s", right.describe())
			}
			if len(right.engine.Clients()) != 0 {
				t.Error("it became a client")
			}
			p.over()
		})
	}
}

// TestLateVerification: nobody says in time whether a certificate is revoked; the operator is told, and what is said too late is ignored.
func TestLateVerification(t *testing.T) {
	for name, late := range map[string]int{"called": 1, "caller": 0} {
		t.Run(name, func(t *testing.T) {
			p := certified(t, pki.ECDSA256, nil)
			c := p.ends[0].connection()
			c.Method = pki.ECDSA256
			p.slow = func(e *end, a ikev1.Action) time.Duration {
				if _, verifies := a.(ikev1.VerifyPeer); verifies && e == p.ends[late] {
					return 2 * time.Minute
				}
				return 0
			}
			p.ends[0].connect(c)
			p.run(5 * time.Minute)
			if !has(p.ends[late], func(e ikev1.Phase1Failed) bool {
				return e.Code == ikev1.CauseRevocationUnknown && e.Identity != "" && e.Hint != ""
			}) {
				t.Errorf("the operator is not told: %s", p.ends[late].describe())
			}
			p.over()
		})
	}
}

// TestVerificationsAreBounded: a handshake whose certificate is being checked keeps its place, so that there are never more checks under way
// than places, however many come.
func TestVerificationsAreBounded(t *testing.T) {
	root := certify(t, nil, "root", signer(t, pki.ECDSA256), asAuthority)
	caller, called := certify(t, root, "caller", signer(t, pki.ECDSA256), nil), certify(t, root, "called", signer(t, pki.ECDSA256), nil)
	const places, callers = 3, 5
	p := newPairOf(t, 12,
		[]func(*ikev1.Config){trusting(t, root), identify(t, caller)},
		[]func(*ikev1.Config){trusting(t, root), identify(t, called), func(c *ikev1.Config) { c.HalfOpenMax = places }})
	left, right := p.ends[0], p.ends[1]
	checks := 0
	p.slow = func(e *end, a ikev1.Action) time.Duration {
		if _, verifies := a.(ikev1.VerifyPeer); !verifies || e != right {
			return 0
		}
		if checks++; checks > places {
			t.Errorf("%d checks are under way", checks)
		}
		p.after(4*time.Second-1, func() { checks-- })
		return 4 * time.Second
	}
	for range callers {
		c := left.connection()
		c.Method = pki.ECDSA256
		left.connect(c)
		p.run(time.Second)
	}
	p.run(30 * time.Second)
	established := 0
	for _, e := range right.events {
		if _, ok := e.(ikev1.Phase1Established); ok {
			established++
		}
	}
	want(t, established, callers, "all come through")
}

// TestPeerOfConnection: a connection may say whose certificate its peer has.
func TestPeerOfConnection(t *testing.T) {
	for pattern, want := range map[string]int{"called.*": 1, "CN=called.example.com": 1, "caller.*": 0} {
		t.Run(pattern, func(t *testing.T) {
			p := certified(t, pki.ECDSA256, nil)
			rule, err := pki.ParseRule(pattern)
			if err != nil {
				t.Fatal(err)
			}
			left := p.ends[0]
			c := left.connection()
			c.Method, c.Allow = pki.ECDSA256, []pki.Rule{rule}
			left.connect(c)
			p.run(10 * time.Second)
			if n := len(left.children()); n != want {
				t.Errorf("%d children: %s", n, left.describe())
			}
			if refused := has(left, func(e ikev1.Phase1Failed) bool { return e.Code == ikev1.CauseUnknownIdentity && e.Connection != 0 }); refused != (want == 0) {
				t.Errorf("the caller is told: %v", refused)
			}
		})
	}
}

// TestStrangersCertificate: an authority that is not trusted vouches for nobody.
func TestStrangersCertificate(t *testing.T) {
	ours := certify(t, nil, "ours", signer(t, pki.ECDSA256), asAuthority)
	theirs := certify(t, nil, "theirs", signer(t, pki.ECDSA256), asAuthority)
	caller := certify(t, theirs, "caller", signer(t, pki.ECDSA256), nil)
	called := certify(t, ours, "called", signer(t, pki.ECDSA256), nil)
	p := newPairOf(t, 8,
		[]func(*ikev1.Config){trusting(t, ours, theirs), identify(t, caller)},
		[]func(*ikev1.Config){trusting(t, ours), identify(t, called)})
	left, right := p.ends[0], p.ends[1]
	c := left.connection()
	c.Method = pki.ECDSA256
	left.connect(c)
	p.run(2 * time.Minute)
	if !has(right, func(e ikev1.Phase1Failed) bool { return e.Code == ikev1.CauseUntrusted }) {
		t.Errorf("the operator is not told: %s", right.describe())
	}
	if !has(left, func(e ikev1.Phase1Failed) bool { return e.Code == ikev1.CauseMessage6Lost && e.Connection != 0 }) {
		t.Errorf("the caller is not told: %s", left.describe())
	}
	p.over()
}

// TestMethodNotOffered: a server with a key and no certificate does not talk about signatures, and the other way round.
func TestMethodNotOffered(t *testing.T) {
	root := certify(t, nil, "root", signer(t, pki.ECDSA256), asAuthority)
	caller := certify(t, root, "caller", signer(t, pki.ECDSA256), nil)
	certificates := []func(*ikev1.Config){trusting(t, root), identify(t, caller)}
	for name, sides := range map[string][2][]func(*ikev1.Config){
		"only keys":         {certificates, nil},
		"only certificates": {nil, certificates},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPairOf(t, 9, sides[0], sides[1])
			left, right := p.ends[0], p.ends[1]
			c := left.connection()
			if sides[0] != nil {
				c.Method = pki.ECDSA256
			}
			left.connect(c)
			p.run(2 * time.Minute)
			if !has(right, func(e ikev1.Phase1Failed) bool { return e.Code == ikev1.CauseAuthMethod }) {
				t.Errorf("the operator is not told: %s", right.describe())
			}
			if !slices.ContainsFunc(left.events, func(e ikev1.Event) bool {
				f, ok := e.(ikev1.Phase1Failed)
				return ok && f.Code == ikev1.CausePeerRefuses
			}) {
				t.Errorf("the caller is not told: %s", left.describe())
			}
			p.over()
		})
	}
}
