package pki

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"
)

// withSHA1 signs something of an RSA key anew, as CAs did long ago: SHA-256 in the algorithm identifiers becomes SHA-1. tbs finds what is
// signed.
func withSHA1(t *testing.T, der []byte, key *rsa.PrivateKey, tbs func([]byte) []byte) []byte {
	t.Helper()
	oid := []byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1}
	der = bytes.ReplaceAll(der, append(bytes.Clone(oid), 11), append(bytes.Clone(oid), 5))
	sum := sha1.Sum(tbs(der))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(der[:len(der)-len(signature)], signature...)
}

// TestSHA1 is refused everywhere, though the signatures are good.
func TestSHA1(t *testing.T) {
	key := rsaKey(t, 2048)
	root := issue(t, nil, "Root", authority, key)
	peer := issue(t, root, "client", client, nil)
	first := func(der []byte) []byte { // the first element of a sequence
		var outer []asn1.RawValue
		if _, err := asn1.Unmarshal(der, &outer); err != nil {
			t.Fatal(err)
		}
		return outer[0].FullBytes
	}
	trust := newTrust(t, TrustConfig{Anchors: certs(root), Revocation: Strict})
	claim := claimOf(t, peer)
	claim.Chain = [][]byte{withSHA1(t, peer.cert.Raw, key, first)}
	_, err := trust.Authenticate(t.Context(), claim)
	wantCause(t, err, Untrusted)
	old, err := x509.ParseCertificate(claim.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := root.cert.CheckSignature(x509.SHA1WithRSA, old.RawTBSCertificate, old.Signature); err != nil {
		t.Fatalf("the signature of the test is not good: %v", err)
	}
	crl := withSHA1(t, crlOf(t, root, 1, nil), key, first)
	if list, err := x509.ParseRevocationList(crl); err != nil || list.CheckSignatureFrom(root.cert) != nil {
		t.Fatalf("the CRL of the test is not good: %v", err)
	}
	if err := trust.AddCRL(crl); err == nil || !strings.Contains(err.Error(), "SHA1") {
		t.Errorf("error %v of a CRL with SHA-1", err)
	}
	response := withSHA1(t, ocspOf(t, root, nil, peer, nil), key, func(der []byte) []byte {
		parsed, err := ocsp.ParseResponse(der, nil)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.TBSResponseData
	})
	if _, err := ocsp.ParseResponse(response, root.cert); err != nil {
		t.Fatalf("the OCSP response of the test is not good: %v", err)
	}
	if err := trust.addResponse(response, peer.cert, root.cert, testNow); err == nil || !strings.Contains(err.Error(), "SHA1") {
		t.Errorf("error %v of an OCSP response with SHA-1", err)
	}
}

// TestOtherKeysOfCAs lets a CA sign with Ed25519, which no peer can.
func TestOtherKeysOfCAs(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := issue(t, nil, "Root", authority, key)
	sub := issue(t, root, "Sub CA", authority, key)
	peer := issue(t, sub, "client", client, nil)
	trust := newTrust(t, TrustConfig{Anchors: certs(root), Revocation: Strict, CRLs: [][]byte{crlOf(t, root, 1, nil), crlOf(t, sub, 1, nil)}})
	_, err = trust.Authenticate(t.Context(), claimOf(t, peer, sub))
	wantCause(t, err, "")
}
