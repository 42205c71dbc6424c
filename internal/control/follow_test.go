package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
)

// feed is a backend's events: it remembers the latest keep of them, all if that is zero.
type feed struct {
	mu     sync.Mutex
	keep   int
	events []Event
	latest uint64
	news   chan struct{}
	ended  bool
}

func (f *feed) add(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest++
	f.events = append(f.events, Event{Seq: f.latest, Kind: "test", Text: text, Time: time.Unix(int64(f.latest), 0).UTC()})
	if f.keep > 0 && len(f.events) > f.keep {
		f.events = f.events[len(f.events)-f.keep:]
	}
	f.wake()
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wake()
}

func (f *feed) wake() {
	if f.news != nil {
		close(f.news)
		f.news = nil
	}
}

func (f *feed) since(n uint64) ([]Event, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.after(n), f.latest
}

func (f *feed) after(n uint64) (list []Event) {
	for _, e := range f.events {
		if e.Seq > n || n > f.latest {
			list = append(list, e)
		}
	}
	return list
}

func (f *feed) next(ctx context.Context, since uint64) ([]Event, error) {
	for {
		f.mu.Lock()
		if list := f.after(since); len(list) > 0 || f.ended {
			f.mu.Unlock()
			if len(list) == 0 {
				return nil, io.EOF
			}
			return list, nil
		}
		if f.news == nil {
			f.news = make(chan struct{})
		}
		news := f.news
		f.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// follower gathers what a client hears.
type follower struct {
	heard chan Event
	done  chan error
	stop  context.CancelFunc
}

func follow(t *testing.T, socket string, q EventQuery) *follower {
	t.Helper()
	c := NewClient(socket)
	t.Cleanup(c.Close)
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{heard: make(chan Event, 100), done: make(chan error, 1), stop: cancel}
	go func() { f.done <- c.FollowEvents(ctx, q, func(e Event) error { f.heard <- e; return nil }) }()
	return f
}

// hears wants these numbers next.
func (f *follower) hears(t *testing.T, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		select {
		case e := <-f.heard:
			if e.Seq != n {
				t.Fatalf("heard %+v, want number %d", e, n)
			}
		case err := <-f.done:
			t.Fatalf("ended with %v, want number %d", err, n)
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing heard, want number %d", n)
		}
	}
}

func TestFollowEvents(t *testing.T) {
	m := &memory{}
	m.events.keep = 5
	socket := serve(t, m)
	fromNothing := follow(t, socket, EventQuery{})
	m.events.add("one")
	fromNothing.hears(t, 1)
	for n := range uint64(7) {
		m.events.add("more")
		fromNothing.hears(t, n+2)
	}
	all := follow(t, socket, EventQuery{})
	all.hears(t, 4, 5, 6, 7, 8)
	two := follow(t, socket, EventQuery{Limit: 2})
	two.hears(t, 7, 8)
	since := follow(t, socket, EventQuery{Since: 6})
	since.hears(t, 7, 8)
	latest := follow(t, socket, EventQuery{Since: 8})
	restarted := follow(t, socket, EventQuery{Since: 1000})
	restarted.hears(t, 4, 5, 6, 7, 8)
	late := follow(t, socket, EventQuery{Since: 1})
	if e := <-late.heard; e.Kind != EventsLost || e.Seq != 3 || !strings.HasPrefix(e.Text, "2 events are missing") || e.Severity != SeverityWarning {
		t.Errorf("what was forgotten: %+v", e)
	}
	late.hears(t, 4, 5, 6, 7, 8)
	m.events.add("nine")
	for _, f := range []*follower{all, two, since, latest, restarted, late} {
		f.hears(t, 9)
	}
	two.stop()
	if err := <-two.done; !errors.Is(err, context.Canceled) {
		t.Errorf("a follower that goes: %v", err)
	}
	m.events.end()
	for _, f := range []*follower{all, since, latest, restarted, late} {
		if err := <-f.done; err != nil {
			t.Errorf("the end: %v", err)
		}
	}
	c := NewClient(socket)
	defer c.Close()
	if events, err := c.Events(t.Context(), EventQuery{Since: 6, Limit: 2}); err != nil || len(events) != 2 || events[1].Text != "nine" {
		t.Errorf("%+v, %v", events, err)
	}
}

// A client that does not read holds up nobody, and hears later how many events it has lost.
func TestSlowFollower(t *testing.T) {
	m := &memory{}
	m.events.keep = 10
	socket := serve(t, m)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: l2tpctl\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	brisk := follow(t, socket, EventQuery{})
	text := strings.Repeat("x", 16<<10)
	const many = 500 // far more than the buffers of a socket hold
	for n := range many {
		m.events.add(text)
		brisk.hears(t, uint64(n+1))
	}
	m.events.end()
	var last, lost uint64
	read := bufio.NewScanner(conn)
	read.Buffer(nil, 1<<20)
	for last < many && read.Scan() {
		var e Event
		if !strings.HasPrefix(read.Text(), "{") {
			continue // HTTP's own lines
		}
		if err := json.Unmarshal(read.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == EventsLost {
			var n uint64
			if _, err := fmt.Sscanf(e.Text, "%d events are missing", &n); err != nil || e.Seq != last+n {
				t.Fatalf("after %d: %+v", last, e)
			}
			lost += n
		} else if e.Seq != last+1 {
			t.Fatalf("number %d after %d", e.Seq, last)
		}
		last = e.Seq
	}
	if last != many || lost == 0 || lost >= many {
		t.Errorf("heard up to %d, lost %d", last, lost)
	}
}

// The end of the server ends the streams, though one of them is not read.
func TestServerEndsStreams(t *testing.T) {
	m := &memory{}
	socket := filepath.Join(t.TempDir(), "c.sock")
	l, err := listening(t.Context(), socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, m, Version{}, nil) }()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: l2tpctl\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	f := follow(t, socket, EventQuery{})
	for n := range 50 {
		m.events.add(strings.Repeat("x", 64<<10))
		f.hears(t, uint64(n+1))
	}
	cancel()
	m.events.add("goodbye") // of what ends at the same time
	f.hears(t, 51)
	begun := time.Now()
	if err := <-served; err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("served until %v, with %v", time.Since(begun), err)
	}
	if err := <-f.done; err != nil {
		t.Errorf("the follower ends with %v", err)
	}
}

// The limits of time that other requests have do not end a stream.
func TestStreamHasNoTimeLimit(t *testing.T) {
	m := &memory{}
	srv := httptest.NewUnstartedServer(Handler(m, Version{}, zap.NewNop()))
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	srv.Start()
	defer srv.Close()
	defer m.events.end()
	resp, err := http.Get(srv.URL + "/v1/events?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("content type %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	for range 3 {
		time.Sleep(120 * time.Millisecond)
		m.events.add("still here")
		if !lines.Scan() || !strings.Contains(lines.Text(), "still here") {
			t.Fatalf("%q, %v", lines.Text(), lines.Err())
		}
	}
}
