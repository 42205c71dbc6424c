package revocation

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

func crlRequest(location string) pki.Request {
	return pki.Request{Kind: pki.FetchCRL, URL: location, MaxOctets: MaxCRL}
}

func ocspRequest(location, body string) pki.Request {
	return pki.Request{Kind: pki.FetchOCSP, URL: location, Body: []byte(body), MaxOctets: 64 << 10}
}

func TestOCSP(t *testing.T) {
	web := newWeb(t)
	web.serve(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/ocsp-request" || string(body) != "question" {
			rw.WriteHeader(http.StatusBadRequest)
		}
		fmt.Fprint(rw, "answer")
	})
	f, _, _ := fetcher()
	got, err := f.Fetch(t.Context(), ocspRequest(web.URL, "question"))
	if err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
}

// Whoever issues certificates may not make us ask our own services, nor those that only we can reach.
func TestCertificatesStayOutside(t *testing.T) {
	web := newWeb(t)
	web.serve(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "secret") })
	_, port, err := net.SplitHostPort(web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f, _, _ := fetcher()
	for _, location := range []string{web.URL, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://169.254.169.254/latest", "http://0.0.0.0:" + port, "http://[::1]:" + port} {
		for _, r := range []pki.Request{crlRequest(location), ocspRequest(location, "")} {
			r.FromCertificate = true
			if answer, err := f.Fetch(t.Context(), r); !errors.Is(err, errInside) {
				t.Errorf("%s %s: %q, %v", r.Kind, location, answer, err)
			}
			f.held.answered(location)
		}
	}
	if web.requests.Load() != 0 {
		t.Errorf("%d requests arrived", web.requests.Load())
	}
	for address, want := range map[string]error{"192.0.2.1:80": nil, "10.0.0.1:80": nil, "[2001:db8::1]:443": nil, "[fe80::1]:80": errInside, "[::ffff:169.254.1.1]:80": errInside, "224.0.0.1:80": errInside} {
		if err := outside("tcp", address, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestRefusedAnswers(t *testing.T) {
	ca := newCA(t)
	crl := ca.crl(time.Hour)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(crl) }))
	defer secure.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(crl) })
	mux.HandleFunc("/moved", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/good", http.StatusFound) })
	mux.HandleFunc("/round", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "/round", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/https", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, secure.URL, http.StatusFound) })
	mux.HandleFunc("/file", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/large", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", fmt.Sprint(MaxCRL+1))
	})
	mux.HandleFunc("/endless", func(rw http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 1<<20); ; {
			if _, err := rw.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/none", http.NotFound)
	mux.HandleFunc("/304", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotModified) })
	plain := httptest.NewServer(mux)
	defer plain.Close()
	closed := httptest.NewServer(mux)
	closed.Close()

	f, _, _ := fetcher()
	f.client.configured.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	for location, want := range map[string]string{
		plain.URL + "/good":                     "",
		plain.URL + "/moved":                    "",
		secure.URL:                              "",
		plain.URL + "/round":                    errRedirect.Error(),
		plain.URL + "/https":                    errRedirect.Error(),
		plain.URL + "/file":                     errRedirect.Error(),
		plain.URL + "/large":                    "more than 4194304",
		plain.URL + "/endless":                  "more than 4194304",
		plain.URL + "/none":                     "the server answered 404 (Not Found)",
		plain.URL + "/304":                      "the server answered 304",
		closed.URL:                              "connection refused",
		"ldap://ca.example.com/crl":             "is not one of http or https",
		"file:///etc/passwd":                    "is not one of http or https",
		"http:///crl":                           "is not one of http or https",
		"http://user:pass@example.com/":         "is not one of http or https without a user name",
		"http://[::1":                           "reading the URL",
		"http://a/" + strings.Repeat("a", 2048): "the URL has 2057 octets",
	} {
		got, err := f.Fetch(t.Context(), crlRequest(location))
		if want == "" && (err != nil || !bytes.Equal(got, crl)) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", location, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pass@") {
			t.Errorf("%v shows the password", err)
		}
	}
	if _, err := f.Fetch(t.Context(), ocspRequest(plain.URL+"/moved", "")); !errors.Is(err, errRedirect) {
		t.Errorf("OCSP followed a redirection: %v", err)
	}
	f.held.answered(plain.URL + "/endless")
	if _, err := f.Fetch(t.Context(), ocspRequest(plain.URL+"/endless", "")); err == nil || !strings.Contains(err.Error(), "more than 65536") {
		t.Errorf("OCSP and an endless answer: %v", err)
	}
}

// Many peers of one CA come back at once.
func TestSameRequestOnce(t *testing.T) {
	ca, web := newCA(t), newWeb(t)
	crl := ca.crl(time.Hour)
	var running, most atomic.Int32
	asked, proceed := make(chan struct{}, 100), make(chan struct{})
	web.serve(func(rw http.ResponseWriter, _ *http.Request) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		asked <- struct{}{}
		<-proceed
		_, _ = rw.Write(crl)
	})
	f, _, _ := fetcher()
	impatient, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := f.Fetch(impatient, crlRequest(web.URL))
		first <- err
	}()
	<-asked
	var others sync.WaitGroup
	for range 50 {
		others.Go(func() {
			if got, err := f.Fetch(t.Context(), crlRequest(web.URL)); err != nil || !bytes.Equal(got, crl) {
				t.Errorf("%d octets, %v", len(got), err)
			}
		})
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	close(proceed)
	others.Wait()
	if most.Load() != 1 {
		t.Errorf("%d requests at a time", most.Load())
	}
}

func TestBrokenServerIsNotAskedByEach(t *testing.T) {
	web := newWeb(t)
	web.serve(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	f, _, logs := fetcher()
	for i := range 100 {
		if _, err := f.Fetch(t.Context(), ocspRequest(web.URL, fmt.Sprint(i))); err == nil {
			t.Fatal("no error")
		}
	}
	if n := web.requests.Load(); n != 1 || logs.Len() != 1 {
		t.Errorf("%d requests, %d log entries", n, logs.Len())
	}
	if _, err := f.Fetch(t.Context(), ocspRequest(web.URL+"/other", "")); err == nil || web.requests.Load() != 2 {
		t.Errorf("another URL was not asked: %v", err)
	}
}

func TestHoldoff(t *testing.T) {
	h := holdoff{urls: map[string]held{}}
	now := time.Unix(1e9, 0)
	for _, want := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
		want *= time.Second
		if hold, news := h.failed(now, "a"); hold != want || !news {
			t.Errorf("%v, %v, want %v", hold, news, want)
		}
		if _, news := h.failed(now, "a"); news {
			t.Error("the same failure twice")
		}
		if h.check(now.Add(want-1), "a") == nil || h.check(now.Add(want), "a") != nil || h.check(now, "b") != nil {
			t.Errorf("not held for %v", want)
		}
		now = now.Add(want)
	}
	now = now.Add(longestHold + 1)
	if hold, _ := h.failed(now, "a"); hold != firstHold {
		t.Errorf("%v, much later", hold)
	}
	h.answered("a")
	if h.check(now, "a") != nil || len(h.urls) != 0 {
		t.Error("held after an answer")
	}
	for i := range 10 * maxHeld {
		h.failed(now, fmt.Sprint(i))
		if len(h.urls) > maxHeld {
			t.Fatalf("remembers %d", len(h.urls))
		}
	}
	if h.check(now, fmt.Sprint(10*maxHeld-1)) == nil {
		t.Error("the latest is forgotten")
	}
}
