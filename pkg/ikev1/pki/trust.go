package pki

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// TrustConfig says whom to trust.
type TrustConfig struct {
	// Anchors are the CA certificates that are trusted to vouch for peers; at least one. A certificate of a peer itself may be among
	// them.
	Anchors []*x509.Certificate
	// Intermediates are CA certificates that peers need not send. They are not trusted by themselves.
	Intermediates []*x509.Certificate
	// Allow lists the peers allowed: one rule that fits is enough. Empty allows everybody whom the anchors vouch for.
	Allow []Rule

	// Revocation says what becomes of certificates about whose revocation nothing fresh is known.
	Revocation Mode
	// CRLs are in DER or PEM, as for [Trust.AddCRL].
	CRLs [][]byte
	// CRLURLs and OCSPURLs (http, https) are asked about every certificate about which no fresh CRL or OCSP response is at hand.
	CRLURLs, OCSPURLs []string
	// CertificateURLs lets the URLs be asked, too, that certificates name (CRL distribution points, authority information access):
	// only those of a path to an anchor, and only after the peer proved that it has the key.
	CertificateURLs bool
	// Fetch gets what a request asks for. It should give up long before the context of Authenticate does, or peers are lost that
	// mode [Soft] would let pass. It is called from within Authenticate, at most 8 times each; nil fetches nothing.
	Fetch func(context.Context, Request) ([]byte, error)
}

// Trust authenticates peers. It is safe for concurrent use.
type Trust struct {
	anchors       map[string][]*x509.Certificate // by RawSubject
	intermediates map[string][]*x509.Certificate // by RawSubject
	cas           []*x509.Certificate            // both
	authorities   [][]byte
	allow         []Rule

	mode            Mode
	configured      []source
	certificateURLs bool
	fetch           func(context.Context, Request) ([]byte, error)
	lists           lists
	responses       responses
	fetches         fetches
}

// NewTrust returns the trust that a configuration describes.
func NewTrust(config TrustConfig) (*Trust, error) {
	if len(config.Anchors) == 0 {
		return nil, errors.New("no trust anchor: configure the certificate of the CA that issued the peers' certificates")
	}
	t := &Trust{
		anchors:       map[string][]*x509.Certificate{},
		intermediates: map[string][]*x509.Certificate{},
		cas:           slices.Concat(config.Anchors, config.Intermediates),
		allow:         slices.Clone(config.Allow),

		certificateURLs: config.CertificateURLs,
		fetch:           config.Fetch,
		responses:       responses{all: map[responseKey]responseEntry{}},
		fetches:         fetches{all: map[[sha256.Size]byte]*fetched{}},
	}
	for _, cert := range config.Anchors {
		if !fitCAKey(cert.PublicKey, maxAnchorBits) {
			return nil, fmt.Errorf("trust anchor %s: a key of kind %s that is too weak, too long or unknown", printName(cert.RawSubject), keyKind(cert.PublicKey))
		}
		name := string(cert.RawSubject)
		if t.anchors[name] == nil {
			t.authorities = append(t.authorities, cert.RawSubject)
		}
		t.anchors[name] = append(t.anchors[name], cert)
	}
	for _, cert := range config.Intermediates {
		t.intermediates[string(cert.RawSubject)] = append(t.intermediates[string(cert.RawSubject)], cert)
	}
	if err := t.configureRevocation(config); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Trust) configureRevocation(config TrustConfig) error {
	t.mode = Soft
	if config.Revocation != "" {
		mode, err := ParseMode(string(config.Revocation))
		if err != nil {
			return err
		}
		t.mode = mode
	}
	for i, crl := range config.CRLs {
		if err := t.AddCRL(crl); err != nil {
			return fmt.Errorf("CRL %d: %w", i+1, err)
		}
	}
	for _, u := range config.CRLURLs {
		t.configured = append(t.configured, source{kind: FetchCRL, url: u})
	}
	for _, u := range config.OCSPURLs {
		t.configured = append(t.configured, source{kind: FetchOCSP, url: u})
	}
	for _, s := range t.configured {
		if err := checkURL(s.url); err != nil {
			return err
		}
	}
	if config.Fetch == nil && (len(t.configured) > 0 || t.certificateURLs) {
		return errors.New("URLs for revocation, and nothing to fetch them with")
	}
	return nil
}

// Authorities returns the DER DNs of the anchors, for CERTREQ payloads.
func (t *Trust) Authorities() [][]byte {
	out := make([][]byte, len(t.authorities))
	for i, name := range t.authorities {
		out[i] = slices.Clone(name)
	}
	return out
}

func (t *Trust) isAnchor(cert *x509.Certificate) bool {
	return slices.ContainsFunc(t.anchors[string(cert.RawSubject)], cert.Equal)
}

// Claim is what a peer says about itself in the fifth or sixth message of Main Mode.
type Claim struct {
	Now    time.Time
	Method Method
	// Chain has the contents of the CERT payloads of encoding 4 (X.509 signature), as received.
	Chain [][]byte
	// IdentityType and Identity are type and data of the ID payload.
	IdentityType uint8
	Identity     []byte
	// Allow lists who is meant: one rule has to fit, besides one of the trust's. Empty: whomever the trust allows.
	Allow []Rule
	// Hash is HASH_I or HASH_R, computed with the hash of [Method.Hash]; Signature is the content of the SIG payload.
	Hash, Signature []byte
	// OCSP has OCSP responses that the peer sent along (stapled), if it can; the first 8 are looked at.
	OCSP [][]byte
}

// Peer is a peer that proved its identity.
type Peer struct {
	// Subject is the DN of the certificate, printable.
	Subject string
	// SANs are its DNS names, email addresses and addresses, printable; not more than 16.
	SANs []string
	// NotAfter is when the first certificate of its path expires.
	NotAfter time.Time
	// RevocationUnknown tells that nothing fresh was known about the revocation of a certificate of the path, which mode [Soft] lets pass.
	RevocationUnknown bool
}

// Authenticate tells whether a peer is who it claims to be. It checks, in this order: that a path leads from its certificate to an
// anchor; that the certificate is for the claimed identity, and allowed; that the peer has its private key; that no certificate of the
// path is revoked. Of several certificates for the identity, in whatever order, two are looked at.
//
// The error is an [*Error], or the error of a ctx that was cancelled; one whose time is over makes unknown what was not known by then. A
// claim costs a stranger's host at most 2 signature checks for the proof, and for each of them 4 and those of genuine CA certificates,
// with RSA keys of at most 4096 bits (configured CAs: 8192). Nothing is fetched for one who has no proof.
func (t *Trust) Authenticate(ctx context.Context, c Claim) (Peer, error) {
	p, err := t.Prove(c)
	if err != nil {
		return Peer{}, err
	}
	return p.CheckRevocation(ctx)
}

// Proof is a claim that is true, unless a certificate was revoked.
type Proof struct {
	trust *Trust
	claim Claim
	path  []*x509.Certificate
}

// Prove does the part of [Trust.Authenticate] that works and never waits: all but the look for revocations. The error is an [*Error].
func (t *Trust) Prove(c Claim) (*Proof, error) {
	if !c.Method.Signature() || c.Now.IsZero() {
		return nil, fail(Malformed, "a claim needs the time, and a method with signatures: %s has none", c.Method)
	}
	certs, err := parseChain(c.Chain)
	if err != nil {
		return nil, err
	}
	var first error
	for _, leaf := range leaves(certs, c) {
		path, err := t.prove(leaf, certs, c)
		if err == nil {
			return &Proof{trust: t, claim: c, path: path}, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, first
}

// prove returns the path of one certificate of a claim.
func (t *Trust) prove(leaf *x509.Certificate, certs []*x509.Certificate, c Claim) ([]*x509.Certificate, error) {
	path, err := t.findPath(leaf, certs, c.Now)
	if err != nil {
		return nil, err
	}
	if err = t.checkLeaf(leaf, c); err == nil {
		err = Verify(c.Method, leaf.PublicKey, c.Hash, c.Signature)
	}
	return path, blame(printName(leaf.RawSubject), err)
}

// leaves returns the certificates that a claim may be about, at most maxLeaves: those for its identity, or else the likeliest to say
// what is wrong with, the first that is not of a CA.
func leaves(certs []*x509.Certificate, c Claim) []*x509.Certificate {
	var fit []*x509.Certificate
	for _, cert := range certs {
		if checkKey(c.Method, cert.PublicKey) == nil && checkIdentity(cert, c.IdentityType, c.Identity) == nil && !slices.ContainsFunc(fit, cert.Equal) {
			fit = append(fit, cert)
		}
	}
	if len(fit) > 0 {
		return fit[:min(len(fit), maxLeaves)]
	}
	likeliest := max(slices.IndexFunc(certs, func(cert *x509.Certificate) bool { return !cert.IsCA }), 0)
	return certs[likeliest : likeliest+1]
}

// CheckRevocation does the rest: it tells who the peer is if no certificate of its path is known to be revoked, and may wait for the
// network.
func (p *Proof) CheckRevocation(ctx context.Context) (Peer, error) {
	leaf := p.path[0]
	peer := Peer{Subject: printName(leaf.RawSubject), SANs: alternativeNames(leaf), NotAfter: leaf.NotAfter}
	for _, cert := range p.path {
		if cert.NotAfter.Before(peer.NotAfter) {
			peer.NotAfter = cert.NotAfter
		}
	}
	unknown, err := p.trust.checkRevocation(ctx, p.path, p.claim)
	if err != nil {
		return Peer{}, err
	}
	peer.RevocationUnknown = unknown
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return Peer{}, err
	}
	return peer, nil
}

// checkLeaf checks usage, identity and allow rules.
func (t *Trust) checkLeaf(leaf *x509.Certificate, c Claim) error {
	if err := checkKey(c.Method, leaf.PublicKey); err != nil {
		return err
	}
	if err := checkUsage(leaf); err != nil {
		return err
	}
	if err := checkIdentity(leaf, c.IdentityType, c.Identity); err != nil {
		return err
	}
	for _, rules := range [][]Rule{t.allow, c.Allow} {
		if len(rules) > 0 && !slices.ContainsFunc(rules, func(r Rule) bool { return r.allows(leaf) }) {
			return fail(UnknownIdentity, "no allow rule fits the certificate")
		}
	}
	return nil
}
