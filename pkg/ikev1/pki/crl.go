package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of CRLs.
const (
	maxCRLOctets  = 4 << 20
	maxLists      = 64
	maxCRLEntries = 1 << 20 // of all lists together
	maxScopeURLs  = 16
	maxWaiting    = 16 // lists whose issuer is not known yet
	maxTried      = 8
)

// list is one CRL.
type list struct {
	issuer     string // RawSubject
	signer     string // RawSubjectPublicKeyInfo of the issuer that the signature was verified with; empty as long as none is known
	scope      scope
	number     *big.Int // nil if the CRL has none
	thisUpdate time.Time
	nextUpdate time.Time
	revoked    map[string]revocationEntry // by serial number

	unverified *x509.RevocationList // signature and what it is of, as long as signer is empty
	tried      []string             // signers that it is not from
}

type revocationEntry struct {
	at     time.Time
	reason int
}

// scope is which certificates of its issuer a CRL is about (RFC 5280 section 5.2.5).
type scope struct {
	urls             []string // distribution points, sorted; none: all
	onlyUser, onlyCA bool
}

func (s scope) equal(o scope) bool {
	return s.onlyUser == o.onlyUser && s.onlyCA == o.onlyCA && slices.Equal(s.urls, o.urls)
}

func (s scope) covers(cert *x509.Certificate) bool {
	if s.onlyUser && cert.IsCA || s.onlyCA && !cert.IsCA {
		return false
	}
	return len(s.urls) == 0 || slices.ContainsFunc(cert.CRLDistributionPoints, func(u string) bool { return slices.Contains(s.urls, u) })
}

var (
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKeyID           = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidCRLNumber                = asn1.ObjectIdentifier{2, 5, 29, 20}
)

type issuingDistributionPoint struct {
	Point struct {
		FullName []asn1.RawValue `asn1:"optional,tag:0"`
		Relative asn1.RawValue   `asn1:"optional,tag:1"`
	} `asn1:"optional,tag:0"`
	OnlyUser      bool           `asn1:"optional,tag:1"`
	OnlyCA        bool           `asn1:"optional,tag:2"`
	SomeReasons   asn1.BitString `asn1:"optional,tag:3"`
	Indirect      bool           `asn1:"optional,tag:4"`
	OnlyAttribute bool           `asn1:"optional,tag:5"`
}

func parseScope(der []byte) (scope, error) {
	var p issuingDistributionPoint
	if rest, err := asn1.Unmarshal(der, &p); err != nil {
		return scope{}, fmt.Errorf("issuing distribution point cannot be read: %w", err)
	} else if len(rest) != 0 {
		return scope{}, fmt.Errorf("%d octets after the issuing distribution point", len(rest))
	}
	if p.Indirect || p.OnlyAttribute || p.SomeReasons.BitLength != 0 || len(p.Point.Relative.FullBytes) != 0 {
		return scope{}, errors.New("indirect CRLs, and those for some reasons or for attribute certificates only, are not supported")
	}
	const tagURI = 6
	s := scope{onlyUser: p.OnlyUser, onlyCA: p.OnlyCA}
	for _, name := range p.Point.FullName {
		if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI && len(s.urls) < maxScopeURLs {
			s.urls = append(s.urls, string(name.Bytes))
		}
	}
	if len(p.Point.FullName) > 0 && len(s.urls) == 0 {
		return scope{}, errors.New("the distribution point of the CRL has no URL")
	}
	slices.Sort(s.urls)
	return s, nil
}

// parseList reads a CRL in DER or PEM, without its signature.
func parseList(octets []byte) (*list, error) {
	if block, _ := pem.Decode(octets); block != nil && block.Type == "X509 CRL" {
		octets = block.Bytes
	}
	if len(octets) > maxCRLOctets {
		return nil, fmt.Errorf("CRL of %d octets, at most %d are read", len(octets), maxCRLOctets)
	}
	crl, err := x509.ParseRevocationList(octets)
	if err != nil {
		return nil, fmt.Errorf("CRL cannot be read: %w", err)
	}
	if len(crl.Raw) != len(octets) {
		return nil, fmt.Errorf("%d octets after the CRL", len(octets)-len(crl.Raw))
	}
	if crl.NextUpdate.IsZero() {
		return nil, errors.New("CRL does not say when the next one comes (nextUpdate)")
	}
	if weak(crl.SignatureAlgorithm) {
		return nil, fmt.Errorf("CRL is signed with %s, which is not trusted any more", crl.SignatureAlgorithm)
	}
	l := &list{
		issuer: string(crl.RawIssuer), number: crl.Number, thisUpdate: crl.ThisUpdate, nextUpdate: crl.NextUpdate,
		revoked: make(map[string]revocationEntry, len(crl.RevokedCertificateEntries)),
	}
	for _, e := range crl.Extensions {
		switch {
		case e.Id.Equal(oidIssuingDistributionPoint):
			if l.scope, err = parseScope(e.Value); err != nil {
				return nil, err
			}
		case e.Critical && !e.Id.Equal(oidAuthorityKeyID) && !e.Id.Equal(oidCRLNumber):
			return nil, fmt.Errorf("CRL has the critical extension %s, which is not supported (delta CRLs are not)", e.Id)
		}
	}
	for _, e := range crl.RevokedCertificateEntries {
		l.revoked[e.SerialNumber.String()] = revocationEntry{at: e.RevocationTime, reason: e.ReasonCode}
	}
	// The entries are not kept twice.
	l.unverified = &x509.RevocationList{
		Raw: crl.Raw, RawTBSRevocationList: crl.RawTBSRevocationList, Signature: crl.Signature, SignatureAlgorithm: crl.SignatureAlgorithm,
	}
	return l, nil
}

// verify tells whether an issuer signed the list, and remembers it.
func (l *list) verify(issuer *x509.Certificate) error {
	key := string(issuer.RawSubjectPublicKeyInfo)
	if l.signer != "" {
		if l.signer == key {
			return nil
		}
		return errors.New("CRL is signed with another key")
	}
	if l.issuer != string(issuer.RawSubject) {
		return fmt.Errorf("CRL is of %s, not of %s", printName([]byte(l.issuer)), printName(issuer.RawSubject))
	}
	if slices.Contains(l.tried, key) || len(l.tried) >= maxTried {
		return errors.New("CRL is not signed by its issuer")
	}
	if err := l.unverified.CheckSignatureFrom(issuer); err != nil {
		l.tried = append(l.tried, key)
		return fmt.Errorf("CRL is not signed by %s: %w", printName(issuer.RawSubject), err)
	}
	l.signer, l.unverified = key, nil
	return nil
}

// replaces tells whether a CRL is of the same series as another one.
func (l *list) replaces(o *list) bool {
	return o.issuer == l.issuer && o.signer == l.signer && o.scope.equal(l.scope)
}

// newer tells whether a CRL comes after another one of its issuer.
func (l *list) newer(than *list) bool {
	if l.number != nil && than.number != nil {
		return l.number.Cmp(than.number) > 0
	}
	return l.thisUpdate.After(than.thisUpdate)
}

// lists are the CRLs known.
type lists struct {
	mu  sync.Mutex
	all []*list
}

// add takes a CRL that one of the issuers signed, unless a newer one is there. keep says what becomes of a CRL of none of them: it is
// kept until its issuer is seen, or refused.
func (s *lists) add(octets []byte, issuers []*x509.Certificate, keep bool) error {
	l, err := parseList(octets)
	if err != nil {
		return err
	}
	err = fmt.Errorf("CRL is of %s, which is no CA known here", printName([]byte(l.issuer)))
	for _, issuer := range issuers {
		if l.issuer != string(issuer.RawSubject) {
			continue
		}
		keep = false
		if err = l.verify(issuer); err == nil {
			break
		}
	}
	if err != nil && !keep {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.insert(l)
}

// insert adds a list in place of the one that it is the successor of. One that waits for its issuer is nobody's successor: it may say
// of itself what it likes.
func (s *lists) insert(l *list) error {
	entries := len(l.revoked)
	if l.signer == "" && s.waiting(l) {
		return nil
	}
	at := slices.IndexFunc(s.all, func(o *list) bool { return l.signer != "" && l.replaces(o) })
	if at >= 0 && !l.newer(s.all[at]) {
		return nil
	}
	for i, o := range s.all {
		if i != at {
			entries += len(o.revoked)
		}
	}
	if entries > maxCRLEntries {
		return fmt.Errorf("CRLs have %d entries together, at most %d are kept", entries, maxCRLEntries)
	}
	if at >= 0 {
		s.all[at] = l
		return nil
	}
	if len(s.all) >= maxLists {
		return fmt.Errorf("%d CRLs are known, no more are kept", maxLists)
	}
	s.all = append(s.all, l)
	return nil
}

// waiting tells whether a list waits for its issuer already. If not, it makes room for it, where the one that waited longest was.
func (s *lists) waiting(l *list) bool {
	waits := func(o *list) bool { return o.signer == "" }
	n := 0
	for _, o := range s.all {
		if !waits(o) {
			continue
		}
		if n++; bytes.Equal(o.unverified.Raw, l.unverified.Raw) {
			return true
		}
	}
	if n >= maxWaiting {
		at := slices.IndexFunc(s.all, waits)
		s.all = slices.Delete(s.all, at, at+1)
	}
	return false
}

// find returns what the CRLs of an issuer say about a certificate.
func (s *lists) find(cert, issuer *x509.Certificate, now time.Time) finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(issuer)
	var found finding
	for _, l := range s.all {
		if l.signer != string(issuer.RawSubjectPublicKeyInfo) || l.issuer != string(issuer.RawSubject) || !l.scope.covers(cert) {
			continue
		}
		f := finding{status: good, fresh: !now.After(l.nextUpdate.Add(clockSkew)) && !now.Before(l.thisUpdate.Add(-clockSkew))}
		if !f.fresh {
			f.detail = fmt.Sprintf("the CRL of %s is for %s to %s", printName(issuer.RawSubject), stamp(l.thisUpdate), stamp(l.nextUpdate))
		}
		if e, ok := l.revoked[cert.SerialNumber.String()]; ok {
			f.status, f.detail = revoked, revokedText(e.at, e.reason, "the CRL of "+printName(issuer.RawSubject))
		}
		found = combine(found, f)
	}
	return found
}

// settle verifies those lists that waited for their issuer.
func (s *lists) settle(issuer *x509.Certificate) {
	for _, l := range slices.Clone(s.all) {
		if l.signer != "" || l.issuer != string(issuer.RawSubject) || l.verify(issuer) != nil {
			continue
		}
		s.all = slices.DeleteFunc(s.all, func(o *list) bool { return o == l })
		_ = s.insert(l) // there is room, since it was there before
	}
}

// CRLInfo describes a CRL in use.
type CRLInfo struct {
	// Issuer is its DN, printable.
	Issuer string
	// Number is the CRL number; empty if it has none.
	Number                 string
	ThisUpdate, NextUpdate time.Time
	// Entries is how many certificates it revokes.
	Entries int
	// Verified tells that its issuer is known and signed it. One that is not is not used.
	Verified bool
}

// CRLs describes the CRLs known, by issuer.
func (t *Trust) CRLs() []CRLInfo {
	t.lists.mu.Lock()
	defer t.lists.mu.Unlock()
	out := make([]CRLInfo, 0, len(t.lists.all))
	for _, l := range t.lists.all {
		info := CRLInfo{Issuer: printName([]byte(l.issuer)), ThisUpdate: l.thisUpdate, NextUpdate: l.nextUpdate, Entries: len(l.revoked), Verified: l.signer != ""}
		if l.number != nil {
			info.Number = l.number.String()
		}
		out = append(out, info)
	}
	slices.SortStableFunc(out, func(a, b CRLInfo) int { return strings.Compare(a.Issuer, b.Issuer) })
	return out
}

// AddCRL takes a CRL in DER or PEM, of at most 4 MB. An older one than that in use changes nothing. If its issuer is an anchor or a
// configured intermediate, the signature is verified at once; otherwise the CRL waits for a path through its issuer. Indirect and delta
// CRLs are refused.
func (t *Trust) AddCRL(crl []byte) error {
	return t.lists.add(crl, t.cas, true)
}
