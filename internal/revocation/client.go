package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Limits of a request.
const (
	maxOCSP      = 64 << 10 // octets of an answer
	maxURL       = 2048     // octets
	maxRedirects = 3
	crlTimeout   = time.Minute
	ocspTimeout  = 10 * time.Second
)

// errRedirect refuses a redirection.
var errRedirect = errors.New("refused to follow the redirection: at most 3, with GET only, and to the same scheme")

// client makes bounded requests by HTTP.
type client struct{ http http.Client }

func newClient() *client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &client{http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  10 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
			MaxConnsPerHost:        maxConcurrent,
			MaxIdleConns:           maxConcurrent,
			IdleConnTimeout:        time.Minute,
			DisableCompression:     true, // the limits are of octets on the wire, too
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || via[0].Method != http.MethodGet || r.URL.Scheme != via[0].URL.Scheme || r.URL.User != nil {
				return errRedirect
			}
			return nil
		},
	}}
}

// version tells one state of a document from another.
type version struct{ etag, modified string }

// document is an answer to GET.
type document struct {
	body      []byte
	version   version
	unchanged bool // the server has what was known already; there is no body
}

// get fetches a document of at most `most` octets, unless it is still that of the known version.
func (c *client) get(ctx context.Context, location string, known version, most int64) (document, error) {
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
	response, err := c.http.Do(request)
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

// ask posts a request of OCSP (RFC 6960 appendix A.1) and returns the answer.
func (c *client) ask(ctx context.Context, location string, question []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, ocspTimeout)
	defer cancel()
	request, err := newRequest(ctx, http.MethodPost, location, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/ocsp-request")
	request.Header.Set("Accept", "application/ocsp-response")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the OCSP responder: %w", err)
	}
	defer response.Body.Close()
	return content(response, maxOCSP)
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
func content(response *http.Response, most int64) ([]byte, error) {
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching %q: the server answered %d (%s)", response.Request.URL.Redacted(), response.StatusCode, http.StatusText(response.StatusCode))
	}
	if response.ContentLength > most {
		return nil, fmt.Errorf("fetching %q: the answer has %d octets, more than %d", response.Request.URL.Redacted(), response.ContentLength, most)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", response.Request.URL.Redacted(), err)
	}
	if int64(len(body)) > most {
		return nil, fmt.Errorf("fetching %q: the answer has more than %d octets", response.Request.URL.Redacted(), most)
	}
	return body, nil
}
