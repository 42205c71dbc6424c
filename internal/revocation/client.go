package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// Limits of a request.
const (
	maxURL       = 2048 // octets
	maxRedirects = 3
	crlTimeout   = time.Minute     // of a configured CRL, for which nobody waits
	peerTimeout  = 4 * time.Second // of what a peer waits for, which may need two or three
)

var (
	errRedirect = errors.New("refused to follow the redirection: at most 3, of configured CRLs only, and to the same scheme")
	errInside   = errors.New("a URL of a certificate may not lead to loopback or link-local addresses; configure the CRL or the OCSP responder if it is meant to")
)

// client makes bounded requests by HTTP.
type client struct {
	configured http.Client // for URLs of the configuration
	foreign    http.Client // for URLs of certificates, which have to stay outside
}

func newClient() *client {
	c := &client{
		configured: http.Client{Transport: newTransport(nil), CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || via[0].Method != http.MethodGet || r.URL.Scheme != via[0].URL.Scheme || r.URL.User != nil {
				return errRedirect
			}
			return nil
		}},
		foreign: http.Client{Transport: newTransport(outside), CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect }},
	}
	return c
}

func newTransport(control func(network, address string, _ syscall.RawConn) error) *http.Transport {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, Control: control}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  10 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
		MaxConnsPerHost:        maxConcurrent,
		MaxIdleConns:           maxConcurrent,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true, // the limits are of octets on the wire, too
	}
	if control == nil {
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

// outside refuses to connect to addresses that others cannot reach; it sees them after the name was resolved.
func outside(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connecting to %q: %w", address, err)
	}
	a := to.Addr().Unmap()
	if a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return errInside
	}
	return nil
}

// of returns the client for a URL. A proxy decides by itself where it goes.
func (c *client) of(r *http.Request, fromCertificate bool) *http.Client {
	if !fromCertificate {
		return &c.configured
	}
	if proxy, err := http.ProxyFromEnvironment(r); err == nil && proxy != nil {
		return &http.Client{Transport: c.configured.Transport, CheckRedirect: c.foreign.CheckRedirect}
	}
	return &c.foreign
}

// version tells one state of a document from another.
type version struct{ etag, modified string }

// document is an answer to GET.
type document struct {
	body      []byte
	version   version
	unchanged bool // the server has what was known already; there is no body
}

// get fetches a configured document of at most `most` octets, unless it is still that of the known version.
func (c *client) get(ctx context.Context, location string, known version, most int) (document, error) {
	ctx, cancel := context.WithTimeout(ctx, crlTimeout)
	defer cancel()
	request, err := newRequest(ctx, http.MethodGet, location, nil)
	if err != nil {
		return document{}, err
	}
	if known.etag != "" {
		request.Header.Set("If-None-Match", known.etag)
	}
	if known.modified != "" {
		request.Header.Set("If-Modified-Since", known.modified)
	}
	response, err := c.configured.Do(request)
	if err != nil {
		return document{}, fmt.Errorf("fetching: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotModified && known != (version{}) {
		return document{version: known, unchanged: true}, nil
	}
	body, err := content(response, most)
	return document{body: body, version: version{response.Header.Get("ETag"), response.Header.Get("Last-Modified")}}, err
}

// do answers a request: a question for an OCSP responder is posted (RFC 6960 appendix A.1).
func (c *client) do(ctx context.Context, r pki.Request) ([]byte, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.Kind == pki.FetchOCSP {
		method, body = http.MethodPost, bytes.NewReader(r.Body)
	}
	request, err := newRequest(ctx, method, r.URL, body)
	if err != nil {
		return nil, err
	}
	if r.Kind == pki.FetchOCSP {
		request.Header.Set("Content-Type", "application/ocsp-request")
		request.Header.Set("Accept", "application/ocsp-response")
	}
	response, err := c.of(request, r.FromCertificate).Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetching: %w", err)
	}
	defer response.Body.Close()
	return content(response, r.MaxOctets)
}

func newRequest(ctx context.Context, method, location string, body io.Reader) (*http.Request, error) {
	if err := usable(location); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, location, body)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	request.Header.Set("User-Agent", "l2tpctl")
	return request, nil
}

// usable returns an error for a URL that is none to fetch from.
func usable(location string) error {
	if len(location) > maxURL {
		return fmt.Errorf("the URL has %d octets, more than %d", len(location), maxURL)
	}
	u, err := url.Parse(location)
	if err != nil {
		return fmt.Errorf("reading the URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("the URL %q is not one of http or https without a user name", u.Redacted())
	}
	return nil
}

// content reads the body of an answer.
func content(response *http.Response, most int) ([]byte, error) {
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching %q: the server answered %d (%s)", response.Request.URL.Redacted(), response.StatusCode, http.StatusText(response.StatusCode))
	}
	if response.ContentLength > int64(most) {
		return nil, fmt.Errorf("fetching %q: the answer has %d octets, more than %d", response.Request.URL.Redacted(), response.ContentLength, most)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", response.Request.URL.Redacted(), err)
	}
	if len(body) > most {
		return nil, fmt.Errorf("fetching %q: the answer has more than %d octets", response.Request.URL.Redacted(), most)
	}
	return body, nil
}
