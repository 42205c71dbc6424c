package config

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

const (
	// maxPEMFile bounds what is read from a file of certificates or keys, in octets.
	maxPEMFile = 256 << 10
	// expirySoon is the rest of a life below which a certificate is warned about.
	expirySoon = 30 * 24 * time.Hour
	// maxAllow bounds the list of allowed names.
	maxAllow = 1024
)

func (d *decoder) certificates(k *IKE, path string, n ast.Node) {
	list, ok := n.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		d.fail(n, path, kind(n), "a list of certificates with certificate and key")
		return
	}
	for i, v := range list.Values {
		var name string
		var chain []*x509.Certificate
		var key crypto.Signer
		at := path + "[" + strconv.Itoa(i) + "]"
		before := len(d.errs)
		seen := d.mapping(at, v,
			field{"certificate", func(path string, n ast.Node) { name, chain = d.chain(path, n) }},
			field{"key", func(path string, n ast.Node) { key = d.privateKey(path, n) }})
		if len(d.errs) == before {
			for _, name := range []string{"certificate", "key"} {
				if seen[name] == nil {
					d.fail(v, at, "no "+name, name+": the path of a file in PEM")
				}
			}
		}
		if len(d.errs) > before {
			continue
		}
		if public, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
			d.fail(seen["key"], at+".key", "the key of another certificate", "the private key of "+strconv.Quote(chain[0].Subject.String())+", the first certificate of "+strconv.Quote(name))
			continue
		}
		credential, err := pki.NewCredential(chain, key)
		if err != nil {
			d.fail(seen["certificate"], at+".certificate", fmt.Sprintf("%q, which cannot be used (%v)", name, detail(err)), "our own certificate, then its issuer and so on; its key is RSA of 2048 to 4096 bits, or ECDSA on P-256, P-384 or P-521")
			continue
		}
		if slices.ContainsFunc(k.Certificates, func(c *pki.Credential) bool { return c.Method() == credential.Method() }) {
			d.warn(v, at, "%s is never used: one before it has a key of the same kind", credential)
		}
		k.Certificates = append(k.Certificates, credential)
	}
}

// detail returns an error of pki without its hint, which is for certificates of peers.
func detail(err error) error {
	var e *pki.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// chain reads our certificate and those between it and a root.
func (d *decoder) chain(path string, n ast.Node) (string, []*x509.Certificate) {
	name, chain, ok := d.certificateFile(path, n)
	if !ok {
		return "", nil
	}
	for _, c := range chain {
		switch {
		case d.now.After(c.NotAfter):
			d.fail(n, path, fmt.Sprintf("certificate %q in %q, which expired on %s", c.Subject.String(), name, date(c.NotAfter)), "a certificate that is valid: renew it")
		case d.now.Before(c.NotBefore):
			d.warn(n, path, "certificate %q is valid only from %s on; is the clock of this machine right?", c.Subject.String(), date(c.NotBefore))
		case c.NotAfter.Sub(d.now) < expirySoon:
			d.warn(n, path, "certificate %q expires on %s: renew it", c.Subject.String(), date(c.NotAfter))
		}
	}
	return name, chain
}

// authorities reads the trust anchors. An expired one among others is usual while a CA is replaced.
func (d *decoder) authorities(k *IKE, path string, n ast.Node) {
	valid, before := 0, len(d.errs)
	d.list(path, n, "a list of files in PEM with the certificates of the CAs", func(path string, n ast.Node) {
		name, list, ok := d.certificateFile(path, n)
		if !ok {
			return
		}
		if _, err := pki.NewTrust(pki.TrustConfig{Anchors: list}); err != nil {
			d.fail(n, path, fmt.Sprintf("%q, which cannot be used (%v)", name, detail(err)), "certificates of CAs")
			return
		}
		for _, c := range list {
			if !c.IsCA {
				d.warn(n, path, "%q is not the certificate of a CA: only who has this very certificate is let in", c.Subject.String())
			}
			switch {
			case d.now.After(c.NotAfter):
				d.warn(n, path, "CA certificate %q expired on %s: clients with certificates of it are refused", c.Subject.String(), date(c.NotAfter))
				valid--
			case c.NotAfter.Sub(d.now) < expirySoon:
				d.warn(n, path, "CA certificate %q expires on %s: clients with certificates of it will be refused", c.Subject.String(), date(c.NotAfter))
			}
			valid++
			if !slices.ContainsFunc(k.Authorities, c.Equal) {
				k.Authorities = append(k.Authorities, c)
			}
		}
	})
	if valid == 0 && len(d.errs) == before {
		d.fail(n, path, "only certificates that expired", "a CA certificate that is valid")
	}
}

// allow reads the rules of which a peer's certificate must fit one.
func (d *decoder) allow(k *IKE, path string, n ast.Node) {
	const expected = `a name such as "CN=*, O=Example", "*.vpn.example.com" or "*@example.com"`
	d.list(path, n, "a list of names, each "+expected, func(path string, n ast.Node) {
		s, _ := scalar(n)
		rule, err := pki.ParseRule(s)
		switch {
		case s == "" || len(s) > 1024:
			d.fail(n, path, describe(n), expected)
		case err != nil:
			d.fail(n, path, fmt.Sprintf("a name that cannot be used (%v)", err), expected)
		case len(k.Allow) == maxAllow:
			d.fail(n, path, "one more than "+strconv.Itoa(maxAllow)+" names", "at most "+strconv.Itoa(maxAllow))
		case slices.ContainsFunc(k.Allow, func(r pki.Rule) bool { return r.String() == rule.String() }):
			d.fail(n, path, describe(n)+" for the second time", "each name once")
		default:
			k.Allow = append(k.Allow, rule)
		}
	})
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

// certificateFile reads a file with at least one certificate.
func (d *decoder) certificateFile(path string, n ast.Node) (name string, list []*x509.Certificate, ok bool) {
	name, data, _, ok := d.readFile(path, n, maxPEMFile)
	if !ok {
		return "", nil, false
	}
	list, err := pki.ParseCertificates(data)
	if err != nil {
		d.fail(n, path, fmt.Sprintf("%q, which cannot be used (%v)", name, err), "X.509 certificates in PEM")
		return "", nil, false
	}
	return name, list, true
}

// privateKey reads a key. Errors do not quote the content.
func (d *decoder) privateKey(path string, n ast.Node) crypto.Signer {
	name, data, perm, ok := d.readFile(path, n, maxPEMFile)
	if !ok {
		return nil
	}
	defer clear(data)
	key, err := pki.ParsePrivateKey(data)
	if err != nil {
		d.fail(n, path, fmt.Sprintf("%q, which cannot be used (%v)", name, err), "a private key in PKCS#8, PKCS#1 or SEC 1, in PEM, without a passphrase")
		return nil
	}
	if perm&0o004 != 0 {
		d.warn(n, path, "every user of this machine can read %s; chmod 0600 it", name)
	}
	return key
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
