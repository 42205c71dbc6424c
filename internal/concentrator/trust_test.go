package concentrator

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// testCA issues the certificates of a server and a client, and says what was revoked.
type testCA struct {
	t       *testing.T
	dir     string
	key     *ecdsa.PrivateKey
	cert    *x509.Certificate
	number  int64
	revoked map[int64]bool
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	ca := &testCA{t: t, dir: t.TempDir(), revoked: map[int64]bool{}}
	ca.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	ca.cert = ca.sign(template, template, &ca.key.PublicKey)
	ca.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
	server, key := ca.issue(2, "vpn.example.com")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca.write("server.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Raw}))
	ca.write("server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	ca.writeCRL()
	return ca
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *testCA) sign(template, parent *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	ca.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert
}

func (ca *testCA) issue(serial int64, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key := newKey(ca.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(999 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	return ca.sign(template, ca.cert, &key.PublicKey), key
}

func (ca *testCA) write(name string, data []byte) {
	ca.t.Helper()
	if err := os.WriteFile(filepath.Join(ca.dir, name), data, 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

func (ca *testCA) crl() []byte {
	ca.t.Helper()
	ca.number++
	template := &x509.RevocationList{Number: big.NewInt(ca.number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for serial := range ca.revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: time.Now().Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.cert, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return der
}

func (ca *testCA) writeCRL() { ca.write("ca.crl", ca.crl()) }

// serve answers as responder and with the CRL.
func (ca *testCA) serve() *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if r.Method == http.MethodGet {
			_, _ = w.Write(ca.crl())
			return
		}
		question, err2 := ocsp.ParseRequest(body)
		if err := errors.Join(err, err2); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := ocsp.Response{Status: ocsp.Good, SerialNumber: question.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
		if ca.revoked[question.SerialNumber.Int64()] {
			answer.Status, answer.RevokedAt = ocsp.Revoked, answer.ThisUpdate
		}
		der, err := ocsp.CreateResponse(ca.cert, ca.cert, answer, ca.key)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(der)
	}))
	ca.t.Cleanup(server.Close)
	return server
}

// settings reads a configuration that has the server's certificate and these lines.
func (ca *testCA) settings(lines string) settings {
	ca.t.Helper()
	path := filepath.Join(ca.dir, "config.yaml")
	ca.write("config.yaml", []byte("ike:\n  certificates: [{certificate: server.pem, key: server.key}]\n  authorities: ca.pem\n"+lines+"pool: 10.0.0.0/24\nusers: [{name: a, password: b}]\n"))
	cfg, err := config.Load(path)
	if err != nil {
		ca.t.Fatal(err)
	}
	s, err := newSettings(cfg, zap.NewNop())
	if err != nil {
		ca.t.Fatal(err)
	}
	return s
}

// claim is what a client says that has this certificate.
func (ca *testCA) claim(cert *x509.Certificate, key *ecdsa.PrivateKey) pki.Claim {
	ca.t.Helper()
	credential, err := pki.NewCredential([]*x509.Certificate{cert}, key)
	if err != nil {
		ca.t.Fatal(err)
	}
	hash := sha256.Sum256([]byte("HASH_I"))
	signature, err := credential.Sign(rand.Reader, hash[:])
	if err != nil {
		ca.t.Fatal(err)
	}
	const derDN = 9
	return pki.Claim{Now: time.Now(), Method: credential.Method(), Chain: credential.Chain(), IdentityType: derDN, Identity: credential.Subject(), Hash: hash[:], Signature: signature}
}

func TestPeersByCertificate(t *testing.T) {
	ca := newTestCA(t)
	web := ca.serve()
	closed := httptest.NewServer(nil)
	closed.Close()
	good, goodKey := ca.issue(3, "alice.vpn.example.com")
	bad, badKey := ca.issue(4, "bob.vpn.example.com")
	ca.revoked[4] = true
	ca.writeCRL()
	for name, test := range map[string]struct {
		lines     string
		good, bad pki.Cause // empty: let in
		unknown   bool      // the good one is let in although nothing is known
	}{
		"CRL file":            {"  revocation: strict\n  crls: ca.crl\n", "", pki.Revoked, false},
		"CRL by HTTP":         {"  revocation: strict\n  crls: \"" + web.URL + "\"\n", "", pki.Revoked, false},
		"OCSP":                {"  revocation: strict\n  ocsp: \"" + web.URL + "\"\n", "", pki.Revoked, false},
		"soft":                {"  ocsp: \"" + web.URL + "\"\n", "", pki.Revoked, false},
		"soft, nobody home":   {"  ocsp: \"" + closed.URL + "\"\n", "", "", true},
		"strict, not at home": {"  revocation: strict\n  ocsp: \"" + closed.URL + "\"\n", pki.RevocationUnknown, pki.RevocationUnknown, false},
		"soft, nobody":        {"", "", "", true},
		"strict, nobody":      {"  revocation: strict\n", pki.RevocationUnknown, pki.RevocationUnknown, false},
		"off":                 {"  revocation: \"off\"\n  crls: ca.crl\n", "", "", false},
		"allow DN":            {"  revocation: off\n  allow: [\"CN=alice*, O=Example\", \"CN=x\"]\n", "", pki.UnknownIdentity, false},
		"allow DNS name":      {"  revocation: off\n  allow: \"bob.*.example.com\"\n", pki.UnknownIdentity, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := ca.settings(test.lines)
			if s.revocation != nil {
				s.revocation.Load(t.Context())
			}
			for _, who := range []struct {
				name  string
				claim pki.Claim
				want  pki.Cause
			}{{"alice", ca.claim(good, goodKey), test.good}, {"bob", ca.claim(bad, badKey), test.bad}} {
				peer, err := s.ike.Trust.Authenticate(t.Context(), who.claim)
				var refused *pki.Error
				if errors.As(err, &refused) != (who.want != "") || refused != nil && refused.Cause != who.want {
					t.Errorf("%s: %v, want %q", who.name, err, who.want)
				}
				if err == nil && peer.RevocationUnknown != test.unknown {
					t.Errorf("%s: unknown %v", who.name, peer.RevocationUnknown)
				}
			}
		})
	}
}

func TestChangedCRL(t *testing.T) {
	ca := newTestCA(t)
	cert, key := ca.issue(3, "alice.vpn.example.com")
	s := ca.settings("  revocation: strict\n  crls: ca.crl\n")
	s.revocation.Load(t.Context())
	if _, err := s.ike.Trust.Authenticate(t.Context(), ca.claim(cert, key)); err != nil {
		t.Fatal(err)
	}
	ca.revoked[3] = true
	ca.writeCRL()
	s.revocation.Load(t.Context())
	var refused *pki.Error
	if _, err := s.ike.Trust.Authenticate(t.Context(), ca.claim(cert, key)); !errors.As(err, &refused) || refused.Cause != pki.Revoked {
		t.Errorf("%v", err)
	}
}

func TestDescribeCertificates(t *testing.T) {
	ca := newTestCA(t)
	ca.settings("  allow: [CN=a,O=b]\n") // writes the file
	cfg, err := config.Load(filepath.Join(ca.dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := Describe(cfg)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(999 * time.Hour).UTC().Format("2006-01-02")
	if want := fmt.Sprintf("authentication: certificate ecdsa256 CN=vpn.example.com,O=Example until %s; clients of \"CN=test CA\"; allowed \"CN=a\" \"O=b\"; revocation soft", until); lines[1] != want {
		t.Errorf("\ngot  %s\nwant %s", lines[1], want)
	}
	key, err := os.ReadFile(filepath.Join(ca.dir, "server.key"))
	if err != nil || bytes.Contains([]byte(strings.Join(lines, "\n")), key[28:60]) {
		t.Errorf("shows the key, or %v", err)
	}
}
