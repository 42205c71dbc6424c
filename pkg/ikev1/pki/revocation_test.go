package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// crlOf makes a CRL of an issuer, fresh at testNow.
func crlOf(tb testing.TB, issuer *entity, number int64, change func(*x509.RevocationList), revoked ...*entity) []byte {
	tb.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: testNow.Add(-time.Hour), NextUpdate: testNow.Add(24 * time.Hour)}
	for _, e := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: e.cert.SerialNumber, RevocationTime: testNow.Add(-2 * time.Hour), ReasonCode: 1})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, issuer.cert, issuer.key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// world is a CA with an intermediate and a peer, and CRLs that say that all is well.
type world struct {
	root, sub, peer *entity
	rootCRL, subCRL []byte
}

func newWorld(t *testing.T) world {
	root := issue(t, nil, "Root", authority, nil)
	sub := issue(t, root, "Sub CA", authority, nil)
	return world{root, sub, issue(t, sub, "client", client, nil), crlOf(t, root, 1, nil), crlOf(t, sub, 1, nil)}
}

func TestRevocationByCRL(t *testing.T) {
	w := newWorld(t)
	expired := func(l *x509.RevocationList) { l.NextUpdate = testNow.Add(-clockSkew - time.Second) }
	early := func(l *x509.RevocationList) { l.ThisUpdate = testNow.Add(clockSkew + time.Second) }
	namesake := issue(t, nil, "Sub CA", authority, nil)
	other := issue(t, w.sub, "other", client, nil)
	idp := func(p issuingDistributionPoint) func(*x509.RevocationList) {
		value, err := asn1.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: value}}
		}
	}
	for name, c := range map[string]struct {
		crls         [][]byte
		strict, soft Cause
		marked       bool // with soft
	}{
		"all good":                        {[][]byte{w.rootCRL, w.subCRL}, "", "", false},
		"in PEM":                          {[][]byte{pemOf("X509 CRL", w.rootCRL), w.subCRL}, "", "", false},
		"none":                            {nil, RevocationUnknown, "", true},
		"of the leaf only":                {[][]byte{w.subCRL}, RevocationUnknown, "", true},
		"of the intermediate only":        {[][]byte{w.rootCRL}, RevocationUnknown, "", true},
		"another one is revoked":          {[][]byte{w.rootCRL, crlOf(t, w.sub, 1, nil, other)}, "", "", false},
		"leaf revoked":                    {[][]byte{w.rootCRL, crlOf(t, w.sub, 1, nil, w.peer)}, Revoked, Revoked, false},
		"intermediate revoked":            {[][]byte{crlOf(t, w.root, 1, nil, w.sub), w.subCRL}, Revoked, Revoked, false},
		"expired":                         {[][]byte{w.rootCRL, crlOf(t, w.sub, 1, expired)}, RevocationUnknown, "", true},
		"expired, leaf revoked":           {[][]byte{w.rootCRL, crlOf(t, w.sub, 1, expired, w.peer)}, Revoked, Revoked, false},
		"from the future":                 {[][]byte{w.rootCRL, crlOf(t, w.sub, 1, early)}, RevocationUnknown, "", true},
		"newer one revokes":               {[][]byte{w.rootCRL, w.subCRL, crlOf(t, w.sub, 2, nil, w.peer)}, Revoked, Revoked, false},
		"older one comes later":           {[][]byte{w.rootCRL, crlOf(t, w.sub, 2, nil, w.peer), w.subCRL}, Revoked, Revoked, false},
		"older one revoked":               {[][]byte{w.rootCRL, crlOf(t, w.sub, 2, nil), crlOf(t, w.sub, 1, nil, w.peer)}, "", "", false},
		"CA of the same name":             {[][]byte{w.rootCRL, crlOf(t, namesake, 9, nil, w.peer)}, RevocationUnknown, "", true},
		"serial number of another issuer": {[][]byte{crlOf(t, w.root, 1, nil, w.peer), w.subCRL}, "", "", false},
		"for users, leaf revoked":         {[][]byte{w.rootCRL, crlOf(t, w.sub, 1, idp(issuingDistributionPoint{OnlyUser: true}), w.peer)}, Revoked, Revoked, false},
		"for CAs only":                    {[][]byte{w.rootCRL, crlOf(t, w.sub, 1, idp(issuingDistributionPoint{OnlyCA: true}))}, RevocationUnknown, "", true},
		"two scopes": {[][]byte{w.rootCRL, crlOf(t, w.sub, 1, idp(issuingDistributionPoint{OnlyUser: true})),
			crlOf(t, w.sub, 7, idp(issuingDistributionPoint{OnlyCA: true}))}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			for mode, want := range map[Mode]Cause{Strict: c.strict, Soft: c.soft, "": c.soft, Off: ""} {
				trust := newTrust(t, TrustConfig{Anchors: certs(w.root), Revocation: mode, CRLs: c.crls})
				peer, err := trust.Authenticate(t.Context(), claimOf(t, w.peer, w.sub))
				wantCause(t, err, want)
				if marked := c.marked && mode != Off && mode != Strict; peer.RevocationUnknown != marked {
					t.Errorf("%s: marked %t, want %t", mode, peer.RevocationUnknown, marked)
				}
			}
		})
	}
}

func TestRevocationErrorsTellWhich(t *testing.T) {
	w := newWorld(t)
	trust := newTrust(t, TrustConfig{Anchors: certs(w.root), Revocation: Strict, CRLs: [][]byte{crlOf(t, w.root, 1, nil, w.sub)}})
	_, err := trust.Authenticate(t.Context(), claimOf(t, w.peer, w.sub))
	wantCause(t, err, RevocationUnknown)
	if !strings.Contains(err.Error(), "CN=client") || !strings.Contains(err.Error(), "no CRL of CN=Sub CA") {
		t.Error(err)
	}
	if err := trust.AddCRL(w.subCRL); err != nil {
		t.Fatal(err)
	}
	_, err = trust.Authenticate(t.Context(), claimOf(t, w.peer, w.sub))
	wantCause(t, err, Revoked)
	if !strings.Contains(err.Error(), "CN=Sub CA") || !strings.Contains(err.Error(), "keyCompromise") {
		t.Error(err)
	}
	// a fault of another kind comes first
	claim := claimOf(t, w.peer, w.sub)
	claim.Hash = bytes.Repeat([]byte{1}, 32)
	_, err = trust.Authenticate(t.Context(), claim)
	wantCause(t, err, BadSignature)
}

func TestAddCRL(t *testing.T) {
	w := newWorld(t)
	trust := newTrust(t, TrustConfig{Anchors: certs(w.root), Intermediates: certs(w.sub)})
	forged := bytes.Clone(w.rootCRL)
	forged[len(forged)-1] ^= 1
	big := make([]byte, maxCRLOctets+1)
	copy(big, w.rootCRL)
	critical := func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
	}
	indirect, err := asn1.Marshal(issuingDistributionPoint{Indirect: true})
	if err != nil {
		t.Fatal(err)
	}
	// the same CA, in a certificate that does not let it sign CRLs
	twin := issue(t, nil, "Root", caWith(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), w.root.key)
	if err := newTrust(t, TrustConfig{Anchors: certs(twin)}).AddCRL(w.rootCRL); err == nil {
		t.Error("a CRL of a CA without the key usage: taken")
	}
	for name, crl := range map[string][]byte{
		"nothing": nil, "garbage": []byte("garbage"), "forged": forged, "cut": w.rootCRL[:len(w.rootCRL)-1], "trailing octet": append(bytes.Clone(w.rootCRL), 0),
		"too big": big, "delta": crlOf(t, w.root, 3, critical), "a certificate": w.root.cert.Raw,
		"indirect": crlOf(t, w.root, 3, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: indirect}}
		}),
		"CA of the same name": crlOf(t, issue(t, nil, "Root", authority, nil), 3, nil),
	} {
		if err := trust.AddCRL(crl); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if got := trust.CRLs(); len(got) != 0 {
		t.Errorf("CRLs %+v", got)
	}
	for _, crl := range [][]byte{w.rootCRL, w.subCRL, crlOf(t, w.sub, 7, nil, w.peer), crlOf(t, issue(t, nil, "Stranger", authority, nil), 3, nil)} {
		if err := trust.AddCRL(crl); err != nil {
			t.Error(err)
		}
	}
	var got []string
	for _, i := range trust.CRLs() {
		got = append(got, fmt.Sprint(i.Issuer, " ", i.Number, " ", i.Entries, " ", i.Verified))
	}
	want := []string{"CN=Root,O=Example 1 0 true", "CN=Stranger,O=Example 3 0 false", "CN=Sub CA,O=Example 7 1 true"}
	if !slices.Equal(got, want) {
		t.Errorf("CRLs %q, want %q", got, want)
	}
	for range 3 * maxLists { // lists that nobody knows do not grow, and do not displace those in use
		if err := trust.AddCRL(crlOf(t, issue(t, nil, fmt.Sprint("Stranger ", rand.Text()), authority, w.root.key), 3, nil)); err != nil {
			t.Fatal(err)
		}
	}
	verified := 0
	for _, i := range trust.CRLs() {
		if i.Verified {
			verified++
		}
	}
	if n := len(trust.CRLs()); n != maxWaiting+2 || verified != 2 {
		t.Errorf("%d CRLs, %d verified", n, verified)
	}
}

func TestRevocationConfig(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	fetch := (&web{}).fetch
	for name, config := range map[string]TrustConfig{
		"mode":        {Revocation: "lax"},
		"no fetch":    {CRLURLs: []string{"http://crl.example.com"}},
		"no fetch 2":  {CertificateURLs: true},
		"file URL":    {CRLURLs: []string{"file:///crl"}, Fetch: fetch},
		"no host":     {OCSPURLs: []string{"http:///x"}, Fetch: fetch},
		"bad URL":     {OCSPURLs: []string{"http://[::1"}, Fetch: fetch},
		"garbage CRL": {CRLs: [][]byte{{1}}},
	} {
		config.Anchors = certs(root)
		if trust, err := NewTrust(config); err == nil || trust != nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, m := range []Mode{Strict, Soft, Off} {
		if got, err := ParseMode(string(m)); got != m || err != nil {
			t.Errorf("mode %s is read as %s, %v", m, got, err)
		}
	}
	for cause := range maps.Keys(hints) {
		if strings.Contains(string(cause), " ") || cause.Hint() == "" {
			t.Errorf("cause %q", cause)
		}
	}
}
