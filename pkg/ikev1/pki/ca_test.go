package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"
)

// testNow is the time of all tests, far from the real one on purpose: nothing may look at a clock.
var testNow = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

var testHash = sha256.Sum256([]byte("HASH_I"))

// rsaKey returns an RSA key, generated once for each size.
func rsaKey(tb testing.TB, bits int) *rsa.PrivateKey {
	tb.Helper()
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	if key := rsaKeys.bySize[bits]; key != nil {
		return key
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	rsaKeys.bySize[bits] = key
	return key
}

var rsaKeys = struct {
	sync.Mutex
	bySize map[int]*rsa.PrivateKey
}{bySize: map[int]*rsa.PrivateKey{}}

func ecKey(tb testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// entity is a certificate with its key.
type entity struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serials = struct {
	sync.Mutex
	last int64
}{}

// issue makes a certificate by issuer, nil for a self-signed one. change adapts the template, and may give an own key.
func issue(tb testing.TB, issuer *entity, cn string, change func(*x509.Certificate), key crypto.Signer) *entity {
	tb.Helper()
	serials.Lock()
	serials.last++
	serial := serials.last
	serials.Unlock()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + serial),
		Subject:      pkix.Name{CommonName: cn, Organization: []string{"Example"}},
		NotBefore:    testNow.Add(-24 * time.Hour),
		NotAfter:     testNow.Add(30 * 24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	if key == nil {
		key = ecKey(tb, elliptic.P256())
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &entity{cert, key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

// client is the usual template of a peer.
func client(c *x509.Certificate) {
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	c.DNSNames = []string{"client.vpn.example.com"}
	c.EmailAddresses = []string{"alice@example.com"}
}

// claimOf returns an honest claim of a peer, with its DN as identity.
func claimOf(tb testing.TB, peer *entity, intermediates ...*entity) Claim {
	tb.Helper()
	c := Claim{Now: testNow, IdentityType: idDERDN, Identity: peer.cert.RawSubject, Chain: [][]byte{peer.cert.Raw}}
	for _, ca := range intermediates {
		c.Chain = append(c.Chain, ca.cert.Raw)
	}
	credential, err := NewCredential([]*x509.Certificate{peer.cert}, peer.key)
	if err != nil {
		tb.Fatal(err)
	}
	c.Method = credential.Method()
	c.Hash = hashFor(c.Method)
	if c.Signature, err = credential.Sign(rand.Reader, c.Hash); err != nil {
		tb.Fatal(err)
	}
	return c
}

// hashFor returns some HASH_I of the length that a method signs.
func hashFor(m Method) []byte {
	if h := m.Hash(); h != 0 {
		state := h.New()
		state.Write([]byte("HASH_I"))
		return state.Sum(nil)
	}
	return testHash[:]
}

func newTrust(tb testing.TB, config TrustConfig) *Trust {
	tb.Helper()
	t, err := NewTrust(config)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func certs(entities ...*entity) []*x509.Certificate {
	var out []*x509.Certificate
	for _, e := range entities {
		out = append(out, e.cert)
	}
	return out
}

// wantCause checks the cause of an error; "" wants none.
func wantCause(tb testing.TB, err error, want Cause) {
	tb.Helper()
	if want == "" {
		if err != nil {
			tb.Errorf("error %v, want none", err)
		}
		return
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		tb.Errorf("error %v, want cause %s", err, want)
		return
	}
	if e.Cause != want {
		tb.Errorf("cause %s (%v), want %s", e.Cause, err, want)
	}
	if e.Cause.Hint() == "" {
		tb.Errorf("cause %s has no hint", e.Cause)
	}
}
