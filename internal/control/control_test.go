package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// memory is a backend that keeps its tunnels and sessions in memory.
type memory struct {
	mu       sync.Mutex
	tunnels  []Tunnel
	sessions []Session
	fail     error
	events   feed
}

func (m *memory) Tunnels(context.Context) ([]Tunnel, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tunnels, m.fail
}

func (m *memory) Sessions(context.Context) ([]Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions, m.fail
}

func (m *memory) SAs(context.Context) ([]SA, error) {
	return []SA{{TunnelID: 16384, Direction: "in", SPI: "0xc0ffee01", ReqID: 0x17014000, Mark: 0x17014000}}, m.fail
}

func (m *memory) Drift(context.Context) ([]Drift, error) {
	return []Drift{{Object: DriftTunnel, Name: "16384", TunnelID: 16384, Problem: DriftMissing}}, m.fail
}

func (m *memory) Stats(context.Context) (Stats, error) {
	return Stats{
		Tunnels: 2, IKE: IKEStats{Drops: map[string]uint64{"cookie": 3}},
		Slots: SlotStats{Exhausted: 6, Taken: 9}, Errors: ErrorStats{InboxFull: 1, Panics: 2, Send: 3, Kernel: 4, Runts: 5, Restored: 7, Unrestored: 8, LostSAs: 6, LostObjects: 4},
	}, m.fail
}

func (m *memory) Events(_ context.Context, q EventQuery) ([]Event, uint64, error) {
	events, latest := m.events.since(q.Since)
	if q.Limit > 0 && len(events) > q.Limit {
		events = events[len(events)-q.Limit:]
	}
	return events, latest, m.fail
}

func (m *memory) NextEvents(ctx context.Context, since uint64) ([]Event, error) {
	return m.events.next(ctx, since)
}

func (m *memory) CloseTunnel(_ context.Context, id uint16) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, t := range m.tunnels {
		if t.ID == id {
			m.tunnels = append(m.tunnels[:i:i], m.tunnels[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("tunnel %d: %w", id, ErrNotFound)
}

func (m *memory) CloseSession(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, s := range m.sessions {
		if s.ID == id {
			m.sessions = append(m.sessions[:i:i], m.sessions[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("session %q: %w", id, ErrNotFound)
}

func (m *memory) Reload(context.Context) (Reload, error) {
	return Reload{Configuration: "/etc/c.yaml", Changes: []Change{{Effect: "now", Key: "ike.psk", New: "changed"}}, Notes: []string{}, Warnings: []string{}}, m.fail
}

// listening is a control socket as a daemon has it.
func listening(ctx context.Context, path, group string) (net.Listener, error) {
	file, err := Open(ctx, path, group, nil)
	if err != nil {
		return nil, err
	}
	return ListenOn(file)
}

// serve runs the API on a socket and returns its path.
func serve(t *testing.T, b Backend) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "control.sock")
	l, err := listening(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, b, Version{Version: "v1.2.3", Go: "go1.26"}, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := knock(path); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("somebody still listens: %v", err)
		}
	})
	return path
}

func sample() *memory {
	peer := netip.MustParseAddrPort("203.0.113.9:49152")
	return &memory{
		tunnels: []Tunnel{{ID: 16384, PeerID: 7, State: "established", Role: "lns", Peer: peer, PeerName: "win\x1b[31m", NATT: true, Sessions: 2, RxBytes: 1 << 63}},
		sessions: []Session{
			{ID: "16384-1", TunnelID: 16384, User: "alice", IP: netip.MustParseAddr("10.99.0.2"), Peer: peer},
			{ID: "16384-2", TunnelID: 16384, User: "bob"},
			{ID: "16385-1", TunnelID: 16385, User: "alice"},
		},
	}
}

func TestRoundTrip(t *testing.T) {
	m := sample()
	c := NewClient(serve(t, m))
	defer c.Close()
	ctx := t.Context()
	addrs := cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})
	check := func(what string, got, want any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got, addrs); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", what, err, diff)
		}
	}
	tunnels, err := c.Tunnels(ctx)
	check("tunnels", tunnels, m.tunnels, err)
	tunnel, err := c.Tunnel(ctx, 16384)
	check("tunnel", tunnel, m.tunnels[0], err)
	sessions, err := c.Sessions(ctx)
	check("sessions", sessions, m.sessions, err)
	session, err := c.Session(ctx, "16384-2")
	check("session", session, m.sessions[1], err)
	sas, err := c.SAs(ctx)
	check("sas", len(sas), 1, err)
	drift, err := c.Drift(ctx)
	check("drift", len(drift) == 1 && drift[0] == Drift{"tunnel", "16384", 16384, "missing"}, true, err)
	stats, err := c.Stats(ctx)
	check("stats", stats.IKE.Drops, map[string]uint64{"cookie": 3}, err)
	check("stats that the kernel does not have", stats.Steering == nil && stats.XfrmStat == nil, true, err)
	check("errors", stats.Errors, ErrorStats{InboxFull: 1, Panics: 2, Send: 3, Kernel: 4, Runts: 5, Restored: 7, Unrestored: 8, LostSAs: 6, LostObjects: 4}, err)
	version, err := c.Version(ctx)
	check("version", version, Version{Version: "v1.2.3", Go: "go1.26"}, err)

	closed, err := c.Disconnect(ctx, "alice")
	check("disconnect", closed, []string{"16384-1", "16385-1"}, err)
	check("close session", nil, nil, c.CloseSession(ctx, "16384-2"))
	check("close tunnel", nil, nil, c.CloseTunnel(ctx, 16384))

	for what, err := range map[string]error{
		"tunnel 16384":               c.CloseTunnel(ctx, 16384),
		`session "16384-2"`:          c.CloseSession(ctx, "16384-2"),
		`session "a/b?c"`:            c.CloseSession(ctx, "a/b?c"),
		`sessions of user "alice x"`: func() error { _, err := c.Disconnect(ctx, "alice x"); return err }(),
	} {
		if !errors.Is(err, ErrNotFound) || err.Error() != what+": not found" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWire(t *testing.T) {
	m := &memory{}
	path := serve(t, m)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	for _, test := range []struct{ method, path, want string }{
		{"GET", "/v1/tunnels", "200 []\n"},
		{"GET", "/v1/sessions", "200 []\n"},
		{"GET", "/v1/tunnels/16384", `404 {"error":"tunnel 16384: not found"}` + "\n"},
		{"GET", "/v1/tunnels/70000", `400 {"error":"tunnel id \"70000\" is not a number from 1 to 65535"}` + "\n"},
		{"DELETE", "/v1/sessions", `400 {"error":"the query has no user: DELETE /v1/sessions?user=NAME"}` + "\n"},
		{"GET", "/v1/stats", `200 {"uptime_seconds":0,"tunnels":2,"sessions":0,"goroutines":0,` +
			`"ike":{"clients":0,"half_open":0,"received":0,"sent":0,"established":0,"failed":0,"children":0,"drops":{"cookie":3}},` +
			`"l2tp":{"received":0,"sent":0,"tunnels_up":0,"tunnels_down":0,"sessions_up":0,"sessions_down":0,"drops":null},` +
			`"ppp":{"processes":0,"authenticated":0,"rejected":0,"pool_free":0,"pool_used":0},` +
			`"slots":{"used":0,"resting":0,"free":0,"exhausted":6,"taken":9},"plain":{"tunnels":0,"resting":0,"free":0,"refused":0},"offload":{"packet":0,"crypto":0,"software":0,"refused":0,"moved":0,"lost":0},` +
			`"errors":{"inbox_full":1,"panics":2,"send":3,"kernel":4,"runts":5,"steering_restored":7,"steering_unrestored":8,"lost_sas":6,"lost_objects":4},"steering":null,"xfrm_stat":null}` + "\n"},
		{"GET", "/v1/tunnels/0", `400 {"error":"tunnel id \"0\" is not a number from 1 to 65535"}` + "\n"},
		{"GET", "/v1/tunnels?user=bob", `400 {"error":"unknown query parameter \"user\": GET /v1/tunnels knows no query"}` + "\n"},
		{"GET", "/v1/sessions?usr=bob", `400 {"error":"unknown query parameter \"usr\": GET /v1/sessions knows user"}` + "\n"},
		{"GET", "/v1/sessions?user=a&user=b", `400 {"error":"the query parameter user is there more than once"}` + "\n"},
		{"GET", "/v1/sessions?user=a;b", `400 {"error":"the query cannot be read: invalid semicolon separator in query"}` + "\n"},
		{"GET", "/v1/events", "200 []\n"},
		{"GET", "/v1/events?follow=0&since=3", "200 []\n"},
		{"GET", "/v1/events?since=-1", `400 {"error":"the query parameter since=-1 is not the number of an event"}` + "\n"},
		{"GET", "/v1/events?limit=0", `400 {"error":"the query parameter limit=0 is not a number from 1"}` + "\n"},
		{"GET", "/v1/events?follow=maybe", `400 {"error":"the query parameter follow=maybe is not 1 or 0"}` + "\n"},
		{"GET", "/v1/events?kind=x", `400 {"error":"unknown query parameter \"kind\": GET /v1/events knows since, limit, follow"}` + "\n"},
		{"DELETE", "/v1/events", `405 {"error":"/v1/events knows GET, not DELETE"}` + "\n"},
		{"POST", "/v1/tunnels", `405 {"error":"/v1/tunnels knows GET, not POST"}` + "\n"},
		{"PUT", "/v1/sessions/1-1", `405 {"error":"/v1/sessions/1-1 knows GET, DELETE, not PUT"}` + "\n"},
		{"POST", "/v1/tunnel", `404 {"error":"no such endpoint: POST /v1/tunnel"}` + "\n"},
		{"GET", "/", `404 {"error":"no such endpoint: GET /"}` + "\n"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, "http://x"+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); got != test.want || err != nil {
			t.Errorf("%s %s: %s, %v", test.method, test.path, got, err)
		}
		if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("content type %q", ct)
		}
	}
}

// A request that closes is logged when it is known what came of it.
func TestClosingIsLogged(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	h := Handler(sample(), Version{}, zap.New(core))
	for _, test := range []struct{ path, message string }{
		{"/v1/tunnels/16384", "tunnel closed on request"},
		{"/v1/tunnels/16399", "request to close a tunnel failed"},
		{"/v1/sessions/16384-2", "session closed on request"},
		{"/v1/sessions/garbage", "request to close a session failed"},
		{"/v1/sessions?user=alice", "session closed on request,session closed on request"},
		{"/v1/sessions?user=alice", "request to close a session failed"},
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, test.path, nil))
		var messages []string
		for _, e := range logs.TakeAll() {
			messages = append(messages, e.Message)
		}
		if got := strings.Join(messages, ","); got != test.message {
			t.Errorf("DELETE %s: logged %q, want %q", test.path, got, test.message)
		}
	}
}

func TestSessionsOfUser(t *testing.T) {
	m := sample()
	h := Handler(m, Version{}, zap.NewNop())
	for user, want := range map[string]int{"alice": 2, "bob": 1, "nobody": 0, "": 0} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/sessions?"+url.Values{"user": {user}}.Encode(), nil))
		var got []Session
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got == nil || len(got) != want {
			t.Errorf("%q: %d sessions, want %d: %s, %v", user, len(got), want, w.Body, err)
		}
	}
	if len(m.sessions) != 3 || m.sessions[1].User != "bob" {
		t.Errorf("the backend's own list was changed: %+v", m.sessions)
	}
}

func TestBackendErrors(t *testing.T) {
	for want, fail := range map[int]error{500: errors.New("netlink: no"), 504: context.DeadlineExceeded} {
		c := NewClient(serve(t, &memory{fail: fail}))
		_, err := c.Tunnels(t.Context())
		var e *Error
		if !errors.As(err, &e) || e.Status != want || e.Message != fail.Error() {
			t.Errorf("%v", err)
		}
		c.Close()
	}
}

// The names are a promise (DESIGN: what operators touch).
func TestNames(t *testing.T) {
	for want, v := range map[string]any{
		"id,peer_id,state,role,peer,peer_name,identity,nat_t,plain,local,ike_state,ike_auth,ike_proposal,esp_proposal,spi_in,spi_out,offload,sessions,uptime_seconds,rx_bytes,tx_bytes": Tunnel{},
		"id,tunnel_id,state,user,ip,ip6,peer,interface,mtu,auth,uptime_seconds,rx_bytes,tx_bytes,rate_limit,offload,calling_number":                                                     Session{},
		"configuration,changes,notes,warnings": Reload{},
		"effect,key,old,new":                   Change{},
		"seq,time,severity,kind,peer,user,cause,text,client_id,tunnel_id,session_id,client_kind,identity,hint,offered,allowed": Event{},
	} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(strings.NewReader(string(data)))
		var names []string
		for depth := 0; ; {
			tok, err := dec.Token()
			if err != nil {
				break
			}
			if d, ok := tok.(json.Delim); ok {
				if d == '{' {
					depth++
				}
				continue
			}
			names = append(names, fmt.Sprint(tok))
			if _, err := dec.Token(); err != nil { // the value
				t.Fatal(err)
			}
		}
		if got := strings.Join(names, ","); got != want {
			t.Errorf("\ngot  %s\nwant %s", got, want)
		}
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "control.sock")
	l, err := listening(t.Context(), path, fmt.Sprint(os.Getgid()))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := listening(t.Context(), path, ""); err == nil || !strings.Contains(err.Error(), "another daemon listens on") {
		t.Errorf("a second daemon: %v", err)
	}
	_ = l.Close()
	if l, err = listening(t.Context(), path, ""); err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	_ = l.Close()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listening(t.Context(), file, ""); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v", err)
	}
	if _, err := listening(t.Context(), path, "no-such-group"); err == nil || !strings.Contains(err.Error(), "groupadd --system no-such-group") {
		t.Errorf("an unknown group: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.sock"): "start the daemon (l2tpctl serve)",
		dead:                            "the daemon has died",
		dir:                             "is no socket: name that of the daemon",
	} {
		_, err := NewClient(path).Stats(t.Context())
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	c := NewClient(dead)
	if err := c.advise(&net.OpError{Op: "dial", Err: os.ErrPermission}); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "run this command as root") {
		t.Errorf("%v", err)
	}
}
