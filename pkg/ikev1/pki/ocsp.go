package pki

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Limits of OCSP.
const (
	maxOCSPOctets = 64 << 10
	maxResponses  = 4096
	// untilUpdated is how long a response counts that does not say when the next one comes.
	untilUpdated = time.Hour
)

// The part of an OCSP response (RFC 6960 section 4.2.1) that has to be looked at before its signature is, or that x/crypto/ocsp does not
// look at.
type (
	ocspEnvelope struct {
		Status   asn1.Enumerated
		Response struct {
			Type  asn1.ObjectIdentifier
			Basic []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	ocspBasic struct {
		Data struct {
			Version     int `asn1:"optional,default:0,explicit,tag:0"`
			ResponderID asn1.RawValue
			ProducedAt  time.Time `asn1:"generalized"`
			Responses   []struct{ ID ocspCertID }
		}
		Algorithm    pkix.AlgorithmIdentifier
		Signature    asn1.BitString
		Certificates []asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	ocspCertID struct {
		Hash     pkix.AlgorithmIdentifier
		NameHash []byte
		KeyHash  []byte
		Serial   *big.Int
	}
)

// checkEnvelope refuses what would make x/crypto/ocsp work for nothing or for another certificate: a responder's key of any size, and a
// serial number of another issuer.
func checkEnvelope(der []byte, cert, issuer *x509.Certificate) error {
	if len(der) > maxOCSPOctets {
		return fmt.Errorf("OCSP response of %d octets, at most %d are read", len(der), maxOCSPOctets)
	}
	var envelope ocspEnvelope
	if _, err := asn1.Unmarshal(der, &envelope); err != nil {
		return fmt.Errorf("OCSP response cannot be read: %w", err)
	}
	if status := ocsp.ResponseStatus(envelope.Status); status != ocsp.Success {
		return ocsp.ResponseError{Status: status}
	}
	var basic ocspBasic
	if _, err := asn1.Unmarshal(envelope.Response.Basic, &basic); err != nil {
		return fmt.Errorf("OCSP response cannot be read: %w", err)
	}
	if len(basic.Certificates) > 0 {
		responder, err := x509.ParseCertificate(basic.Certificates[0].FullBytes)
		if err != nil {
			return fmt.Errorf("certificate of the OCSP responder: %w", err)
		}
		if !fitCAKey(responder.PublicKey, maxAnchorBits) {
			return errors.New("the key of the OCSP responder is too weak or too long")
		}
	}
	for _, r := range basic.Data.Responses {
		if r.ID.Serial != nil && r.ID.Serial.Cmp(cert.SerialNumber) == 0 { // the first one, which x/crypto/ocsp takes
			return checkCertID(r.ID, cert, issuer)
		}
	}
	return errors.New("OCSP response is about other certificates")
}

// checkCertID compares the name and the key of the issuer.
func checkCertID(id ocspCertID, cert, issuer *x509.Certificate) error {
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		ours, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: h})
		if err != nil {
			return err
		}
		request, err := ocsp.ParseRequest(ours)
		if err != nil {
			return err
		}
		if bytes.Equal(request.IssuerNameHash, id.NameHash) && bytes.Equal(request.IssuerKeyHash, id.KeyHash) {
			return nil
		}
	}
	return errors.New("OCSP response is about a certificate of another issuer")
}

// parseResponse reads an OCSP response about a certificate, and checks who signed it: the issuer, or one whom the issuer gave a
// certificate for it (RFC 6960 section 4.2.2.2).
func parseResponse(der []byte, cert, issuer *x509.Certificate, now time.Time) (*ocsp.Response, error) {
	if err := checkEnvelope(der, cert, issuer); err != nil {
		return nil, err
	}
	response, err := ocsp.ParseResponseForCert(der, cert, nil)
	if err != nil {
		return nil, fmt.Errorf("OCSP response cannot be read: %w", err)
	}
	if weak(response.SignatureAlgorithm) {
		return nil, fmt.Errorf("OCSP response is signed with %s, which is not trusted any more", response.SignatureAlgorithm)
	}
	responder := response.Certificate
	if responder == nil || bytes.Equal(responder.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo) {
		err = response.CheckSignatureFrom(issuer)
	} else {
		err = checkResponder(responder, issuer, now) // the signature of the response was checked with its key by ParseResponseForCert
	}
	if err != nil {
		return nil, fmt.Errorf("OCSP response is not signed by %s or its responder: %w", printName(issuer.RawSubject), err)
	}
	return response, nil
}

// checkResponder tells whether an issuer made somebody its responder.
func checkResponder(responder, issuer *x509.Certificate, now time.Time) error {
	switch {
	case !bytes.Equal(responder.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("the certificate of the responder is by %s", printName(responder.RawIssuer))
	case !slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("the certificate of the responder is not for OCSP (extended key usage OCSPSigning)")
	case responder.KeyUsage != 0 && responder.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return errors.New("the certificate of the responder is not for signatures (key usage digitalSignature)")
	case len(responder.UnhandledCriticalExtensions) > 0:
		return errors.New("the certificate of the responder has an unknown critical extension")
	case weak(responder.SignatureAlgorithm):
		return fmt.Errorf("the certificate of the responder is signed with %s, which is not trusted any more", responder.SignatureAlgorithm)
	case now.Before(responder.NotBefore) || now.After(responder.NotAfter):
		return fmt.Errorf("the certificate of the responder is valid from %s to %s", stamp(responder.NotBefore), stamp(responder.NotAfter))
	}
	return issuer.CheckSignature(responder.SignatureAlgorithm, responder.RawTBSCertificate, responder.Signature)
}

// responses are the OCSP responses known.
type responses struct {
	mu  sync.Mutex
	all map[responseKey]responseEntry
}

// responseKey stands for one certificate of one issuer.
type responseKey [sha256.Size]byte

func keyOfResponse(cert, issuer *x509.Certificate) responseKey {
	return sha256.Sum256(fmt.Appendf(nil, "%x %x %s", issuer.RawSubjectPublicKeyInfo, issuer.RawSubject, cert.SerialNumber))
}

type responseEntry struct {
	status     status
	thisUpdate time.Time
	until      time.Time
	detail     string
}

// addResponse takes an OCSP response about a certificate, unless a newer one is there. One that is not fresh, or does not know, is an
// error.
func (t *Trust) addResponse(der []byte, cert, issuer *x509.Certificate, now time.Time) error {
	response, err := parseResponse(der, cert, issuer, now)
	if err != nil {
		return err
	}
	e := responseEntry{status: good, thisUpdate: response.ThisUpdate, until: response.NextUpdate}
	if e.until.IsZero() {
		e.until = e.thisUpdate.Add(untilUpdated)
	}
	if now.Before(e.thisUpdate.Add(-clockSkew)) || now.After(e.until.Add(clockSkew)) {
		return fmt.Errorf("OCSP response is for %s to %s, and now it is %s", stamp(e.thisUpdate), stamp(e.until), stamp(now))
	}
	switch response.Status {
	case ocsp.Good:
	case ocsp.Revoked:
		e.status, e.detail = revoked, revokedText(response.RevokedAt, response.RevocationReason, "the OCSP responder of "+printName(issuer.RawSubject))
	default:
		return errors.New("the OCSP responder does not know the certificate")
	}
	t.responses.insert(keyOfResponse(cert, issuer), e, now)
	return nil
}

func (s *responses) insert(key responseKey, e responseEntry, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, there := s.all[key]
	if there && old.thisUpdate.After(e.thisUpdate) {
		return
	}
	if !there {
		s.makeRoom(now)
	}
	s.all[key] = e
}

// makeRoom forgets what has expired, and if that is not enough any quarter: a part, so that the next ones have room.
func (s *responses) makeRoom(now time.Time) {
	if len(s.all) < maxResponses {
		return
	}
	for key, e := range s.all {
		if now.After(e.until.Add(clockSkew)) {
			delete(s.all, key)
		}
	}
	for key := range s.all {
		if len(s.all) <= maxResponses*3/4 {
			return
		}
		delete(s.all, key)
	}
}

// find returns what is known about a certificate.
func (s *responses) find(cert, issuer *x509.Certificate, now time.Time) finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, there := s.all[keyOfResponse(cert, issuer)]
	if !there {
		return finding{}
	}
	f := finding{status: e.status, fresh: !now.After(e.until.Add(clockSkew)), detail: e.detail}
	if !f.fresh && f.status == good {
		f.detail = "the OCSP response ran out on " + stamp(e.until)
	}
	return f
}
