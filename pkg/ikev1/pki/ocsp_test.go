package pki

import (
	"crypto"
	"crypto/x509"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// ocspOf makes an OCSP response about a certificate, fresh at testNow; responder nil is the issuer.
func ocspOf(tb testing.TB, issuer, responder *entity, about *entity, change func(*ocsp.Response)) []byte {
	tb.Helper()
	template := ocsp.Response{
		Status: ocsp.Good, SerialNumber: about.cert.SerialNumber, ThisUpdate: testNow.Add(-time.Hour), NextUpdate: testNow.Add(time.Hour),
	}
	if change != nil {
		change(&template)
	}
	signer := issuer
	if responder != nil {
		signer, template.Certificate = responder, responder.cert
	}
	der, err := ocsp.CreateResponse(issuer.cert, signer.cert, template, signer.key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func ocspRevoked(r *ocsp.Response) {
	r.Status, r.RevokedAt, r.RevocationReason = ocsp.Revoked, testNow.Add(-2*time.Hour), ocsp.KeyCompromise
}

func TestRevocationByOCSP(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	peer := issue(t, root, "client", client, nil)
	other, namesake := issue(t, root, "other", client, nil), issue(t, nil, "Root", authority, nil)
	responder := func(change func(*x509.Certificate), by *entity) *entity {
		return issue(t, by, "Responder", func(c *x509.Certificate) {
			c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			if change != nil {
				change(c)
			}
		}, nil)
	}
	forged := ocspOf(t, root, nil, peer, nil)
	forged[len(forged)-1] ^= 1
	stale := func(r *ocsp.Response) { r.NextUpdate = testNow.Add(-clockSkew - time.Second) }
	for name, c := range map[string]struct {
		answer []byte
		want   Cause
	}{
		"good":                      {ocspOf(t, root, nil, peer, nil), ""},
		"revoked":                   {ocspOf(t, root, nil, peer, ocspRevoked), Revoked},
		"good, SHA-256 identifiers": {ocspOf(t, root, nil, peer, func(r *ocsp.Response) { r.IssuerHash = crypto.SHA256 }), ""},
		"unknown":                   {ocspOf(t, root, nil, peer, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), RevocationUnknown},
		"about another":             {ocspOf(t, root, nil, other, nil), RevocationUnknown},
		"expired":                   {ocspOf(t, root, nil, peer, stale), RevocationUnknown},
		"within the skew":           {ocspOf(t, root, nil, peer, func(r *ocsp.Response) { r.NextUpdate = testNow.Add(-clockSkew) }), ""},
		"from the future":           {ocspOf(t, root, nil, peer, func(r *ocsp.Response) { r.ThisUpdate = testNow.Add(clockSkew + time.Second) }), RevocationUnknown},
		"without next update":       {ocspOf(t, root, nil, peer, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), ""},
		"old without next update": {ocspOf(t, root, nil, peer, func(r *ocsp.Response) {
			r.NextUpdate, r.ThisUpdate = time.Time{}, testNow.Add(-untilUpdated-clockSkew-time.Minute)
		}), RevocationUnknown},
		"forged":                              {forged, RevocationUnknown},
		"garbage":                             {[]byte("not found"), RevocationUnknown},
		"try later":                           {ocsp.TryLaterErrorResponse, RevocationUnknown},
		"empty":                               {nil, RevocationUnknown},
		"too long":                            {make([]byte, maxOCSPOctets+1), RevocationUnknown},
		"by a CA of the same name":            {ocspOf(t, namesake, nil, peer, nil), RevocationUnknown},
		"by a responder":                      {ocspOf(t, root, responder(nil, root), peer, nil), ""},
		"by a responder, revoked":             {ocspOf(t, root, responder(nil, root), peer, ocspRevoked), Revoked},
		"by the issuer, with its certificate": {ocspOf(t, root, root, peer, nil), ""},
		"by a peer":                           {ocspOf(t, root, other, peer, nil), RevocationUnknown},
		"by the peer itself":                  {ocspOf(t, root, peer, peer, nil), RevocationUnknown},
		"by a responder of another CA":        {ocspOf(t, root, responder(nil, namesake), peer, nil), RevocationUnknown},
		"by an expired responder":             {ocspOf(t, root, responder(func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Second) }, root), peer, nil), RevocationUnknown},
		"by a responder not to sign":          {ocspOf(t, root, responder(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, root), peer, nil), RevocationUnknown},
		"serial number of another issuer":     {ocspOf(t, namesake, responder(nil, root), peer, nil), RevocationUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := &web{answers: map[string][]byte{"ocsp http://ocsp.example.com": c.answer}}
			trust := newTrust(t, TrustConfig{Anchors: certs(root), Revocation: Strict, OCSPURLs: []string{"http://ocsp.example.com"}, Fetch: w.fetch})
			_, err := trust.Authenticate(t.Context(), claimOf(t, peer))
			wantCause(t, err, c.want)
			if len(w.asked) != 1 || w.asked[0].Kind != FetchOCSP || w.asked[0].MaxOctets != maxOCSPOctets || w.asked[0].FromCertificate {
				t.Fatalf("asked %+v", w.asked)
			}
			if request, err := ocsp.ParseRequest(w.asked[0].Body); err != nil || request.SerialNumber.Cmp(peer.cert.SerialNumber) != 0 {
				t.Errorf("request %+v, %v", request, err)
			}
			// the same response, stapled
			claim := claimOf(t, peer)
			claim.OCSP = [][]byte{{1, 2, 3}, c.answer}
			_, err = newTrust(t, TrustConfig{Anchors: certs(root), Revocation: Strict}).Authenticate(t.Context(), claim)
			wantCause(t, err, c.want)
		})
	}
}

func TestRevocationPrefersTheWorse(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	peer := issue(t, root, "client", client, nil)
	for name, c := range map[string]struct {
		crl, response []byte
	}{
		"list revokes, response good": {crlOf(t, root, 1, nil, peer), ocspOf(t, root, nil, peer, nil)},
		"list good, response revokes": {crlOf(t, root, 1, nil), ocspOf(t, root, nil, peer, ocspRevoked)},
	} {
		t.Run(name, func(t *testing.T) {
			claim := claimOf(t, peer)
			claim.OCSP = [][]byte{c.response}
			_, err := newTrust(t, TrustConfig{Anchors: certs(root), CRLs: [][]byte{c.crl}}).Authenticate(t.Context(), claim)
			wantCause(t, err, Revoked)
		})
	}
	// an older response that the peer still has does not displace the newer one
	trust := newTrust(t, TrustConfig{Anchors: certs(root)})
	claim := claimOf(t, peer)
	claim.OCSP = [][]byte{
		ocspOf(t, root, nil, peer, ocspRevoked),
		ocspOf(t, root, nil, peer, func(r *ocsp.Response) { r.ThisUpdate = r.ThisUpdate.Add(-time.Minute) }),
	}
	_, err := trust.Authenticate(t.Context(), claim)
	wantCause(t, err, Revoked)
	// and what was revoked stays so when the response runs out
	claim.Now, claim.OCSP = testNow.Add(3*time.Hour), nil
	_, err = trust.Authenticate(t.Context(), claim)
	wantCause(t, err, Revoked)
}
