package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/doctor"
)

func init() { time.Local = time.FixedZone("CET", 3600) } // so that tables are the same everywhere

var rewrite = flag.Bool("rewrite", false, "write the golden files")

// daemon is one whose world stands still.
func daemon(t *testing.T) (socket string, b *still) {
	t.Helper()
	b = &still{}
	return serve(t, b), b
}

func serve(t *testing.T, b control.Backend) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "c.sock")
	file, err := control.Open(t.Context(), socket, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := control.ListenOn(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, b, control.Version{}, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return socket
}

type result struct {
	code     int
	out, err string
}

func run(t *testing.T, env Env, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	env.Out, env.Err = &out, &errs
	env.Version = control.Version{Version: "v1.2.3", Revision: "abcdef", Go: "go1.26", Platform: "linux/amd64"}
	code := Run(t.Context(), env, args)
	return result{code, out.String(), errs.String()}
}

func TestGolden(t *testing.T) {
	socket, _ := daemon(t)
	for _, test := range []struct {
		name     string
		terminal bool
		args     string
	}{
		{"tunnel-list", true, "tunnel list"},
		{"tunnel-list-pipe", false, "tunnel list"},
		{"tunnel-list-wide", false, "tunnel list -o wide"},
		{"tunnel-list-json", true, "tunnel list -o json"},
		{"tunnel-list-csv", true, "tunnel list -o csv"},
		{"tunnel-show", true, "tunnel show 16384"},
		{"tunnel-show-pipe", false, "tunnel show 16384"},
		{"session-list", true, "session list --sort id"},
		{"session-list-by-address", false, "session list -o table --sort=-ip --columns user,ip,uptime,rx_bytes"},
		{"session-list-match", true, "session list --match state=estab* --match user!=bob"},
		{"session-list-text", true, "session list --match BOB --columns id,user -o json"},
		{"session-list-none", true, "session list --match user=nobody"},
		{"session-show-json", true, "session show 16384-2 -o json --columns id,ip"},
		{"sa-list", true, "sa list"},
		{"sa-list-wide", true, "sa list -o wide"},
		{"events", true, "events"},
		{"events-pipe", false, "events"},
		{"events-wide", true, "events -o wide"},
		{"events-json", true, "events --since 2 -o json --columns seq,time,severity,kind,user,cause,hint"},
		{"events-csv", true, "events -o csv --match kind=client_failed"},
		{"events-columns", true, "events --columns time,cause --sort=-time --match severity=warning"},
		{"events-follow", true, "events --follow"},
		{"events-follow-match", true, "events -f --match severity=warning --since 2"},
		{"events-follow-pipe", false, "events -f --match severity=info"},
		{"events-follow-json", false, "events -f -o json"},
		{"events-follow-csv", false, "events -f -o csv --columns seq,user,text"},
		{"stats", true, "stats"},
		{"stats-json", false, "stats -o json"},
		{"stats-match", false, "stats --match name=ike.drops.*"},
		{"version", true, "version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, Env{Terminal: test.terminal}, append(strings.Fields(test.args), "--socket", socket)...)
			if got.code != 0 || got.err != "" {
				t.Fatalf("%+v", got)
			}
			file := filepath.Join("testdata", test.name+".golden")
			if *rewrite {
				if err := os.WriteFile(file, []byte(got.out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.out); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	socket, _ := daemon(t)
	for _, test := range []struct {
		args string
		code int
		err  string
	}{
		{"tunnel list --socket /nonexistent/c.sock", ExitUnreachable, "start the daemon (l2tpctl serve)"},
		{"tunnel list --columns colour --socket /nonexistent/c.sock", ExitUsage, `unknown column "colour"; there are id, peer_id,`},
		{"tunnel list --sort colour", ExitUsage, "unknown column"},
		{"tunnel list --match colour=red", ExitUsage, "unknown column"},
		{"tunnel list -o xml", ExitUsage, `unknown output format "xml"; there are table, wide, json, csv`},
		{"tunnel list extra", ExitUsage, `unknown command "extra"`},
		{"stats --match XfrmInError", ExitOK, "no counter matches; those of xfrm_stat and drops are left out as long as they are zero"},
		{"events --follow --socket /nonexistent/c.sock", ExitUnreachable, "start the daemon (l2tpctl serve)"},
		{"events --follow --sort time", ExitUsage, "it goes without --sort"},
		{"events --since yesterday", ExitUsage, "invalid argument"},
		{"events --columns colour", ExitUsage, "unknown column"},
		{"events -f --match colour=red", ExitUsage, "unknown column"},
		{"tunnel lst", ExitUsage, "unknown command \"lst\"\nTry: l2tpctl tunnel --help"},
		{"tunnel", ExitUsage, "l2tpctl: which command? l2tpctl tunnel needs one of those above\n"},
		{"", ExitUsage, "l2tpctl: which command? l2tpctl needs one of those above\n"},
		{"tunnnel", ExitUsage, "unknown command"},
		{"--nonsense", ExitUsage, "unknown flag"},
		{"tunnel show 0", ExitUsage, "is not the id of a tunnel"},
		{"tunnel show", ExitUsage, "accepts 1 arg"},
		{"tunnel show 17000", ExitFailure, "tunnel 17000: not found"},
		{"tunnel close 16384 x", ExitUsage, "is not the id of a tunnel"},
		{"tunnel close 16385", ExitFailure, "l2tpctl: tunnel 16385: not found\n"},
		{"session show garbage", ExitUsage, `"garbage" is not the id of a session: tunnel id, "-", number, such as 16384-1`},
		{"session disconnect 16384-1 16384", ExitUsage, `"16384" is not the id of a session`},
		{"session show 0-1", ExitUsage, "is not the id of a session"},
		{"session show 16384-7", ExitFailure, `l2tpctl: session "16384-7": not found`},
		{"session disconnect 16385-1", ExitFailure, `l2tpctl: session "16385-1": not found`},
		{"tunnel list --socket /etc/passwd", ExitUnreachable, "/etc/passwd is no socket"},
		{"session disconnect", ExitUsage, "either ids of sessions or --user NAME"},
		{"session disconnect 1 --user x", ExitUsage, "either ids of sessions or --user NAME"},
		{"session disconnect --user nobody", ExitFailure, `sessions of user "nobody": not found`},
		{"check -c /nonexistent.yaml", ExitFailure, "no such file"},
		{"serve -c /nonexistent.yaml", ExitFailure, "no such file or directory: create it (see configs/l2tpctl.reference.yaml and docs/configuration.md), or name another with -c"},
	} {
		args := strings.Fields(test.args)
		if !slices.Contains(args, "--socket") {
			args = append(args, "--socket", socket)
		}
		got := run(t, Env{}, args...)
		if got.code != test.code || !strings.Contains(got.err, test.err) {
			t.Errorf("%s: %+v, want %d, %s", test.args, got, test.code, test.err)
		}
	}
	if got := run(t, Env{}); got.out != "" || strings.Contains(got.err, "Try:") || !strings.Contains(got.err, "Available Commands:") {
		t.Errorf("no command: %+v", got)
	}
	if got := run(t, Env{}, "--version"); got != (result{0, "l2tpctl v1.2.3\n", ""}) {
		t.Errorf("%+v", got)
	}
	if got := run(t, Env{}, "--help"); got.code != 0 || !strings.Contains(got.out, "session") {
		t.Errorf("%+v", got)
	}
}

// endless is a backend that always has one more event to come.
type endless struct{ *still }

func (endless) NextEvents(ctx context.Context, _ uint64) ([]control.Event, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// signalled is an output whose reader has enough when it has seen a word.
type signalled struct {
	bytes.Buffer
	word string
	stop context.CancelFunc
}

func (s *signalled) Write(b []byte) (int, error) {
	n, err := s.Buffer.Write(b)
	if strings.Contains(s.String(), s.word) {
		s.stop()
	}
	return n, err
}

// The operator's SIGINT is the end of --follow, and no failure.
func TestFollowUntilInterrupted(t *testing.T) {
	socket := serve(t, endless{&still{}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, errs := &signalled{word: "auth_rejected", stop: cancel}, &bytes.Buffer{}
	code := Run(ctx, Env{Out: out, Err: errs}, []string{"events", "-f", "-o", "csv", "--columns", "kind", "--socket", socket})
	if want := "kind\ndaemon_started\nclient_failed\nsession_up\nauth_rejected\n"; code != ExitOK || out.String() != want || errs.Len() != 0 {
		t.Errorf("%d, %q, %q", code, out.String(), errs.String())
	}
}

func TestClosing(t *testing.T) {
	socket, b := daemon(t)
	for args, want := range map[string]string{
		"tunnel close 16384":                  "closed tunnel 16384\n",
		"session disconnect 16384-10 16384-2": "closed session 16384-10\nclosed session 16384-2\n",
		"session disconnect --user alice":     "closed session 16384-10\n",
	} {
		got := run(t, Env{}, append(strings.Fields(args), "--socket", socket)...)
		if got != (result{0, want, ""}) {
			t.Errorf("%s: %+v", args, got)
		}
	}
	if len(b.closed) != 4 {
		t.Errorf("closed: %q", b.closed)
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	env := Env{Describe: func(cfg *config.Config) ([]string, error) {
		if cfg.IKE.Profile == config.ProfileLegacy {
			return nil, errors.New("the engine does not want it")
		}
		return []string{"profile: compatible", "pfs: none"}, nil
	}}
	good := file(t, config.Minimal)
	if got := run(t, env, "check", "-c", good); got != (result{0, good + ": configuration is valid\nprofile: compatible\npfs: none\n", ""}) {
		t.Errorf("%+v", got)
	}
	short := file(t, "ike: {psk: short}\npool: 10.0.0.0/24\nusers: [{name: a, password: b}]\n")
	if got := run(t, env, "check", "-c", short); got.code != 0 || !strings.HasPrefix(got.err, "warning: "+short+":1:12: ike.psk: the pre-shared key has 5 characters") {
		t.Errorf("%+v", got)
	}
	bad := file(t, "ike: {psk: \"\"}\npool: 10.0.0.0/24\nusers: [{name: a, password: b}]\n")
	if got := run(t, env, "check", "-c", bad); got != (result{1, "", bad + ":1:12: ike.psk: found an empty string, expected at least one character\n"}) {
		t.Errorf("%+v", got)
	}
	refused := file(t, "ike: {psk: 0123456789012345678901234, profile: legacy}\npool: 10.0.0.0/24\nusers: [{name: a, password: b}]\n")
	if got := run(t, env, "check", "-c", refused); got.code != 1 || got.out != "" || !strings.HasSuffix(got.err, refused+": the engine does not want it\n") {
		t.Errorf("%+v", got)
	}
}

func TestServe(t *testing.T) {
	path := file(t, strings.Replace(config.Minimal, "replace-this-by-a-long-random-string", "short", 1)+"log: {format: json}\n")
	var seen *config.Config
	serve := func(_ context.Context, s Service) error {
		seen = s.Config
		s.Log.Info("serving", zap.Any("ike", s.Config.IKE))
		return errors.New("address in use\x1b")
	}
	got := run(t, Env{Serve: serve}, "serve", "-c", path, "--socket", "/tmp/elsewhere.sock")
	if got.code != ExitFailure || got.out != "" || !strings.HasSuffix(got.err, "l2tpctl: address in use\\x1b\n") {
		t.Errorf("%+v", got)
	}
	if strings.Contains(got.err, `"short"`) || !strings.Contains(got.err, `"level":"warn"`) || !strings.Contains(got.err, "(hidden)") {
		t.Errorf("log: %s", got.err)
	}
	if seen.Control.Socket != "/tmp/elsewhere.sock" {
		t.Errorf("socket %s", seen.Control.Socket)
	}
}

func TestErrorOfTwoLines(t *testing.T) {
	serve := func(context.Context, Service) error {
		return errors.New("this machine cannot run the concentrator:\n  esp4: missing\x1b; modprobe esp4")
	}
	got := run(t, Env{Serve: serve}, "serve", "-c", file(t, config.Minimal))
	if want := "l2tpctl: this machine cannot run the concentrator:\n  esp4: missing\\x1b; modprobe esp4\n"; got != (result{ExitFailure, "", want}) {
		t.Errorf("%+v", got)
	}
}

func TestDoctor(t *testing.T) {
	findings := []doctor.Finding{{Status: doctor.OK, Name: "kernel", Detail: "6.12.107"}, {Status: doctor.Warn, Name: "ports", Detail: "not reserved", Fix: "sysctl"}}
	env := Env{Terminal: true, Doctor: func(context.Context, *config.Config) []doctor.Finding { return findings }}
	want := "STATUS   NAME    DETAIL        FIX\nok       kernel  6.12.107      -\nwarning  ports   not reserved  sysctl\n2 checks\n"
	path := file(t, config.Minimal)
	if got := run(t, env, "doctor", "-c", path); got != (result{0, want, ""}) {
		t.Errorf("%+v", got)
	}
	findings[0].Status = doctor.Fail
	if got := run(t, env, "doctor", "-c", path); got.code != ExitFailure || got.err != "" {
		t.Errorf("%+v", got)
	}
}

// A binary that was built outside of a repository says nothing about one.
func TestVersionWithoutRepository(t *testing.T) {
	var out bytes.Buffer
	code := Run(t.Context(), Env{Out: &out, Err: &out, Version: control.Version{Version: "v1", Go: "go1.26", Platform: "linux/amd64"}}, []string{"version", "-o", "table"})
	if want := "VERSION   v1\nGO        go1.26\nPLATFORM  linux/amd64\n"; code != 0 || out.String() != want {
		t.Errorf("%d, %s", code, out.String())
	}
}
