package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// web answers requests, and counts them.
type web struct {
	sync.Mutex
	answers map[string][]byte // by kind and URL
	asked   []Request
}

func (w *web) fetch(_ context.Context, r Request) ([]byte, error) {
	w.Lock()
	defer w.Unlock()
	w.asked = append(w.asked, r)
	if answer, ok := w.answers[string(r.Kind)+" "+r.URL]; ok {
		return answer, nil
	}
	return nil, errors.New("404")
}

func (w *web) urls() []string {
	w.Lock()
	defer w.Unlock()
	var out []string
	for _, r := range w.asked {
		out = append(out, r.URL)
	}
	return out
}

// TestFetchURLs tells which URLs are asked, in which order, and when.
func TestFetchURLs(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	peer := issue(t, root, "client", clientWith(func(c *x509.Certificate) {
		c.CRLDistributionPoints = []string{"ldap://ldap.example.com/crl", "file:///etc/passwd", "http://named.example.com/crl", "http://" + strings.Repeat("x", 2000)}
		c.OCSPServer = []string{"http://named.example.com/ocsp", "gopher://x"}
	}), nil)
	config := TrustConfig{
		Anchors: certs(root), Revocation: Strict, CRLURLs: []string{"http://crl.example.com"}, OCSPURLs: []string{"https://ocsp.example.com"},
	}
	all := []string{"http://crl.example.com", "https://ocsp.example.com", "http://named.example.com/crl", "http://named.example.com/ocsp"}
	crl := crlOf(t, root, 1, nil)
	for name, c := range map[string]struct {
		named   bool
		answers map[string][]byte
		change  func(*Claim)
		want    Cause
		asked   []string
	}{
		"nobody answers":            {false, nil, nil, RevocationUnknown, all[:2]},
		"nobody named answers":      {true, nil, nil, RevocationUnknown, all},
		"the first answers":         {true, map[string][]byte{"crl " + all[0]: crl}, nil, "", all[:1]},
		"the second answers":        {true, map[string][]byte{"ocsp " + all[1]: ocspOf(t, root, nil, peer, nil)}, nil, "", all[:2]},
		"the third answers":         {true, map[string][]byte{"crl " + all[2]: pemOf("X509 CRL", crl)}, nil, "", all[:3]},
		"the third lies":            {true, map[string][]byte{"crl " + all[2]: crlOf(t, issue(t, nil, "Stranger", authority, nil), 1, nil)}, nil, RevocationUnknown, all},
		"the fourth answers":        {true, map[string][]byte{"ocsp " + all[3]: ocspOf(t, root, nil, peer, ocspRevoked)}, nil, Revoked, all},
		"without the key":           {true, nil, func(c *Claim) { c.Signature[5]++ }, BadSignature, nil},
		"with a wrong identity":     {true, nil, func(c *Claim) { c.Identity = root.cert.RawSubject }, UnknownIdentity, nil},
		"when it has expired":       {true, nil, func(c *Claim) { c.Now = testNow.Add(1000 * time.Hour) }, Expired, nil},
		"with a stapled response":   {true, nil, func(c *Claim) { c.OCSP = [][]byte{ocspOf(t, root, nil, peer, nil)} }, "", nil},
		"answer longer than wanted": {false, map[string][]byte{"crl " + all[0]: make([]byte, maxCRLOctets+1)}, nil, RevocationUnknown, all[:2]},
	} {
		t.Run(name, func(t *testing.T) {
			w := &web{answers: c.answers}
			config := config
			config.CertificateURLs, config.Fetch = c.named, w.fetch
			claim := claimOf(t, peer)
			if c.change != nil {
				c.change(&claim)
			}
			_, err := newTrust(t, config).Authenticate(t.Context(), claim)
			wantCause(t, err, c.want)
			if err != nil && (strings.Contains(err.Error(), "\n") || c.want == RevocationUnknown && !strings.Contains(err.Error(), all[len(c.asked)-1])) {
				t.Errorf("error %q: one line, with all that were asked, is wanted", err)
			}
			if got := w.urls(); !slices.Equal(got, c.asked) {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
			for i, r := range w.asked {
				if r.FromCertificate != (i >= 2) {
					t.Errorf("%s: from certificate %t", r.URL, r.FromCertificate)
				}
			}
		})
	}
	// a stranger's certificate never makes us ask
	w := &web{}
	config.CertificateURLs, config.Fetch = true, w.fetch
	foreign := issue(t, nil, "Foreign", caWith(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://evil.example.com"} }), nil)
	stranger := issue(t, foreign, "client", clientWith(func(c *x509.Certificate) { c.OCSPServer = []string{"http://evil.example.com"} }), nil)
	_, err := newTrust(t, config).Authenticate(t.Context(), claimOf(t, stranger, foreign))
	wantCause(t, err, Untrusted)
	if len(w.asked) != 0 {
		t.Errorf("asked %q", w.urls())
	}
}

func TestFetchIsRemembered(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	first, second := issue(t, root, "first", client, nil), issue(t, root, "second", client, nil)
	const crlURL, ocspURL = "http://crl.example.com", "http://ocsp.example.com"
	w := &web{answers: map[string][]byte{"crl " + crlURL: crlOf(t, root, 1, nil)}}
	trust := newTrust(t, TrustConfig{Anchors: certs(root), Revocation: Strict, CRLURLs: []string{crlURL}, OCSPURLs: []string{ocspURL}, Fetch: w.fetch})
	at := func(e *entity, after time.Duration, want Cause, asked int) {
		t.Helper()
		claim := claimOf(t, e)
		claim.Now = testNow.Add(after)
		_, err := trust.Authenticate(t.Context(), claim)
		wantCause(t, err, want)
		if len(w.asked) != asked {
			t.Errorf("after %s: asked %q, want %d", after, w.urls(), asked)
		}
	}
	at(first, 0, "", 1)
	at(second, time.Hour, "", 1)
	at(second, 23*time.Hour, "", 1)
	w.answers = nil
	at(first, 25*time.Hour, RevocationUnknown, 3) // the CRL has expired; both are asked in vain
	at(first, 25*time.Hour+retryAfter/2, RevocationUnknown, 3)
	at(second, 25*time.Hour+retryAfter/2, RevocationUnknown, 4) // OCSP is about one certificate
	at(first, 25*time.Hour+retryAfter, RevocationUnknown, 6)
	later := func(l *x509.RevocationList) { l.NextUpdate = testNow.Add(48 * time.Hour) }
	w.answers = map[string][]byte{"crl " + crlURL: crlOf(t, root, 2, later, second)}
	at(first, 26*time.Hour, "", 7)
	at(second, 26*time.Hour, Revoked, 7)
	at(second, 27*time.Hour, Revoked, 7)
}

// TestFetchTakesTooLong: what nobody has said in time is unknown, and what is known counts.
func TestFetchTakesTooLong(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	peer := issue(t, root, "client", client, nil)
	for mode, want := range map[Mode]Cause{Strict: RevocationUnknown, Soft: ""} {
		t.Run(string(mode), func(t *testing.T) {
			hang := func(ctx context.Context, _ Request) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			trust := newTrust(t, TrustConfig{Anchors: certs(root), Revocation: mode, OCSPURLs: []string{"http://a", "http://b"}, Fetch: hang})
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				got, err := trust.Authenticate(ctx, claimOf(t, peer))
				wantCause(t, err, want)
				if err == nil && !got.RevocationUnknown {
					t.Error("it is said to be known")
				}
				if err != nil && !strings.Contains(err.Error(), "no time") {
					t.Errorf("error %v", err)
				}
				if err := trust.AddCRL(crlOf(t, root, 1, nil, peer)); err != nil {
					t.Fatal(err)
				}
				_, err = trust.Authenticate(ctx, claimOf(t, peer))
				wantCause(t, err, Revoked)
			})
		})
	}
}

// TestFetchOnceForMany lets many peers come while the only request is under way.
func TestFetchOnceForMany(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	crl := crlOf(t, root, 1, nil)
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		release := make(chan struct{})
		trust := newTrust(t, TrustConfig{Anchors: certs(root), Revocation: Strict, CRLURLs: []string{"http://crl.example.com"},
			Fetch: func(ctx context.Context, _ Request) ([]byte, error) {
				asked++
				select {
				case <-release:
					return crl, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}})
		claim := claimOf(t, issue(t, root, "client", client, nil))
		// the first gives up; one of those who wait asks again
		impatient, giveUp := context.WithCancel(t.Context())
		go func() {
			if _, err := trust.Authenticate(impatient, claim); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v of the one who gave up", err)
			}
		}()
		synctest.Wait()
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				_, err := trust.Authenticate(t.Context(), claim)
				wantCause(t, err, "")
			})
		}
		synctest.Wait()
		giveUp()
		synctest.Wait()
		close(release)
		wait.Wait()
		if asked != 2 {
			t.Errorf("asked %d times, want 2", asked)
		}
	})
}

// TestFetchPanic lets a fetch panic: whoever waits must not wait for ever.
func TestFetchPanic(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	trust := newTrust(t, TrustConfig{Anchors: certs(root), CRLURLs: []string{"http://crl.example.com"},
		Fetch: func(context.Context, Request) ([]byte, error) { panic("fetch") }})
	claim := claimOf(t, issue(t, root, "client", client, nil))
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _ = trust.Authenticate(t.Context(), claim)
		}()
	}
}

func TestStoresAreBounded(t *testing.T) {
	var s responses
	s.all = map[responseKey]responseEntry{}
	f := fetches{all: map[[32]byte]*fetched{}}
	for i := range 3 * maxResponses {
		var key [32]byte
		key[0], key[1] = byte(i), byte(i>>8)
		s.insert(key, responseEntry{status: good, until: testNow}, testNow)
		_ = f.once(t.Context(), key, testNow, func() error { return nil })
	}
	if len(s.all) > maxResponses || len(f.all) > maxFetches {
		t.Errorf("%d responses, %d fetches", len(s.all), len(f.all))
	}
}
