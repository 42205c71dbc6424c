package revocation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// ca issues CRLs.
type ca struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	number int64
}

func newCA(t *testing.T) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{t: t, key: key, cert: cert}
}

// crl returns a CRL with a number of its own, which is due to be replaced some time from now.
func (c *ca) crl(life time.Duration) []byte {
	c.t.Helper()
	c.number++
	now := time.Now()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(c.number), ThisUpdate: now.Add(-24 * time.Hour), NextUpdate: now.Add(life)}, c.cert, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return der
}

func inPEM(ders ...[]byte) []byte {
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return text
}

// shelf is where CRLs are installed.
type shelf struct {
	mu     sync.Mutex
	crls   [][]byte
	refuse bool
}

func (s *shelf) install(der []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		return errors.New("not of ours")
	}
	s.crls = append(s.crls, der)
	return nil
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.crls)
}

// fetcher returns a Fetcher that installs on a shelf, and what it logs.
func fetcher(crls ...string) (*Fetcher, *shelf, *observer.ObservedLogs) {
	core, logs := observer.New(zap.InfoLevel)
	s := &shelf{}
	return New(Config{CRLs: crls, Install: s.install, Log: zap.New(core)}), s, logs
}
