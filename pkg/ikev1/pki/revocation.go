package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Mode says what becomes of a certificate about whose revocation nothing fresh is known.
type Mode string

// The modes. The empty one is Soft.
const (
	Strict Mode = "strict" // refused
	Soft   Mode = "soft"   // accepted and marked
	Off    Mode = "off"    // revocation is not looked at
)

// ParseMode reads "strict", "soft" or "off".
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); m == Strict || m == Soft || m == Off {
		return m, nil
	}
	return "", fmt.Errorf("revocation %q: strict, soft and off exist", s)
}

// clockSkew is how far CRLs and OCSP responses may be from our time.
const clockSkew = 5 * time.Minute

// status is what is known about the revocation of one certificate.
type status int

const (
	unknown status = iota
	good
	revoked
)

// finding is a status with what it rests on.
type finding struct {
	status status
	// fresh tells that its source has not expired. What was revoked stays so until something fresh says otherwise.
	fresh  bool
	detail string
}

// combine returns the finding that counts of two: revoked before good, fresh before stale.
func combine(a, b finding) finding {
	rank := func(f finding) int {
		switch {
		case f.fresh && f.status == revoked:
			return 4
		case f.fresh && f.status == good:
			return 3
		case f.status == revoked:
			return 2
		case f.status == good:
			return 1
		}
		return 0
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// settled tells whether nothing has to be fetched any more.
func (f finding) settled() bool { return f.fresh && f.status != unknown }

// revocationCheck is the look at one path.
type revocationCheck struct {
	trust   *Trust
	now     time.Time
	stapled [][]byte
	budget  int // requests left
	reasons []error
}

// checkRevocation looks at every certificate below the anchor. It returns true if a status is unknown and may be.
func (t *Trust) checkRevocation(ctx context.Context, path []*x509.Certificate, c Claim) (bool, error) {
	if t.mode == Off {
		return false, nil
	}
	check := revocationCheck{trust: t, now: c.Now, budget: maxRequests}
	check.stapled = c.OCSP[:min(len(c.OCSP), maxStapled)]
	anyUnknown := false
	for i, cert := range path[:len(path)-1] {
		check.reasons = nil
		found := check.find(ctx, cert, path[i+1])
		subject := printName(cert.RawSubject)
		switch {
		case found.status == revoked:
			return false, blame(subject, fail(Revoked, "%s", found.detail))
		case found.settled():
		case errors.Is(ctx.Err(), context.Canceled): // whose time is over asks nobody any more, and what it knows counts
			return false, ctx.Err()
		case t.mode == Strict:
			return false, blame(subject, fail(RevocationUnknown, "%w", check.why(path[i+1], found)))
		default:
			anyUnknown = true
		}
	}
	return anyUnknown, nil
}

// find returns what is known about a certificate, and asks where it has to.
func (r *revocationCheck) find(ctx context.Context, cert, issuer *x509.Certificate) finding {
	for _, der := range r.stapled {
		if err := r.trust.addResponse(der, cert, issuer, r.now); err != nil {
			r.reasons = append(r.reasons, fmt.Errorf("stapled OCSP response: %w", err))
		}
	}
	found := r.known(cert, issuer)
	for _, source := range r.trust.sources(cert) {
		if found.settled() || r.budget == 0 || ctx.Err() != nil {
			break
		}
		if err := r.ask(ctx, source, cert, issuer); err != nil {
			r.reasons = append(r.reasons, fmt.Errorf("%s: %w", printable(source.url), err))
			continue
		}
		found = r.known(cert, issuer)
	}
	if !found.settled() && ctx.Err() != nil {
		r.reasons = append(r.reasons, errors.New("there was no time to ask"))
	}
	return found
}

func (r *revocationCheck) known(cert, issuer *x509.Certificate) finding {
	return combine(r.trust.lists.find(cert, issuer, r.now), r.trust.responses.find(cert, issuer, r.now))
}

// why says what was tried in vain.
func (r *revocationCheck) why(issuer *x509.Certificate, found finding) error {
	if found.detail != "" {
		r.reasons = append(r.reasons, errors.New(found.detail))
	}
	if len(r.reasons) == 0 {
		return fmt.Errorf("no CRL of %s, and no URL that may be asked", printName(issuer.RawSubject))
	}
	err := fmt.Errorf("no fresh CRL or OCSP response of %s: %w", printName(issuer.RawSubject), r.reasons[0])
	for _, reason := range r.reasons[1:] { // errors.Join would break the line
		err = fmt.Errorf("%w; %w", err, reason)
	}
	return err
}

// source is somebody to ask.
type source struct {
	kind            RequestKind
	url             string
	fromCertificate bool
}

// sources returns whom to ask about a certificate: those configured first, and lists before responders, since one list answers for all
// peers.
func (t *Trust) sources(cert *x509.Certificate) []source {
	if t.fetch == nil {
		return nil
	}
	out := slices.Clone(t.configured)
	if t.certificateURLs {
		out = append(out, named(FetchCRL, cert.CRLDistributionPoints)...)
		out = append(out, named(FetchOCSP, cert.OCSPServer)...)
	}
	return out
}

// named returns those URLs of a certificate that can be fetched, at most maxNamedURLs.
func named(kind RequestKind, urls []string) []source {
	var out []source
	for _, u := range urls {
		if len(out) < maxNamedURLs && checkURL(u) == nil {
			out = append(out, source{kind: kind, url: u, fromCertificate: true})
		}
	}
	return out
}

// reasonNames are the reasons of RFC 5280 section 5.3.1.
var reasonNames = map[int]string{
	1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation", 6: "certificateHold",
	9: "privilegeWithdrawn", 10: "aACompromise",
}

// revokedText says when and why a certificate was revoked.
func revokedText(at time.Time, reason int, by string) string {
	var b strings.Builder
	b.WriteString("revoked " + stamp(at))
	if name := reasonNames[reason]; name != "" {
		b.WriteString(" (" + name + ")")
	}
	b.WriteString(" by " + by)
	return b.String()
}

// weak tells whether a signature algorithm is not trusted any more, in CRLs and OCSP responses as in certificates.
func weak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return false
	}
	return true
}
