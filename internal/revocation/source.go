package revocation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
)

// pace says how often sources are looked at.
type pace struct {
	files      time.Duration // between looks at a file
	refresh    time.Duration // longest time between fetches of a URL
	firstRetry time.Duration // after a failure; doubles up to refresh
	complain   time.Duration // between warnings about the same source
}

var defaultPace = pace{files: 15 * time.Second, refresh: time.Hour, firstRetry: 30 * time.Second, complain: time.Hour}

// source is a configured CRL.
type source struct {
	location   string
	known      version   // of a URL
	stamp      fileStamp // of a file, as it was last installed
	nextUpdate time.Time // when the CRL says that there will be another; zero if it does not
	failures   int
	complained time.Time
	next       time.Time // when to look again
}

// fileStamp changes with a file.
type fileStamp struct {
	modified time.Time
	size     int64
}

func (s *source) isURL() bool { return IsURL(s.location) }

// Load reads the files among the sources once, so that they count before the first peer comes.
func (f *Fetcher) Load(ctx context.Context) {
	for _, s := range f.sources {
		if !s.isURL() {
			f.look(ctx, s, time.Now())
		}
	}
}

// Run keeps the CRLs fresh until ctx ends, and then returns nil: files are read again when they change; URLs are asked when the CRL
// is due, but at least every hour, and after failures at growing intervals.
func (f *Fetcher) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait := f.pace.refresh
		for _, s := range f.sources {
			if now := time.Now(); !now.Before(s.next) && ctx.Err() == nil {
				f.look(ctx, s, now)
			}
			wait = min(wait, max(time.Until(s.next), time.Millisecond))
		}
		timer.Reset(wait)
	}
}

// look brings one source up to date, and plans the next look.
func (f *Fetcher) look(ctx context.Context, s *source, now time.Time) {
	err := f.update(ctx, s)
	if ctx.Err() != nil {
		return
	}
	if err == nil && !s.nextUpdate.IsZero() && now.After(s.nextUpdate) {
		err = fmt.Errorf("there is only the CRL that was to be replaced by %s", s.nextUpdate.UTC().Format(time.RFC3339))
	}
	s.next = now.Add(f.wait(s, now, err))
	if err == nil {
		if s.failures > 0 {
			f.log.Info("revocation: CRL is usable again", zap.String("crl", s.location), zap.Int("failures", s.failures))
		}
		s.failures, s.complained = 0, time.Time{}
		return
	}
	s.failures++
	if s.complained.IsZero() || now.Sub(s.complained) >= f.pace.complain {
		s.complained = now
		f.log.Warn("revocation: CRL not usable; what is known of it so far stays in use", zap.String("crl", s.location), zap.Error(err), zap.Int("failures", s.failures), zap.Duration("retry", s.next.Sub(now)))
	}
}

// wait returns the time until the next look.
func (f *Fetcher) wait(s *source, now time.Time, err error) time.Duration {
	switch {
	case !s.isURL():
		return f.pace.files
	case err != nil:
		return min(f.pace.firstRetry<<min(s.failures, 16), f.pace.refresh)
	case s.nextUpdate.IsZero():
		return f.pace.refresh
	}
	return min(f.pace.refresh, max(s.nextUpdate.Sub(now), f.pace.firstRetry))
}

// update fetches a source if it changed, and installs it.
func (f *Fetcher) update(ctx context.Context, s *source) error {
	if !s.isURL() {
		return f.updateFile(s)
	}
	d, err := f.client.get(ctx, s.location, s.known, MaxCRL)
	if err != nil || d.unchanged {
		return err
	}
	if err := f.installAll(s, d.body); err != nil {
		return err
	}
	s.known = d.version // not before: what could not be used is to be fetched again
	return nil
}

func (f *Fetcher) updateFile(s *source) error {
	info, err := os.Stat(s.location)
	if err != nil {
		return fmt.Errorf("reading the CRL: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > MaxCRL {
		return fmt.Errorf("reading the CRL %s: not a regular file of at most %d octets", s.location, MaxCRL)
	}
	stamp := fileStamp{info.ModTime(), info.Size()}
	if stamp == s.stamp {
		return nil
	}
	file, err := os.Open(s.location)
	if err != nil {
		return fmt.Errorf("reading the CRL: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxCRL+1))
	if err != nil {
		return fmt.Errorf("reading the CRL: %w", err)
	}
	if err := f.installAll(s, data); err != nil {
		return err
	}
	s.stamp = stamp
	return nil
}

// installAll installs the CRLs of a file or an answer; one that is refused does not hold up the others.
func (f *Fetcher) installAll(s *source, data []byte) error {
	lists, err := DecodeCRLs(data)
	if err != nil {
		return fmt.Errorf("reading the CRL: %w", err)
	}
	var refused []error
	s.nextUpdate = time.Time{}
	for _, l := range lists {
		if err := f.install(l.Raw); err != nil {
			refused = append(refused, fmt.Errorf("CRL of %q: %w", l.Issuer.String(), err))
		}
		if !l.NextUpdate.IsZero() && (s.nextUpdate.IsZero() || l.NextUpdate.Before(s.nextUpdate)) {
			s.nextUpdate = l.NextUpdate
		}
	}
	return errors.Join(refused...)
}
