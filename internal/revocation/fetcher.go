package revocation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// Limits of requests on behalf of peers: those that run at a time, and those that run or wait.
const (
	maxConcurrent = 16
	maxWaiting    = 1024
)

// Config says what a Fetcher keeps fresh, and for whom.
type Config struct {
	// CRLs are absolute paths of files, and http or https URLs.
	CRLs []string
	// Install takes a CRL in DER, as pki.Trust.AddCRL does. It has to verify it; an error says why it is not taken.
	Install func(der []byte) error
	Log     *zap.Logger
}

// IsURL tells a URL from the path of a file.
func IsURL(location string) bool { return strings.Contains(location, "://") }

// Fetcher fetches CRLs and answers of OCSP responders. Its methods are safe for concurrent use, Run once.
type Fetcher struct {
	client  *client
	install func([]byte) error
	log     *zap.Logger
	sources []*source
	pace    pace
	held    holdoff
	waiting *semaphore.Weighted
	running *semaphore.Weighted
	same    singleflight.Group // requests that several peers wait for
}

// New returns a Fetcher. Nothing is fetched yet.
func New(c Config) *Fetcher {
	f := &Fetcher{
		client: newClient(), install: c.Install, log: c.Log, pace: defaultPace,
		held: holdoff{urls: map[string]held{}}, waiting: semaphore.NewWeighted(maxWaiting), running: semaphore.NewWeighted(maxConcurrent),
	}
	for _, location := range c.CRLs {
		f.sources = append(f.sources, &source{location: location})
	}
	return f
}

// Fetch gets what a request asks for, in 4 seconds at most: it is what pki.TrustConfig wants as Fetch. What several callers ask for at
// the same time is asked once, and goes on when the first of them gives up. A URL that failed is left alone for 5 seconds to 5 minutes,
// the longer the more often it failed.
func (f *Fetcher) Fetch(ctx context.Context, r pki.Request) ([]byte, error) {
	if err := usable(r.URL); err != nil {
		return nil, err
	}
	if err := f.held.check(time.Now(), r.URL); err != nil {
		return nil, err
	}
	key := fmt.Sprintf("%s %t %d %q %x", r.Kind, r.FromCertificate, r.MaxOctets, r.URL, r.Body)
	result := f.same.DoChan(key, func() (any, error) {
		if !f.waiting.TryAcquire(1) {
			return nil, fmt.Errorf("fetching from %q: %d requests wait already", r.URL, maxWaiting)
		}
		defer f.waiting.Release(1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), peerTimeout)
		defer cancel()
		if err := f.running.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("waiting for other requests: %w", err)
		}
		defer f.running.Release(1)
		if err := f.held.check(time.Now(), r.URL); err != nil {
			return nil, err // failed while this one waited
		}
		answer, err := f.client.do(ctx, r)
		if err == nil {
			f.held.answered(r.URL)
			return answer, nil
		}
		if hold, news := f.held.failed(time.Now(), r.URL); news {
			f.log.Warn("revocation: URL of a certificate or OCSP responder not usable", zap.Error(err), zap.Duration("hold", hold))
		}
		return nil, err
	})
	select {
	case answer := <-result:
		if answer.Err != nil {
			return nil, answer.Err
		}
		octets, _ := answer.Val.([]byte)
		return octets, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("fetching from %q: %w", r.URL, context.Cause(ctx))
	}
}
