package revocation

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestFile(t *testing.T) {
	ca := newCA(t)
	path := filepath.Join(t.TempDir(), "ca.crl")
	write := func(data []byte, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	f, shelf, logs := fetcher(path, "http://192.0.2.1/never-asked-by-load")
	s := f.sources[0]
	ctx, now := t.Context(), time.Now()
	look := func() { now = now.Add(f.pace.files); f.look(ctx, s, now) }

	f.Load(ctx)
	if shelf.count() != 0 || logs.Len() != 1 {
		t.Fatalf("without a file: %d CRLs, %v", shelf.count(), logs.All())
	}
	first := ca.crl(time.Hour)
	write(first, time.Hour)
	f.Load(ctx)
	if shelf.count() != 1 || !bytes.Equal(shelf.crls[0], first) {
		t.Fatalf("%d CRLs", shelf.count())
	}
	look()
	if shelf.count() != 1 {
		t.Error("installed again without a change")
	}
	if wait := s.next.Sub(now); wait != f.pace.files {
		t.Errorf("looks again after %v", wait)
	}
	second, third := ca.crl(time.Hour), ca.crl(time.Hour)
	write(inPEM(second, third), 0)
	look()
	if shelf.count() != 3 || !bytes.Equal(shelf.crls[1], second) || !bytes.Equal(shelf.crls[2], third) {
		t.Fatalf("%d CRLs", shelf.count())
	}
	write(second[:100], -time.Second) // somebody is writing it
	look()
	if shelf.count() != 3 || s.failures != 1 {
		t.Errorf("%d CRLs, %d failures", shelf.count(), s.failures)
	}
	write(second, -time.Second)
	look()
	if shelf.count() != 4 || s.failures != 0 {
		t.Errorf("%d CRLs, %d failures", shelf.count(), s.failures)
	}
	shelf.refuse = true
	write(third, -2*time.Second)
	look()
	shelf.refuse = false
	look()
	if shelf.count() != 5 || s.failures != 0 {
		t.Errorf("what was refused is not tried again: %d CRLs, %d failures", shelf.count(), s.failures)
	}
}

func TestOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.crl")
	if err := os.WriteFile(path, newCA(t).crl(-time.Hour), 0o600); err != nil {
		t.Fatal(err)
	}
	f, shelf, logs := fetcher(path)
	now := time.Now()
	for range 1000 {
		f.look(t.Context(), f.sources[0], now)
		now = f.sources[0].next
	}
	// 1000 looks are 4 hours and 10 minutes.
	if shelf.count() != 1 || logs.Len() != 5 || logs.FilterMessageSnippet("not usable").Len() != 5 {
		t.Errorf("%d CRLs, %d log entries", shelf.count(), logs.Len())
	}
}

// web serves one document, with conditions as http.ServeContent knows them.
type web struct {
	*httptest.Server
	requests, full atomic.Int32
	answer         atomic.Pointer[http.HandlerFunc]
}

func newWeb(t *testing.T) *web {
	w := &web{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		(*w.answer.Load())(rw, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *web) serve(answer http.HandlerFunc) { w.answer.Store(&answer) }

// document serves data with these headers, or 304 if they are known.
func (w *web) document(data []byte, etag string, modified time.Time) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		if etag != "" {
			rw.Header().Set("ETag", etag)
		}
		counted := &counter{ResponseWriter: rw}
		http.ServeContent(counted, r, "", modified, bytes.NewReader(data))
		if counted.status == http.StatusOK {
			w.full.Add(1)
		}
	})
}

type counter struct {
	http.ResponseWriter
	status int
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func TestURL(t *testing.T) {
	ca, web := newCA(t), newWeb(t)
	for name, test := range map[string]struct {
		etag     string
		modified time.Time
		full     int32 // times that two fetches get all
	}{
		"ETag":          {`"v1"`, time.Time{}, 1},
		"Last-Modified": {"", time.Now().Add(-time.Hour), 1},
		"neither":       {"", time.Time{}, 2},
	} {
		f, shelf, logs := fetcher(web.URL)
		s := f.sources[0]
		web.full.Store(0)
		web.document(ca.crl(20*time.Minute), test.etag, test.modified)
		now := time.Now()
		f.look(t.Context(), s, now)
		if wait := s.next.Sub(now); wait < 19*time.Minute || wait > 20*time.Minute {
			t.Errorf("%s: next time after %v, the CRL is due in 20 minutes", name, wait)
		}
		f.look(t.Context(), s, now)
		if got := web.full.Load(); got != test.full || shelf.count() != int(test.full) {
			t.Errorf("%s: sent %d times, installed %d times, want %d", name, got, shelf.count(), test.full)
		}
		if wait := s.next.Sub(now); wait < 19*time.Minute || wait > 20*time.Minute {
			t.Errorf("%s: after no change, next time after %v", name, wait)
		}
		web.document(ca.crl(1000*time.Hour), `"v2"`, time.Now())
		f.look(t.Context(), s, now)
		if wait := s.next.Sub(now); wait != time.Hour || shelf.count() != int(test.full)+1 {
			t.Errorf("%s: %d CRLs, next time after %v, want an hour", name, shelf.count(), wait)
		}
		if logs.Len() > 0 {
			t.Errorf("%s: %v", name, logs.All())
		}
	}
}

func TestURLFailures(t *testing.T) {
	ca, web := newCA(t), newWeb(t)
	f, shelf, logs := fetcher(web.URL)
	s := f.sources[0]
	start := time.Now()
	now := start
	web.serve(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	var waits []time.Duration
	for range 9 {
		f.look(t.Context(), s, now)
		waits = append(waits, s.next.Sub(now))
		now = s.next
	}
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		if waits[i] != want {
			t.Errorf("after failure %d: waits %v, want %v", i+1, waits[i], want)
		}
	}
	if n := logs.FilterMessageSnippet("not usable").Len(); n != 3 { // at 0, 1:03:30, 2:03:30
		t.Errorf("%d warnings in %v", n, now.Sub(start))
	}
	stale := ca.crl(-time.Minute)
	web.document(stale, `"old"`, time.Time{})
	f.look(t.Context(), s, now)
	if shelf.count() != 1 || s.failures != 10 {
		t.Errorf("an old CRL: %d CRLs, %d failures", shelf.count(), s.failures)
	}
	shelf.refuse = true
	web.document(ca.crl(24*time.Hour), `"foreign"`, time.Time{})
	f.look(t.Context(), s, now)
	if s.failures != 11 || s.known.etag != `"old"` {
		t.Errorf("a refused CRL: %d failures, known %q", s.failures, s.known.etag)
	}
	shelf.refuse = false
	f.look(t.Context(), s, now)
	if shelf.count() != 2 || s.failures != 0 || logs.FilterMessageSnippet("usable again").Len() != 1 {
		t.Errorf("%d CRLs, %d failures, %v", shelf.count(), s.failures, logs.All())
	}
}

func TestRun(t *testing.T) {
	ca, web := newCA(t), newWeb(t)
	path := filepath.Join(t.TempDir(), "ca.crl")
	if err := os.WriteFile(path, ca.crl(time.Hour), 0o600); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{}, 1000)
	data := ca.crl(time.Hour)
	web.serve(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write(data)
		select {
		case served <- struct{}{}:
		default:
		}
	})
	f, shelf, _ := fetcher(path, web.URL)
	f.pace = pace{files: time.Millisecond, refresh: time.Millisecond, firstRetry: time.Millisecond, complain: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	for range 3 {
		<-served
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if shelf.count() < 3 {
		t.Errorf("%d CRLs", shelf.count())
	}
}

func TestRunEndsWhileFetching(t *testing.T) {
	web := newWeb(t)
	asked := make(chan struct{})
	web.serve(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	f, _, logs := fetcher(web.URL)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	<-asked
	cancel()
	if err := <-done; err != nil || logs.Len() > 0 {
		t.Errorf("%v, %v", err, logs.All())
	}
}

func TestDecodeCRLs(t *testing.T) {
	ca := newCA(t)
	one := ca.crl(time.Hour)
	for name, test := range map[string]struct {
		data []byte
		want int
	}{
		"DER":          {one, 1},
		"PEM":          {inPEM(one), 1},
		"PEM with two": {append([]byte("issued today\n"), inPEM(one, one)...), 2},
		"16":           {bytes.Repeat(inPEM(one), 16), 16},
		"17":           {bytes.Repeat(inPEM(one), 17), 0},
		"nothing":      {nil, 0},
		"cut off":      {one[:len(one)-1], 0},
		"other PEM":    {bytes.ReplaceAll(inPEM(one), []byte("X509 CRL"), []byte("CERTIFICATE")), 0},
		"bad PEM":      {inPEM(one[:50]), 0},
		"too large":    {make([]byte, MaxCRL+1), 0},
	} {
		lists, err := DecodeCRLs(test.data)
		if len(lists) != test.want || (err == nil) != (test.want > 0) {
			t.Errorf("%s: %d lists, %v", name, len(lists), err)
		}
	}
}

func TestLargeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, MaxCRL+1)); err != nil {
		t.Fatal(err)
	}
	f, _, logs := fetcher(path)
	f.Load(t.Context())
	if logs.Len() != 1 {
		t.Errorf("%v", logs.All())
	}
}
