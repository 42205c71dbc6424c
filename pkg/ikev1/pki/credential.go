package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Credential is a private key with the certificates that vouch for it. It is safe for concurrent use if its key is.
type Credential struct {
	method Method
	key    crypto.Signer
	leaf   *x509.Certificate
	chain  [][]byte
}

// NewCredential returns the credential of a key. chain has the key's certificate first and then, each issuing the one before, the
// intermediates; a root at the end is left out, since the peer has to have it anyway. RSA keys have 2048 to 4096 bits; ECDSA keys are
// on P-256, P-384 or P-521. An RSA key signs without hash identifier ([crypto.Hash] 0), an ECDSA key in DER.
func NewCredential(chain []*x509.Certificate, key crypto.Signer) (*Credential, error) {
	if len(chain) == 0 || key == nil {
		return nil, errors.New("a credential needs a certificate and its private key")
	}
	if n := len(chain); n > 1 && bytes.Equal(chain[n-1].RawIssuer, chain[n-1].RawSubject) {
		chain = chain[:n-1]
	}
	if len(chain) > maxCertificates {
		return nil, fmt.Errorf("%d certificates: peers take at most %d; leave out what is not on the way to the root", len(chain), maxCertificates)
	}
	leaf := chain[0]
	method, err := methodOf(leaf.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", printName(leaf.RawSubject), err)
	}
	if own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(leaf.PublicKey) {
		return nil, fmt.Errorf("the private key is not that of certificate %s: put the certificate of the key first", printName(leaf.RawSubject))
	}
	if err := checkUsage(leaf); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", printName(leaf.RawSubject), err)
	}
	c := &Credential{method: method, key: key, leaf: leaf}
	for i, cert := range chain {
		if len(cert.Raw) > maxCertificateOctets {
			return nil, fmt.Errorf("certificate %s has %d octets, peers take at most %d", printName(cert.RawSubject), len(cert.Raw), maxCertificateOctets)
		}
		if i > 0 {
			if err := chain[i-1].CheckSignatureFrom(cert); err != nil {
				return nil, fmt.Errorf("certificate %s is not issued by %s, which follows it: order them leaf first: %w",
					printName(chain[i-1].RawSubject), printName(cert.RawSubject), err)
			}
		}
		c.chain = append(c.chain, cert.Raw)
	}
	return c, nil
}

// ParseCredential reads a credential from PEM: certPEM has the chain as for [NewCredential], keyPEM the unencrypted private key in
// PKCS #8, PKCS #1 or SEC 1 form. Errors have nothing of the key in them.
func ParseCredential(certPEM, keyPEM []byte) (*Credential, error) {
	chain, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := ParsePrivateKey(keyPEM)
	if err != nil {
		return nil, err
	}
	return NewCredential(chain, key)
}

// ParseCertificates reads certificates from PEM. Blocks of other types are passed over.
func ParseCertificates(pemOctets []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(pemOctets); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the PEM file: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no CERTIFICATE block: certificates are read as PEM; `openssl x509 -inform der` converts")
	}
	return certs, nil
}

// ParsePrivateKey reads the first private key of a PEM file: unencrypted, in PKCS #8, PKCS #1 or SEC 1 form. Errors have nothing of
// the key in them.
func ParsePrivateKey(keyPEM []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(keyPEM); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted: write it without passphrase (`openssl pkey`) and protect the file by its mode")
		}
		key, err := parseKeyDER(block)
		clear(block.Bytes)
		if err != nil {
			return nil, errors.New("the private key cannot be read: `openssl pkey -check` says more") // x509's words may quote it
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("a key of type %T cannot sign: RSA or ECDSA is needed", key)
		}
		return signer, nil
	}
	return nil, errors.New("no PRIVATE KEY block: the key is read as PEM")
}

func parseKeyDER(block *pem.Block) (any, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

// methodOf returns the method that a key can authenticate with.
func methodOf(pub crypto.PublicKey) (Method, error) {
	switch key := pub.(type) {
	case *rsa.PublicKey:
		if err := checkRSA(key); err != nil {
			return 0, err
		}
		return RSASignature, nil
	case *ecdsa.PublicKey:
		for _, m := range []Method{ECDSA256, ECDSA384, ECDSA521} {
			if checkKey(m, key) == nil {
				return m, nil
			}
		}
	}
	return 0, fail(Untrusted, "no method of IKEv1 signs with a key of kind %s: use RSA, or ECDSA on P-256, P-384 or P-521", keyKind(pub))
}

// Method returns the method that the key authenticates with.
func (c *Credential) Method() Method { return c.method }

// Chain returns the certificates for CERT payloads: DER, leaf first, without root.
func (c *Credential) Chain() [][]byte {
	out := make([][]byte, len(c.chain))
	for i, der := range c.chain {
		out[i] = slices.Clone(der)
	}
	return out
}

// Certificate returns the certificate of the key. It must not be changed.
func (c *Credential) Certificate() *x509.Certificate { return c.leaf }

// Subject returns the DER of the certificate's DN, for ID_DER_ASN1_DN.
func (c *Credential) Subject() []byte { return slices.Clone(c.leaf.RawSubject) }

// String returns method and subject; nothing of the key.
func (c *Credential) String() string { return c.method.String() + " " + printName(c.leaf.RawSubject) }

// GoString hides the key from %#v.
func (c *Credential) GoString() string { return "pki.Credential(" + c.String() + ")" }

// Sign returns the content of a SIG payload over hash, which is HASH_I or HASH_R computed with the hash of [Method.Hash]. The
// signature is verified before it is given out, so that a failing device cannot give the key away.
func (c *Credential) Sign(rand io.Reader, hash []byte) ([]byte, error) {
	if !slices.Contains(hashSizes, len(hash)) || c.method.Hash() != 0 && len(hash) != c.method.Hash().Size() {
		return nil, fmt.Errorf("signing with %s: a hash of %d octets is not one that the method signs", c.method, len(hash))
	}
	signature, err := c.key.Sign(rand, hash, c.method.Hash())
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", c, err)
	}
	if curve := c.method.ecdsa(); curve != nil {
		if signature, err = fixedECDSA(curve, signature); err != nil {
			return nil, fmt.Errorf("signing with %s: %w", c, err)
		}
	}
	if err := Verify(c.method, c.leaf.PublicKey, hash, signature); err != nil {
		return nil, fmt.Errorf("signing with %s: the key gave a signature that does not verify: %w", c, err)
	}
	return signature, nil
}
