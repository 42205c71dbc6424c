package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates for the tests of this file.
type authority struct {
	t    *testing.T
	dir  string
	key  crypto.Signer
	cert *x509.Certificate
}

func ecKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T, change func(*x509.Certificate)) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), key: ecKey(t, elliptic.P256())}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-100 * 24 * time.Hour), NotAfter: time.Now().Add(1000 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	if change != nil {
		change(template)
	}
	a.cert = a.sign(template, template, a.key.Public(), a.key)
	a.pem("ca.pem", 0o644, block("CERTIFICATE", a.cert.Raw))
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// leaf issues a certificate that lives for a while from now.
func (a *authority) leaf(public crypto.PublicKey, life time.Duration, change ...func(*x509.Certificate)) *pem.Block {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "vpn.example.com"}, NotBefore: time.Now().Add(-90 * 24 * time.Hour), NotAfter: time.Now().Add(life)}
	for _, f := range change {
		f(template)
	}
	return block("CERTIFICATE", a.sign(template, a.cert, public, a.key).Raw)
}

func block(kind string, der []byte) *pem.Block { return &pem.Block{Type: kind, Bytes: der} }

func pkcs8(t *testing.T, key crypto.Signer) *pem.Block {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func (a *authority) pem(name string, mode os.FileMode, blocks ...*pem.Block) {
	a.t.Helper()
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(b)...)
	}
	a.file(name, mode, text)
}

func (a *authority) file(name string, mode os.FileMode, text []byte) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), text, mode); err != nil {
		a.t.Fatal(err)
	}
}

// crl is an empty CRL.
func (a *authority) crl(next time.Time) []byte {
	a.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: next.Add(-year), NextUpdate: next}, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// load reads a configuration in the folder of the files. In what it returns the folder is called DIR.
func (a *authority) load(ike string) (*Config, string) {
	a.t.Helper()
	path := filepath.Join(a.dir, "t.yaml")
	c, err := Parse(path, []byte("ike:\n"+ike+"pool: 10.0.0.0/24\nusers: [{name: a, password: b}]\n"))
	if err != nil {
		return nil, strings.ReplaceAll(err.Error(), a.dir, "DIR")
	}
	for i := range c.Warnings {
		c.Warnings[i] = strings.ReplaceAll(c.Warnings[i], a.dir, "DIR")
	}
	return c, ""
}
