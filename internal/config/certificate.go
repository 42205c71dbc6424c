package config

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

const (
	// maxPEMFile bounds what is read from a file of certificates or keys, in octets.
	maxPEMFile = 256 << 10
	// maxChain bounds the certificates that we send.
	maxChain = 8
	// expirySoon is the rest of a life below which a certificate is warned about.
	expirySoon = 30 * 24 * time.Hour
)

// Certificate is a certificate of ours with its private key.
type Certificate struct {
	Chain []*x509.Certificate // leaf first, each issued by the next; 1 to 8
	Key   PrivateKey          // of the leaf
}

// PrivateKey holds an RSA or ECDSA key. No formatter shows it.
type PrivateKey struct{ signer crypto.Signer }

// Signer returns the key, for the code that signs with it.
func (k PrivateKey) Signer() crypto.Signer { return k.signer }

// Format writes "(hidden)" for every verb and flag.
func (k PrivateKey) Format(f fmt.State, verb rune) { Secret("").Format(f, verb) }

// MarshalText returns "(hidden)". JSON, YAML and zap use it.
func (k PrivateKey) MarshalText() ([]byte, error) { return Secret("").MarshalText() }

func (d *decoder) certificates(k *IKE, path string, n ast.Node) {
	list, ok := n.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		d.fail(n, path, kind(n), "a list of certificates with certificate and key")
		return
	}
	for i, v := range list.Values {
		var c Certificate
		at := path + "[" + strconv.Itoa(i) + "]"
		before := len(d.errs)
		seen := d.mapping(at, v,
			field{"certificate", func(path string, n ast.Node) { c.Chain = d.chain(path, n) }},
			field{"key", func(path string, n ast.Node) { c.Key.signer = d.privateKey(path, n) }})
		if len(d.errs) > before {
			continue
		}
		for _, name := range []string{"certificate", "key"} {
			if seen[name] == nil {
				d.fail(v, at, "no "+name, name+": the path of a file in PEM")
			}
		}
		if len(d.errs) > before {
			continue
		}
		public, ok := c.Chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !public.Equal(c.Key.signer.Public()) {
			d.fail(seen["key"], at+".key", "the key of another certificate", "the private key of "+strconv.Quote(c.Chain[0].Subject.String()))
			continue
		}
		k.Certificates = append(k.Certificates, c)
	}
}

// chain reads our certificate and those between it and a root.
func (d *decoder) chain(path string, n ast.Node) []*x509.Certificate {
	name, chain, ok := d.certificateFile(path, n)
	if !ok {
		return nil
	}
	if len(chain) > maxChain {
		d.fail(n, path, fmt.Sprintf("%d certificates in %q", len(chain), name), fmt.Sprintf("at most %d, only the chain of one certificate", maxChain))
		return nil
	}
	if why := unusable(chain[0].PublicKey); why != "" {
		d.fail(n, path, fmt.Sprintf("%s in %q", why, name), usableKeys)
		return nil
	}
	for i, c := range chain {
		if i > 0 && (!bytes.Equal(chain[i-1].RawIssuer, c.RawSubject) || chain[i-1].CheckSignatureFrom(c) != nil) {
			d.fail(n, path, fmt.Sprintf("certificate %d of %q, which did not issue the one before it", i+1, name), "our own certificate first, then its issuer, and so on")
			return nil
		}
		switch {
		case d.now.After(c.NotAfter):
			d.fail(n, path, fmt.Sprintf("certificate %s in %q, which expired on %s", strconv.Quote(c.Subject.String()), name, date(c.NotAfter)), "a certificate that is valid: renew it")
			return nil
		case d.now.Before(c.NotBefore):
			d.warn(n, path, "certificate %q is valid only from %s on; is the clock of this machine right?", c.Subject.String(), date(c.NotBefore))
		case c.NotAfter.Sub(d.now) < expirySoon:
			d.warn(n, path, "certificate %q expires on %s: renew it", c.Subject.String(), date(c.NotAfter))
		}
	}
	return chain
}

// authorities reads the trust anchors. An expired one among others is usual while a CA is replaced.
func (d *decoder) authorities(k *IKE, path string, n ast.Node) {
	valid, before := 0, len(d.errs)
	d.list(path, n, "a list of files in PEM with the certificates of the CAs", func(path string, n ast.Node) {
		name, list, ok := d.certificateFile(path, n)
		if !ok {
			return
		}
		for _, c := range list {
			switch {
			case !c.BasicConstraintsValid || !c.IsCA:
				d.fail(n, path, fmt.Sprintf("certificate %q in %q, which is not that of a CA", c.Subject.String(), name), "certificates of CAs (basic constraints with CA:TRUE)")
				return
			case d.now.After(c.NotAfter):
				d.warn(n, path, "CA certificate %q expired on %s: clients with certificates of it are refused", c.Subject.String(), date(c.NotAfter))
			case c.NotAfter.Sub(d.now) < expirySoon:
				d.warn(n, path, "CA certificate %q expires on %s: clients with certificates of it will be refused", c.Subject.String(), date(c.NotAfter))
				valid++
			default:
				valid++
			}
			if !slices.ContainsFunc(k.Authorities, c.Equal) {
				k.Authorities = append(k.Authorities, c)
			}
		}
	})
	if valid == 0 && len(d.errs) == before {
		d.fail(n, path, "only certificates that expired", "a CA certificate that is valid")
	}
}

// certificateRules checks what only makes sense together.
func (d *decoder) certificateRules(k *IKE, path string, seen map[string]ast.Node) {
	own, authorities := seen["certificates"], seen["authorities"]
	switch {
	case own != nil && authorities == nil:
		d.fail(own, join(path, "certificates"), "no authorities beside it", "authorities: the certificates of the CAs that issue those of the clients")
	case own == nil && authorities != nil:
		d.fail(authorities, join(path, "authorities"), "no certificates beside it", "certificates: our own certificate and key, for we have to sign too")
	case own == nil:
		for _, name := range []string{"allow", "revocation", "crls", "ocsp", "certificate_urls"} {
			if seen[name] != nil {
				d.warn(seen[name], join(path, name), "has no effect without certificates and authorities")
			}
		}
		return
	}
	d.revocationRules(k, path, seen)
}

// certificateFile reads a file with at least one certificate; blocks of other types are passed over.
func (d *decoder) certificateFile(path string, n ast.Node) (name string, list []*x509.Certificate, ok bool) {
	name, rest, _, ok := d.readFile(path, n, maxPEMFile)
	if !ok {
		return "", nil, false
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			d.fail(n, path, fmt.Sprintf("a certificate in %q that cannot be read (%v)", name, err), "X.509 certificates in PEM")
			return "", nil, false
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		d.fail(n, path, fmt.Sprintf("%q without a certificate", name), "a file in PEM with BEGIN CERTIFICATE in it (of DER: openssl x509 -inform der)")
		return "", nil, false
	}
	return name, list, true
}

// privateKey reads a key in PKCS#8, PKCS#1 or SEC 1. Errors do not quote the content.
func (d *decoder) privateKey(path string, n ast.Node) crypto.Signer {
	name, data, perm, ok := d.readFile(path, n, maxPEMFile)
	if !ok {
		return nil
	}
	defer clear(data)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			d.fail(n, path, fmt.Sprintf("an encrypted key in %q", name), "a key without a passphrase: openssl pkey -in FILE -out FILE (and chmod 0600)")
			return nil
		}
		key, err := parseKey(block)
		if err != nil {
			d.fail(n, path, fmt.Sprintf("a key in %q that cannot be read", name), "a private key in PKCS#8, PKCS#1 or SEC 1")
			return nil
		}
		if why := unusable(key.Public()); why != "" {
			d.fail(n, path, fmt.Sprintf("%s in %q", why, name), usableKeys)
			return nil
		}
		if perm&0o004 != 0 {
			d.warn(n, path, "every user of this machine can read %s; chmod 0600 it", name)
		}
		return key
	}
	d.fail(n, path, fmt.Sprintf("%q without a private key", name), "a file in PEM with BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or BEGIN EC PRIVATE KEY in it")
	return nil
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign") // X25519 and the like
	}
	return signer, nil
}

const usableKeys = "RSA of 2048 to 4096 bits, or ECDSA with P-256, P-384 or P-521: IKEv1 has no signatures of others"

// unusable says what is wrong with a key, empty if nothing is.
func unusable(public crypto.PublicKey) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 4096 {
			return fmt.Sprintf("an RSA key of %d bits", bits)
		}
		return ""
	case *ecdsa.PublicKey:
		if slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, key.Curve) {
			return ""
		}
		return "a key on the curve " + key.Curve.Params().Name
	}
	return "a key of the wrong kind"
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
