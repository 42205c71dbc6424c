package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"time"
)

// Limits of what a peer may send.
const (
	maxCertificates      = 8
	maxCertificateOctets = 16 << 10
	maxIntermediates     = 5
	maxLeaves            = 2 // certificates for one identity
	// maxAnchorBits bounds the RSA keys of configured CAs; those that peers send have at most maxRSABits.
	maxAnchorBits = 8192
)

// parseChain reads the certificates of CERT payloads.
func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, fail(Malformed, "the peer sent no certificate")
	}
	if len(chain) > maxCertificates {
		return nil, fail(Limit, "the peer sent %d certificates, at most %d are read", len(chain), maxCertificates)
	}
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		if len(der) > maxCertificateOctets {
			return nil, fail(Limit, "certificate %d of the peer has %d octets, at most %d are read", i+1, len(der), maxCertificateOctets)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fail(Malformed, "certificate %d of the peer: %w", i+1, err)
		}
		certs[i] = cert
	}
	return certs, nil
}

// fitCAKey tells whether a key may sign certificates. It bounds what a check costs: a peer chooses the keys of what it sends.
func fitCAKey(pub crypto.PublicKey, maxBits int) bool {
	switch key := pub.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSABits && key.N.BitLen() <= maxBits && key.E >= 3 && key.E <= maxRSAExponent
	case *ecdsa.PublicKey:
		return key.Curve == p256.Curve || key.Curve == p384.Curve || key.Curve == p521.Curve
	case ed25519.PublicKey:
		return true
	}
	return false
}

// findPath returns the certificates from leaf to an anchor, both included, and checks all but identity, usage of the leaf and
// revocation. sent are the certificates of the peer, in any order.
func (t *Trust) findPath(leaf *x509.Certificate, sent []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	path := []*x509.Certificate{leaf}
	if !t.isAnchor(leaf) {
		var err error
		if path, err = newPathSearch(t, leaf, sent).run(); err != nil {
			return nil, err
		}
	}
	for _, cert := range path {
		if err := checkValidity(cert, now); err != nil {
			return nil, err
		}
	}
	top := len(path) - 1
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // checkUsage knows those of IPsec
	}
	options.Roots.AddCert(path[top])
	for _, cert := range path[1:max(top, 1)] {
		if !fitExtendedUsage(cert) {
			return nil, blame(printName(cert.RawSubject), fail(Untrusted, "the CA is for other purposes than IKE (extended key usage)"))
		}
		options.Intermediates.AddCert(cert)
	}
	chains, err := leaf.Verify(options)
	if err != nil {
		return nil, blame(printName(leaf.RawSubject), fail(Untrusted, "%w", err))
	}
	return chains[0], nil
}

func checkValidity(cert *x509.Certificate, now time.Time) error {
	subject := printName(cert.RawSubject)
	if now.Before(cert.NotBefore) {
		return blame(subject, fail(NotYetValid, "valid from %s, and now it is %s", stamp(cert.NotBefore), stamp(now)))
	}
	if now.After(cert.NotAfter) {
		return blame(subject, fail(Expired, "valid until %s, and now it is %s", stamp(cert.NotAfter), stamp(now)))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Extended key usages of IPsec that crypto/x509 does not know.
var (
	ekuIPsecIKE        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17} // RFC 4945 section 5.1.3.12
	ekuIKEIntermediate = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 8, 2, 2}  // what Windows and macOS knew before it
)

// fitUsages are the extended key usages of certificates for IKE, by the uses that CAs put into them.
var fitUsages = []x509.ExtKeyUsage{
	x509.ExtKeyUsageAny, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth,
	x509.ExtKeyUsageIPSECEndSystem, x509.ExtKeyUsageIPSECTunnel, x509.ExtKeyUsageIPSECUser,
}

// checkUsage tells whether a certificate is meant for signing in IKE: keyUsage, if there, has digitalSignature or nonRepudiation
// (RFC 4945 section 5.1.3.2), and extended key usages, if there, have one of IPsec, of TLS, or any.
func checkUsage(cert *x509.Certificate) error {
	if cert.KeyUsage != 0 && cert.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return fail(Untrusted, "the key usage of the certificate does not allow signatures (digitalSignature)")
	}
	if !fitExtendedUsage(cert) {
		return fail(Untrusted, "the extended key usage of the certificate allows neither IKE nor client or server authentication")
	}
	return nil
}

// fitExtendedUsage tells whether extended key usages, if there are any, let a certificate be used for IKE, or a CA vouch for such ones.
func fitExtendedUsage(cert *x509.Certificate) bool {
	return len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 ||
		slices.ContainsFunc(cert.ExtKeyUsage, func(u x509.ExtKeyUsage) bool { return slices.Contains(fitUsages, u) }) ||
		slices.ContainsFunc(cert.UnknownExtKeyUsage, func(o asn1.ObjectIdentifier) bool { return o.Equal(ekuIPsecIKE) || o.Equal(ekuIKEIntermediate) })
}
