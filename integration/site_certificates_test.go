//go:build integration

package integration

import (
	"crypto/x509"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/integration/site"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// wordy makes a certificate so long that no packet holds it.
func wordy(c *x509.Certificate) {
	for i := range 60 {
		c.DNSNames = append(c.DNSNames, fmt.Sprintf("a-long-name-number-%d.of-%s", i, c.Subject.CommonName))
	}
}

func (f *fixture) read(path string) []byte {
	f.t.Helper()
	content, err := os.ReadFile(path)
	f.must(err)
	return content
}

func (f *fixture) rule(text string) pki.Rule {
	f.t.Helper()
	rule, err := pki.ParseRule(text)
	f.must(err)
	return rule
}

// TestSiteCertificates calls peers that have certificates of an authority below the root, as the site itself has: one for each kind of key,
// those with RSA so long that both ends send fragments, one that is revoked, one that is somebody else, and one that does not know the
// site's authority.
func TestSiteCertificates(t *testing.T) {
	s := newSites(t)
	cfg := ikev1.Config{HalfOpenTimeout: 10 * time.Second}
	trust := pki.TrustConfig{Revocation: pki.Strict}
	methods := []pki.Method{pki.RSASignature, pki.ECDSA256, pki.ECDSA384, pki.ECDSA521}
	var peers []*peer
	var revoked *peer
	for i, kind := range []lab.KeyKind{"rsa2048", "ecdsa256", "ecdsa384", "ecdsa521"} {
		h := s.hierarchy(kind)
		var adjust func(*x509.Certificate)
		if methods[i] == pki.RSASignature {
			adjust = wordy
		}
		own, err := h.below.Identity("site.example.com", kind, adjust)
		s.must(err)
		credential, err := pki.ParseCredential(s.read(own.Certificate), s.read(own.Key))
		s.must(err)
		cfg.Credentials = append(cfg.Credentials, credential)
		anchors, err := pki.ParseCertificates(s.read(h.root.File))
		s.must(err)
		trust.Anchors = append(trust.Anchors, anchors...)

		id, err := h.below.Identity(string(kind)+".example.com", kind, adjust)
		s.must(err)
		peers = append(peers, s.peer(string(kind), lab.ClientOptions{Identity: id, Roots: []string{h.root.File}}))
		var bad []*lab.Identity
		if kind == "ecdsa256" {
			id, err := h.below.Identity("revoked.example.com", kind, nil)
			s.must(err)
			bad = append(bad, id)
			revoked = s.peer("revoked", lab.ClientOptions{Identity: id, Roots: []string{h.root.File}})
		}
		for _, list := range []struct {
			authority *lab.Authority
			revoked   []*lab.Identity
		}{{h.below, bad}, {h.root, nil}} {
			path, err := list.authority.Revoke(list.revoked...)
			s.must(err)
			trust.CRLs = append(trust.CRLs, s.read(path))
		}
	}
	foreign, err := s.Authority("foreign", "ecdsa256")
	s.must(err)
	id, err := foreign.Identity("stranger.example.com", "ecdsa256", nil)
	s.must(err)
	stranger := s.peer("stranger", lab.ClientOptions{Identity: id, Roots: []string{foreign.File}})

	cfg.Trust, err = pki.NewTrust(trust)
	s.must(err)
	s.openPublic(cfg)
	s.start(append(peers, revoked, stranger)...)
	for i, p := range peers {
		mark := s.Mark()
		id, _ := s.connect(p, ikev1.Connection{Method: methods[i], Allow: []pki.Rule{s.rule("CN=" + p.Name + ".example.com")}})
		up := site.All[ikev1.Phase1Established](s.Site, mark)
		if len(up) != 1 || up[0].Method != methods[i] {
			t.Errorf("%s: %v", p.Name, up)
		}
		s.lost(s.stream(p), 0)
		s.Disconnect(id)
		s.clean(p)
	}
	s.must(peers[0].CharonSays(s.ctx, 0, "splitting IKE message"))
	s.must(peers[0].CharonSays(s.ctx, 0, "received fragment #2"))

	mark := s.Mark()
	want := map[ikev1.ConnectionID]ikev1.Cause{
		s.begin(revoked, ikev1.Connection{Method: pki.ECDSA256}):                                                     ikev1.CauseCertificateRevoked,
		s.begin(peers[2], ikev1.Connection{Method: methods[2], Allow: []pki.Rule{s.rule("CN=revoked.example.com")}}): ikev1.CauseUnknownIdentity,
		s.begin(stranger, ikev1.Connection{Method: pki.ECDSA256}):                                                    ikev1.CauseProofRefused,
	}
	_, err = site.Await[ikev1.Phase1Failed](s.ctx, s.Site, mark, 3, time.Minute)
	s.must(err)
	for _, e := range site.All[ikev1.Phase1Failed](s.Site, mark) {
		t.Log(e)
		if e.Code != want[e.Connection] {
			t.Errorf("connection %d failed because of %s, want %s", e.Connection, e.Code, want[e.Connection])
		}
	}
}
