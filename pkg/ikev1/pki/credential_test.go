package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"
)

func TestCredentialSigns(t *testing.T) {
	ca := issue(t, nil, "CA", authority, nil)
	for _, key := range []crypto.Signer{rsaKey(t, 2048), rsaKey(t, 4096), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521())} {
		peer := issue(t, ca, "gateway", client, key)
		c, err := NewCredential(certs(peer, ca), peer.key)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.Method().String(), func(t *testing.T) {
			signed := 0
			for _, size := range []int{0, 16, 19, 20, 21, 32, 48, 64, 65} {
				hash := bytes.Repeat([]byte{3}, size)
				signature, err := c.Sign(rand.Reader, hash)
				if err != nil {
					continue
				}
				signed++
				wantCause(t, Verify(c.Method(), peer.cert.PublicKey, hash, signature), "")
			}
			if want := map[bool]int{true: 4, false: 1}[c.Method() == RSASignature]; signed != want {
				t.Errorf("signs hashes of %d lengths, want %d", signed, want)
			}
			if len(c.Chain()) != 1 || !bytes.Equal(c.Chain()[0], peer.cert.Raw) || !bytes.Equal(c.Subject(), peer.cert.RawSubject) {
				t.Error("chain or subject is not that of the certificate; the root must be left out")
			}
		})
	}
}

// brokenKey gives signatures of something else, as a device with a fault would.
type brokenKey struct{ crypto.Signer }

func (k brokenKey) Sign(rand io.Reader, hash []byte, opts crypto.SignerOpts) ([]byte, error) {
	hash = bytes.Clone(hash)
	hash[0]++
	return k.Signer.Sign(rand, hash, opts)
}

func TestCredentialKeepsFaultySignatures(t *testing.T) {
	for _, key := range []crypto.Signer{rsaKey(t, 2048), ecKey(t, elliptic.P256())} {
		peer := issue(t, nil, "gateway", client, key)
		c, err := NewCredential(certs(peer), brokenKey{key})
		if err != nil {
			t.Fatal(err)
		}
		if signature, err := c.Sign(rand.Reader, testHash[:]); err == nil || signature != nil {
			t.Errorf("%s: a faulty signature was given out", c.Method())
		}
	}
}

func TestNewCredentialRefuses(t *testing.T) {
	ca := issue(t, nil, "CA", authority, nil)
	sub := issue(t, ca, "Sub CA", authority, nil)
	peer := issue(t, sub, "gateway", client, nil)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encipher := func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }
	tooMany := certs(peer, sub)
	for range maxCertificates - 1 {
		tooMany = append(tooMany, sub.cert)
	}
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		key   crypto.Signer
		says  string
	}{
		"no certificate":  {nil, peer.key, "needs a certificate"},
		"no key":          {certs(peer), nil, "needs a certificate"},
		"another key":     {certs(peer), ca.key, "private key is not that"},
		"wrong order":     {certs(sub, peer), peer.key, "private key is not that"},
		"gap":             {append(certs(peer), issue(t, ca, "Other", authority, nil).cert), peer.key, "order them leaf first"},
		"RSA of 1024":     {certs(issue(t, ca, "weak", client, weak)), weak, "1024 bits"},
		"Ed25519":         {certs(issue(t, ca, "ed", client, edKey)), edKey, "no method of IKEv1"},
		"P-224":           {certs(issue(t, ca, "224", client, ecKey(t, elliptic.P224()))), ecKey(t, elliptic.P224()), "no method of IKEv1"},
		"not for signing": {certs(issue(t, ca, "enc", encipher, peer.key)), peer.key, "does not allow signatures"},
		"nine":            {tooMany, peer.key, "at most 8"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewCredential(c.chain, c.key); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one with %q", err, c.says)
			}
		})
	}
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParseCredential(t *testing.T) {
	ca := issue(t, nil, "CA", authority, nil)
	rsaPeer, ecPeer := issue(t, ca, "rsa", client, rsaKey(t, 2048)), issue(t, ca, "ec", client, nil)
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	sec1, err := x509.MarshalECPrivateKey(ecPeer.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	parameters := pemOf("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	for name, c := range map[string]struct {
		cert, key []byte
		method    Method
	}{
		"RSA PKCS #8": {pemOf("CERTIFICATE", rsaPeer.cert.Raw), pemOf("PRIVATE KEY", pkcs8(rsaPeer.key)), RSASignature},
		"RSA PKCS #1": {pemOf("CERTIFICATE", rsaPeer.cert.Raw), pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey(t, 2048))), RSASignature},
		"EC PKCS #8":  {pemOf("CERTIFICATE", ecPeer.cert.Raw), pemOf("PRIVATE KEY", pkcs8(ecPeer.key)), ECDSA256},
		"EC SEC 1 after parameters": {
			append([]byte("a comment\n"), append(pemOf("CERTIFICATE", ecPeer.cert.Raw), pemOf("CERTIFICATE", ca.cert.Raw)...)...),
			append(parameters, pemOf("EC PRIVATE KEY", sec1)...), ECDSA256,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCredential(c.cert, c.key)
			if err != nil {
				t.Fatal(err)
			}
			if got.Method() != c.method || len(got.Chain()) != 1 {
				t.Errorf("method %s with %d certificates", got.Method(), len(got.Chain()))
			}
		})
	}
	cert, key := pemOf("CERTIFICATE", ecPeer.cert.Raw), pemOf("EC PRIVATE KEY", sec1)
	for name, c := range map[string]struct {
		cert, key []byte
		says      string
	}{
		"no certificate":      {key, key, "no CERTIFICATE"},
		"broken certificate":  {pemOf("CERTIFICATE", ecPeer.cert.Raw[1:]), key, "certificate 1"},
		"no key":              {cert, cert, "no PRIVATE KEY"},
		"encrypted":           {cert, pemOf("ENCRYPTED PRIVATE KEY", sec1), "openssl pkey"},
		"encrypted, old form": {cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-128-CBC,00"}, Bytes: sec1}), "openssl pkey"},
		"broken key":          {cert, pemOf("EC PRIVATE KEY", sec1[:40]), "cannot be read"},
		"key of another":      {cert, pemOf("PRIVATE KEY", pkcs8(rsaPeer.key)), "private key is not that"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseCredential(c.cert, c.key); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one with %q", err, c.says)
			}
		})
	}
}

func TestCredentialHidesItsKey(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	c, err := NewCredential(certs(issue(t, nil, "gateway", client, key)), key)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	secret := new(big.Int).SetBytes(octets).String()
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c); strings.Contains(s, secret) || !strings.Contains(s, "CN=gateway") {
			t.Errorf("%s prints %s", format, s)
		}
	}
}
