package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
)

// maxForged bounds the signatures that turn out not to be the issuer's. An honest peer has none, or few where CAs share a name.
const maxForged = 4

// pathSearch looks for the way from an anchor down to a leaf.
//
// A certificate counts from the moment that one that counts has signed it, and anchors count from the beginning. So a stranger, whose
// certificates lack a signature somewhere, costs no more than maxForged checks beside those of genuine certificates, and all with keys that
// he did not choose: what he signs himself is never looked at.
type pathSearch struct {
	trust *Trust
	leaf  *x509.Certificate

	// open are the leaf and what may be above it, by the names, as long as nobody has signed them. issuer has who did.
	open   []*x509.Certificate
	issuer map[*x509.Certificate]*x509.Certificate

	checks, forged int

	// suspect was not signed by whom it names, reason says why.
	suspect *x509.Certificate
	reason  error
}

func newPathSearch(t *Trust, leaf *x509.Certificate, sent []*x509.Certificate) *pathSearch {
	s := &pathSearch{trust: t, leaf: leaf, open: []*x509.Certificate{leaf}, issuer: map[*x509.Certificate]*x509.Certificate{}}
	for i := 0; i < len(s.open); i++ {
		name := s.open[i].RawIssuer
		for _, cert := range t.intermediates[string(name)] {
			s.consider(cert)
		}
		for _, cert := range sent {
			if bytes.Equal(cert.RawSubject, name) && !t.isAnchor(cert) {
				s.consider(cert)
			}
		}
	}
	return s
}

func (s *pathSearch) consider(cert *x509.Certificate) {
	if !slices.ContainsFunc(s.open, cert.Equal) {
		s.open = append(s.open, cert)
	}
}

// run returns the shortest path, from the leaf to an anchor.
func (s *pathSearch) run() ([]*x509.Certificate, error) {
	all := slices.Clone(s.open)
	issuersOf := func(cert *x509.Certificate) []*x509.Certificate { return s.trust.anchors[string(cert.RawIssuer)] }
	for range maxIntermediates + 1 {
		var signed, rest []*x509.Certificate
		for _, cert := range s.open {
			if s.signed(cert, issuersOf(cert)) {
				signed = append(signed, cert)
			} else {
				rest = append(rest, cert)
			}
			switch {
			case s.issuer[s.leaf] != nil:
				return s.path(), nil
			case s.forged >= maxForged:
				return nil, fail(Limit, "%d signatures are not of whom the certificates name", s.forged)
			}
		}
		if len(signed) == 0 {
			return nil, s.deadEnd(all)
		}
		s.open = rest
		issuersOf = func(cert *x509.Certificate) []*x509.Certificate {
			return slices.DeleteFunc(slices.Clone(signed), func(ca *x509.Certificate) bool { return !bytes.Equal(ca.RawSubject, cert.RawIssuer) })
		}
	}
	return nil, fail(Limit, "more than %d intermediate certificates", maxIntermediates)
}

// signed tells whether one of the issuers signed cert. Key identifiers tell those of one name apart, where they are there.
func (s *pathSearch) signed(cert *x509.Certificate, issuers []*x509.Certificate) bool {
	for _, ca := range issuers {
		if s.forged >= maxForged {
			return false
		}
		err := s.check(cert, ca)
		if err == nil {
			s.issuer[cert] = ca
			return true
		}
		s.suspect, s.reason = cert, err
	}
	return false
}

// check returns why ca did not sign cert.
func (s *pathSearch) check(cert, ca *x509.Certificate) error {
	if len(cert.AuthorityKeyId) > 0 && len(ca.SubjectKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, ca.SubjectKeyId) {
		return errors.New("it means another key of that name")
	}
	most := maxRSABits
	if slices.ContainsFunc(s.trust.cas, ca.Equal) {
		most = maxAnchorBits
	}
	if !fitCAKey(ca.PublicKey, most) {
		return errors.New("the key of the issuer is too weak or too long")
	}
	s.checks++
	err := cert.CheckSignatureFrom(ca)
	if err != nil {
		s.forged++
	}
	return err
}

// path returns what leads from the leaf to an anchor.
func (s *pathSearch) path() []*x509.Certificate {
	var path []*x509.Certificate
	for cert := s.leaf; cert != nil; cert = s.issuer[cert] {
		path = append(path, cert)
	}
	return path
}

// deadEnd says why there is no path through any of the certificates.
func (s *pathSearch) deadEnd(all []*x509.Certificate) error {
	if s.reason != nil {
		return blame(printName(s.suspect.RawSubject), fail(Untrusted, "the certificate names the issuer %s, but: %w", printName(s.suspect.RawIssuer), s.reason))
	}
	top := s.leaf
	for _, cert := range all { // each is above one before it
		if bytes.Equal(cert.RawSubject, top.RawIssuer) && s.issuer[cert] == nil {
			top = cert
		}
	}
	subject := printName(top.RawSubject)
	if bytes.Equal(top.RawIssuer, top.RawSubject) {
		return blame(subject, fail(Untrusted, "the certificate is self-signed and not a trust anchor"))
	}
	return blame(subject, fail(Untrusted, "its issuer %s is not a trust anchor, and the peer sent no certificate of it", printName(top.RawIssuer)))
}
