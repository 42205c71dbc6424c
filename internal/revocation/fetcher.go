package revocation

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
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
	// Install takes a CRL in DER. It has to verify it; an error says why it is not taken.
	Install func(der []byte) error
	Log     *zap.Logger
}

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

// CRL fetches the CRL that a certificate names by an http or https URL: one in DER.
func (f *Fetcher) CRL(ctx context.Context, location string) ([]byte, error) {
	return f.shared(ctx, location, location, crlTimeout, func(ctx context.Context) ([]byte, error) {
		d, err := f.client.get(ctx, location, version{}, MaxCRL)
		if err != nil {
			return nil, err
		}
		lists, err := DecodeCRLs(d.body) // some put PEM there
		if err != nil {
			return nil, fmt.Errorf("reading the CRL of %q: %w", location, err)
		}
		return lists[0].Raw, nil
	})
}

// OCSP posts a question (RFC 6960, DER) to a responder and returns its answer.
func (f *Fetcher) OCSP(ctx context.Context, location string, question []byte) ([]byte, error) {
	return f.shared(ctx, location, location+"\x00"+string(question), ocspTimeout, func(ctx context.Context) ([]byte, error) {
		return f.client.ask(ctx, location, question)
	})
}

// shared does what several callers may ask for at the same time once, and does not try a URL that failed a short while ago. It goes
// on when the caller that was first gives up.
func (f *Fetcher) shared(ctx context.Context, location, key string, limit time.Duration, do func(context.Context) ([]byte, error)) ([]byte, error) {
	if err := usable(location); err != nil {
		return nil, err
	}
	if err := f.held.check(time.Now(), location); err != nil {
		return nil, err
	}
	result := f.same.DoChan(key, func() (any, error) {
		if !f.waiting.TryAcquire(1) {
			return nil, fmt.Errorf("fetching from %q: %d requests wait already", location, maxWaiting)
		}
		defer f.waiting.Release(1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		if err := f.running.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("waiting for other requests: %w", err)
		}
		defer f.running.Release(1)
		if err := f.held.check(time.Now(), location); err != nil {
			return nil, err // failed while this one waited
		}
		answer, err := do(ctx)
		if err == nil {
			f.held.answered(location)
			return answer, nil
		}
		if hold, news := f.held.failed(time.Now(), location); news {
			f.log.Warn("revocation: URL of a certificate or OCSP responder not usable", zap.Error(err), zap.Duration("hold", hold))
		}
		return nil, err
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.([]byte), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("fetching from %q: %w", location, context.Cause(ctx))
	}
}
