package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Authority issues certificates into files of the lab.
type Authority struct {
	lab    *Lab
	cert   *x509.Certificate
	key    crypto.Signer
	above  []string // PEM of what the holders of its certificates have to send: its own certificate if it is no root, and those above
	serial int64

	// File is the path of its certificate.
	File string
}

// KeyKind is the kind of a key: "rsa2048" to "rsa4096", "ecdsa256", "ecdsa384" or "ecdsa521".
type KeyKind string

func (k KeyKind) generate() (crypto.Signer, error) {
	switch k {
	case "ecdsa256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ecdsa521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	var bits int
	if _, err := fmt.Sscanf(string(k), "rsa%d", &bits); err != nil {
		return nil, fmt.Errorf("no such kind of key: %q", k)
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

// Identity is somebody's certificate and key, as paths of PEM files. The certificate's file has those of intermediate authorities, too;
// Leaf is the path of the certificate alone, and Above the paths of the intermediate ones.
type Identity struct {
	Kind             KeyKind
	Certificate, Key string
	Leaf             string
	Above            []string
	Serial           *big.Int
}

// Authority makes a root authority.
func (l *Lab) Authority(name string, kind KeyKind) (*Authority, error) {
	a := &Authority{lab: l}
	return a, a.become(nil, name, kind)
}

// Below makes an authority that this one vouches for.
func (a *Authority) Below(name string, kind KeyKind) (*Authority, error) {
	b := &Authority{lab: a.lab}
	return b, b.become(a, name, kind)
}

func (a *Authority) become(issuer *Authority, name string, kind KeyKind) error {
	key, err := kind.generate()
	if err != nil {
		return fmt.Errorf("generate a key for %s: %w", name, err)
	}
	a.key = key
	der, _, err := issuer.issue(a, name, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.DNSNames, c.ExtKeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil, nil
	})
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("read the certificate of %s: %w", name, err)
	}
	text := encode("CERTIFICATE", der)
	if issuer != nil {
		a.above = append([]string{text}, issuer.above...)
	}
	a.File, err = a.lab.file(text, "pki", name+".pem")
	return err
}

// issue signs a certificate for the key of subject; a nil authority lets it sign for itself.
func (a *Authority) issue(subject *Authority, name string, adjust func(*x509.Certificate)) (der []byte, serial *big.Int, err error) {
	issuer := a
	if issuer == nil {
		issuer = subject
	}
	issuer.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(issuer.serial), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if adjust != nil {
		adjust(template)
	}
	parent := template
	if a != nil {
		parent = a.cert
	}
	der, err = x509.CreateCertificate(rand.Reader, template, parent, subject.key.Public(), issuer.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issue a certificate for %s: %w", name, err)
	}
	return der, template.SerialNumber, nil
}

// Identity issues a certificate to a name, which adjust may change.
func (a *Authority) Identity(name string, kind KeyKind, adjust func(*x509.Certificate)) (*Identity, error) {
	key, err := kind.generate()
	if err != nil {
		return nil, fmt.Errorf("generate a key for %s: %w", name, err)
	}
	der, serial, err := a.issue(&Authority{key: key}, name, adjust)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of %s: %w", name, err)
	}
	id := &Identity{Kind: kind, Serial: serial}
	leaf := encode("CERTIFICATE", der)
	for _, f := range []struct {
		path       *string
		name, text string
	}{
		{&id.Leaf, name + ".leaf.pem", leaf},
		{&id.Certificate, name + ".pem", leaf + strings.Join(a.above, "")},
		{&id.Key, name + ".key", encode("PRIVATE KEY", secret)},
	} {
		if *f.path, err = a.lab.file(f.text, "pki", f.name); err != nil {
			return nil, err
		}
	}
	for i, text := range a.above {
		path, err := a.lab.file(text, "pki", fmt.Sprintf("%s.above%d.pem", name, i+1))
		if err != nil {
			return nil, err
		}
		id.Above = append(id.Above, path)
	}
	return id, nil
}

// Revoke writes a CRL that revokes certificates, and returns its path.
func (a *Authority) Revoke(ids ...*Identity) (string, error) {
	a.serial++
	list := &x509.RevocationList{Number: big.NewInt(a.serial), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(24 * time.Hour)}
	for _, id := range ids {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: id.Serial, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		return "", fmt.Errorf("sign a CRL: %w", err)
	}
	return a.lab.file(encode("X509 CRL", der), "pki", filepath.Base(a.File)+".crl")
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// install copies what strongSwan needs into its folder: its certificate and key, and the authorities that it knows.
func (id *Identity) install(dir string, roots []string) error {
	copies := map[string]string{id.Leaf: "certs/client.pem", id.Key: "private/client.key"}
	for i, path := range append(append([]string{}, roots...), id.Above...) {
		copies[path] = fmt.Sprintf("cacerts/%d.pem", i)
	}
	for from, to := range copies {
		content, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("install the certificate of a client: %w", err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("install the certificate of a client: %w", err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			return fmt.Errorf("install the certificate of a client: %w", err)
		}
	}
	return nil
}
