package config

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"github.com/l2tpctl/l2tpctl/internal/revocation"
)

// maxCRLs bounds the list of CRLs.
const maxCRLs = 64

// RevocationMode says what becomes of a peer whose certificate may have been revoked.
type RevocationMode string

// The modes.
const (
	RevocationStrict RevocationMode = "strict" // refused unless it is known to be good
	RevocationSoft   RevocationMode = "soft"   // refused if it is known to be revoked
	RevocationOff    RevocationMode = "off"    // not looked at
)

// Revocation says how to find out whether a certificate was revoked.
type Revocation struct {
	Mode RevocationMode
	CRLs []string // absolute paths of files, and http or https URLs
	OCSP string   // URL of the responder for all certificates; empty: none
	// CertificateURLs allows to ask the OCSP responders and to fetch the CRLs that a peer's certificate names, once the
	// peer has proved that the certificate is its own.
	CertificateURLs bool
}

const crlForm = "the path of a file or an http or https URL"

func (d *decoder) crls(k *IKE, path string, n ast.Node) {
	d.list(path, n, "a list of CRLs, each "+crlForm, func(path string, n ast.Node) {
		s, _ := scalar(n)
		switch {
		case len(k.Revocation.CRLs) == maxCRLs:
			d.fail(n, path, "one more than "+strconv.Itoa(maxCRLs)+" CRLs", "at most "+strconv.Itoa(maxCRLs))
			return
		case revocation.IsURL(s):
			if !d.url(path, n, s) {
				return
			}
		default:
			name, ok := d.crlFile(path, n)
			if !ok {
				return
			}
			s = name
		}
		if slices.Contains(k.Revocation.CRLs, s) {
			d.fail(n, path, describe(n)+" for the second time", "each CRL once")
			return
		}
		k.Revocation.CRLs = append(k.Revocation.CRLs, s)
	})
}

// crlFile reads a CRL, to know that it is one; who needs it reads it again whenever it changes.
func (d *decoder) crlFile(path string, n ast.Node) (string, bool) {
	name, data, _, ok := d.readFile(path, n, revocation.MaxCRL)
	if !ok {
		return "", false
	}
	lists, err := revocation.DecodeCRLs(data)
	if err != nil {
		d.fail(n, path, fmt.Sprintf("%q, which is no CRL (%v)", name, err), "an X.509 CRL in DER or PEM")
		return "", false
	}
	for _, l := range lists {
		if !l.NextUpdate.IsZero() && d.now.After(l.NextUpdate) {
			d.warn(n, path, "the CRL of %q was to be replaced by %s: renew it", l.Issuer.String(), date(l.NextUpdate))
		}
	}
	return name, true
}

// ocsp reads the URL of a responder.
func (d *decoder) ocsp(k *IKE, path string, n ast.Node) {
	s, _ := scalar(n)
	if d.url(path, n, s) {
		k.Revocation.OCSP = s
	}
}

// url reports a text that is no URL to fetch something from.
func (d *decoder) url(path string, n ast.Node, s string) bool {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "":
		d.fail(n, path, describe(n), "an http or https URL such as http://pki.example.com/ca.crl")
	case u.User != nil:
		d.fail(n, path, "a URL with a user name", "a URL without: it stands in logs, and what it serves is public and signed")
	default:
		return true
	}
	return false
}

// revocationRules checks what only makes sense together.
func (d *decoder) revocationRules(k *IKE, path string, seen map[string]ast.Node) {
	r := k.Revocation
	sources := cmp.Or(seen["crls"], seen["ocsp"])
	switch {
	case r.Mode == RevocationStrict && sources == nil && !r.CertificateURLs:
		d.fail(seen["certificate_urls"], join(path, "revocation"), "strict without crls, ocsp or certificate_urls, so that nobody could connect", "a source to ask")
	case r.Mode == RevocationOff && sources != nil:
		d.warn(seen["revocation"], join(path, "revocation"), "off: crls and ocsp have no effect")
	case r.Mode == RevocationOff:
		d.warn(seen["revocation"], join(path, "revocation"), "off: whoever stole a certificate and its key can connect until it expires")
	}
}
