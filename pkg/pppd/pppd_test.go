package pppd

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func goodSession(t *testing.T) Session {
	t.Helper()
	socket, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return Session{
		Name: "SECRETNAME", Interface: "l2t16384-1", Socket: socket, TunnelID: 16384, SessionID: 7,
		LocalIP: netip.MustParseAddr("10.9.0.1"), Auth: AuthMSCHAPv2, Peer: netip.MustParseAddr("::ffff:192.0.2.1"),
		DNS: []netip.Addr{netip.MustParseAddr("10.9.0.53"), netip.MustParseAddr("10.9.0.54")},
	}
}

func TestArguments(t *testing.T) {
	s := goodSession(t)
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(s.argv("l2tpctl-l2t16384-1", "l2tpctl", configPath(s.Interface)), " ")
	want, err := os.ReadFile(filepath.Join("testdata", "arguments.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if flat := strings.Join(strings.Fields(string(want)), " "); got != flat {
		t.Errorf("arguments\n%s\nwant\n%s", got, flat)
	}
	if strings.Contains(got, s.Name) {
		t.Error("the session's name is in the arguments")
	}
}

func TestEcho(t *testing.T) {
	for interval, want := range map[time.Duration]string{0: "20", -1: "0", -time.Minute: "0", time.Minute: "60"} {
		s := goodSession(t)
		s.EchoInterval = interval
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		args := s.argv("m", "n", "c") // pppd takes 0 for none
		if got := args[slices.Index(args, "lcp-echo-interval")+1]; got != want {
			t.Errorf("%v: lcp-echo-interval %s, want %s", interval, got, want)
		}
	}
}

func TestAuthMethods(t *testing.T) {
	for auth, want := range map[Auth][]string{
		AuthPAP:                {"require-pap"},
		AuthCHAP:               {"require-chap"},
		AuthMSCHAPv2:           {"require-mschap-v2"},
		AuthPAP | AuthMSCHAPv2: {"require-mschap-v2", "require-pap"},
		authAll:                {"require-mschap-v2", "require-chap", "require-pap"},
	} {
		s := goodSession(t)
		s.Auth = auth
		args := s.argv("m", "n", "c")
		got := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return !strings.HasPrefix(a, "require-") })
		if !slices.Equal(got, want) || !slices.Contains(args, "auth") || !slices.Contains(args, "refuse-eap") {
			t.Errorf("%#x: %v in %v, want %v", auth, got, args, want)
		}
	}
}

func TestCheck(t *testing.T) {
	v6 := netip.MustParseAddr("2001:db8::1")
	for name, spoil := range map[string]func(s *Session){
		"no name":             func(s *Session) { s.Name = "" },
		"name with space":     func(s *Session) { s.Name = "a b" },
		"name with newline":   func(s *Session) { s.Name = "a\nauthserver 192.0.2.1" },
		"option as interface": func(s *Session) { s.Interface = "-x" },
		"path as interface":   func(s *Session) { s.Interface = "../x" },
		"dots as interface":   func(s *Session) { s.Interface = ".." },
		"long interface":      func(s *Session) { s.Interface = strings.Repeat("x", 16) },
		"no socket":           func(s *Session) { s.Socket = nil },
		"no tunnel":           func(s *Session) { s.TunnelID = 0 },
		"no session":          func(s *Session) { s.SessionID = 0 },
		"no address":          func(s *Session) { s.LocalIP = netip.Addr{} },
		"IPv6 address":        func(s *Session) { s.LocalIP = v6 },
		"IPv6 name server":    func(s *Session) { s.DNS = []netip.Addr{v6} },
		"three name servers":  func(s *Session) { s.DNS = append(s.DNS, s.DNS[0]) },
		"no method":           func(s *Session) { s.Auth = 0 },
		"unknown method":      func(s *Session) { s.Auth = 0x80 },
		"small MTU":           func(s *Session) { s.MTU = 100 },
		"large MRU":           func(s *Session) { s.MRU = 1501 },
		"short echo":          func(s *Session) { s.EchoInterval = time.Millisecond },
		"negative failures":   func(s *Session) { s.EchoFailure = -1 },
	} {
		s := goodSession(t)
		spoil(&s)
		if err := s.check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRadius(t *testing.T) {
	good := Radius{Server: netip.MustParseAddrPort("127.0.0.1:1812"), Secret: "0123456789abcdef"}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for _, r := range []Radius{
		{Secret: good.Secret},
		{Server: netip.MustParseAddrPort("[::1]:1812"), Secret: good.Secret},
		{Server: netip.MustParseAddrPort("127.0.0.1:0"), Secret: good.Secret},
		{Server: good.Server, Secret: "short"},
		{Server: good.Server, Secret: "white space in it"},
		{Server: good.Server, Secret: strings.Repeat("x", 49)},
	} {
		if err := r.check(); err == nil {
			t.Errorf("%v: accepted", r.Server)
		} else if r.Secret != "" && strings.Contains(err.Error(), r.Secret) {
			t.Errorf("the secret is in the error: %v", err)
		}
	}
	// radius.so reads lines into 512 octets, those of the dictionary and the servers' file into 256 and 128.
	for what, f := range map[string]struct {
		text string
		max  int
	}{
		"config":     {good.configFile(strings.Repeat("x", maxNameLen), "l2t16384-1"), 511},
		"dictionary": {dictionary, 255},
		"servers":    {Radius{Server: netip.MustParseAddrPort("127.127.127.127:1"), Secret: strings.Repeat("x", 48)}.serversFile(), 127},
	} {
		for line := range strings.Lines(f.text) {
			if len(line) > f.max || !strings.HasSuffix(line, "\n") {
				t.Errorf("%s: line %q is too long or open", what, line)
			}
		}
	}
}

func TestNewLauncherRefuses(t *testing.T) {
	good := LauncherConfig{
		Path: "/bin/sh", Marker: "l2tpctl", Radius: Radius{Server: netip.MustParseAddrPort("127.0.0.1:1812"), Secret: "0123456789abcdef"},
	}
	for name, spoil := range map[string]func(c *LauncherConfig){
		"relative path": func(c *LauncherConfig) { c.Path = "pppd" },
		"no program":    func(c *LauncherConfig) { c.Path = "/nonexistent/pppd" },
		"no marker":     func(c *LauncherConfig) { c.Marker = "" },
		"odd name":      func(c *LauncherConfig) { c.OurName = "a b" },
		"no RADIUS":     func(c *LauncherConfig) { c.Radius = Radius{} },
	} {
		c := good
		spoil(&c)
		if l, err := NewLauncher(c); err == nil {
			t.Errorf("%s: accepted", name)
			_ = l.Close(t.Context())
		}
	}
}

func TestExit(t *testing.T) {
	for ws, want := range map[syscall.WaitStatus]Exit{
		0:       {0, 0, "the peer ended the session"},
		11 << 8: {11, 0, "the peer failed to authenticate"},
		99 << 8: {99, 0, "pppd exited with status 99"},
		9:       {-1, syscall.SIGKILL, "pppd was ended by signal: killed"},
		0x7f:    {-1, 0, "pppd ended, its status is unknown"},
	} {
		if got := exitOf(ws); got != want {
			t.Errorf("exitOf(%#x) = %+v, want %+v", int(ws), got, want)
		}
	}
}

// TestPeerDead checks that a peer without answers is not taken for one that hung up.
func TestPeerDead(t *testing.T) {
	for _, tt := range []struct {
		line string
		code int
		want int
	}{
		{"No response to 3 echo-requests", ExitHangup, ExitHangup},
		{"Serial link appears to be disconnected.", ExitHangup, ExitPeerDead},
		{"Serial link appears to be disconnected.", ExitPeerDead, ExitPeerDead},
		{"Serial link appears to be disconnected.", ExitUserRequest, ExitUserRequest},
		{"Remote message: Serial link appears to be disconnected.", ExitHangup, ExitHangup},
	} {
		var p Process
		p.heard(tt.line)
		if got := p.ended(syscall.WaitStatus(tt.code << 8)); got.Code != tt.want || got.Reason != reasons[tt.want] {
			t.Errorf("%q, status %d: got %+v, want %d", tt.line, tt.code, got, tt.want)
		}
	}
}

func TestLines(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	run := func(in string) []string {
		var out []string
		var l lines
		l.begin(now)
		for b := range slices.Chunk([]byte(in), 7) { // wherever the octets are cut
			l.write(b, func() time.Time { return now }, func(l string) { out = append(out, l) })
		}
		l.end(func() time.Time { return now }, func(l string) { out = append(out, l) })
		return out
	}
	got := run("one\n\x1b[2Jtwo\xff\r\n\nWarning: couldn't open ppp database /var/run/pppd2.tdb\n" + strings.Repeat("x", 2000) + "\nno end")
	want := []string{"one", `\x1b[2Jtwo\xff`, strings.Repeat("x", maxLogLine), "no end"}
	if !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}

	if got := run(strings.Repeat("line\n", 10*logBurst)); len(got) != logBurst {
		t.Errorf("%d lines passed at once, want %d", len(got), logBurst)
	}

	var in strings.Builder
	for i := range logBurst + 9 {
		fmt.Fprintf(&in, "%d\n", i)
	}
	var out []string
	asked := 0
	var l lines
	l.begin(now)
	l.write([]byte(in.String()), func() time.Time {
		if asked++; asked > logBurst+5 { // once for each line
			now = now.Add(logRefill)
			asked = 0
		}
		return now
	}, func(l string) { out = append(out, l) })
	if last := out[len(out)-1]; len(out) != logBurst+1 || last != fmt.Sprintf("%d (5 lines before it dropped)", logBurst+5) {
		t.Errorf("%d lines, the last %q", len(out), last)
	}
	l.write([]byte("nobody listens\n"), time.Now, nil)
}

func TestMarkerOf(t *testing.T) {
	for cmdline, want := range map[string]string{
		"/usr/sbin/pppd\x00nodetach\x00ipparam\x00l2tpctl-l2t16384-1\x00": "l2tpctl-l2t16384-1",
		"pppd\x00ipparam\x00other\x00":                                    "",
		"pppd\x00ipparam\x00":                                             "",
		"pppd\x00":                                                        "",
		"vi\x00ipparam\x00l2tpctl-x\x00":                                  "",
		"":                                                                "",
	} {
		if got, ok := markerOf([]byte(cmdline), "l2tpctl-"); got != want || ok != (want != "") {
			t.Errorf("markerOf(%q) = %q, %v, want %q", cmdline, got, ok, want)
		}
	}
	if _, err := FindStrays(""); err == nil {
		t.Error("FindStrays with an empty marker succeeded")
	}
	if got, err := FindStrays("no-such-marker"); err != nil || len(got) != 0 {
		t.Errorf("FindStrays = %v, %v, want none", got, err)
	}
}
