package pki

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
)

// RequestKind is what a [Request] asks for.
type RequestKind string

// The kinds.
const (
	FetchCRL  RequestKind = "crl"  // GET; the answer is a CRL in DER or PEM
	FetchOCSP RequestKind = "ocsp" // POST of application/ocsp-request; the answer is an OCSP response
)

// Request is what [TrustConfig].Fetch is asked for. Redirects should not be followed for a URL that a certificate names, nor should such
// a URL reach hosts that only this one can reach.
type Request struct {
	Kind RequestKind
	// URL has the scheme http or https.
	URL string
	// Body is what to post; nil with FetchCRL.
	Body []byte
	// MaxOctets is how much of an answer is read at most; a longer one is an error.
	MaxOctets int
	// FromCertificate tells that a certificate names the URL, and not the configuration.
	FromCertificate bool
}

// Limits of fetching.
const (
	maxRequests  = 8 // of one Authenticate
	maxNamedURLs = 3 // of one kind in one certificate
	maxURLOctets = 1024
	maxFetches   = 1024 // remembered
	maxStapled   = maxCertificates

	// A source that failed is left alone for retryAfter; one that answered, but not about the certificate, for repeatAfter.
	retryAfter  = time.Minute
	repeatAfter = 10 * time.Minute
)

func checkURL(s string) error {
	if len(s) > maxURLOctets {
		return fmt.Errorf("URL of %d octets, at most %d are taken", len(s), maxURLOctets)
	}
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("URL %s: http and https can be fetched", printable(s))
	}
	return nil
}

// ask asks a source about a certificate, and takes the answer into the stores.
func (r *revocationCheck) ask(ctx context.Context, from source, cert, issuer *x509.Certificate) error {
	request := Request{Kind: from.kind, URL: from.url, MaxOctets: maxCRLOctets, FromCertificate: from.fromCertificate}
	if from.kind == FetchOCSP {
		body, err := ocsp.CreateRequest(cert, issuer, nil)
		if err != nil {
			return fmt.Errorf("OCSP request: %w", err)
		}
		request.Body, request.MaxOctets = body, maxOCSPOctets
	}
	t := r.trust
	asker := ""
	if from.fromCertificate { // what one CA names must not get in the way of another
		asker = string(issuer.RawSubjectPublicKeyInfo)
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s %q %x %x", request.Kind, request.URL, request.Body, asker))
	return t.fetches.once(ctx, key, r.now, func() error {
		r.budget--
		answer, err := t.fetch(ctx, request)
		if err != nil {
			return err
		}
		if len(answer) > request.MaxOctets {
			return fmt.Errorf("answer of %d octets, at most %d are read", len(answer), request.MaxOctets)
		}
		if from.kind == FetchOCSP {
			return t.addResponse(answer, cert, issuer, r.now)
		}
		return t.lists.add(answer, append(slices.Clone(t.cas), issuer), !from.fromCertificate)
	})
}

// fetches remembers which sources are being asked, so that a thousand peers who come at once ask once, and which not to ask for now.
type fetches struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]*fetched
}

type fetched struct {
	done  chan struct{} // closed when err and until stand
	err   error
	until time.Time // leave it alone until then
}

// once runs do, unless another caller does already, whose end it waits for, or did a short time ago.
func (f *fetches) once(ctx context.Context, key [sha256.Size]byte, now time.Time, do func() error) error {
	for {
		f.mu.Lock()
		earlier := f.all[key]
		if earlier == nil || earlier.ended() && (!now.Before(earlier.until) || earlier.until.Sub(now) > repeatAfter) {
			mine := &fetched{done: make(chan struct{}), err: errors.New("the request was given up"), until: now}
			f.makeRoom(now)
			f.all[key] = mine
			f.mu.Unlock()
			mine.run(ctx, now, do)
			return mine.err
		}
		f.mu.Unlock()
		select {
		case <-earlier.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if now.Before(earlier.until) {
			return earlier.err
		}
	}
}

// run runs do; whoever waits goes on even if do panics.
func (f *fetched) run(ctx context.Context, now time.Time, do func() error) {
	defer close(f.done)
	f.err = do()
	switch {
	case f.err == nil:
		f.until = now.Add(repeatAfter)
	case ctx.Err() == nil: // what one caller gave up, the next may try
		f.until = now.Add(retryAfter)
	}
}

func (f *fetched) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// makeRoom forgets what is over, and if that is not enough a part of what is not under way: a part, so that the next ones have room.
func (f *fetches) makeRoom(now time.Time) {
	if len(f.all) < maxFetches {
		return
	}
	for key, e := range f.all {
		if e.ended() && !now.Before(e.until) {
			delete(f.all, key)
		}
	}
	for key, e := range f.all {
		if len(f.all) <= maxFetches*3/4 {
			return
		}
		if e.ended() {
			delete(f.all, key)
		}
	}
}
