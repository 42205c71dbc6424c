package cli

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

func TestReload(t *testing.T) {
	socket, b := daemon(t)
	const said = "warning: /etc/c.yaml:1:2: ike.psk: short\n" +
		"note: evil\\x1b: removed; session 16384-1 goes on until it ends: l2tpctl session disconnect 16384-1\n"
	const table = "EFFECT     KEY              OLD          NEW\n" +
		"now        ike.psk          -            changed\n" +
		"now        users[evil\\x1b]  -            removed\n" +
		"reconnect  ppp.mtu          1400         1300\n" +
		"restart    listen           0.0.0.0, ::  192.0.2.1\n4 changes\n"
	if got := run(t, Env{Terminal: true}, "--socket", socket, "reload"); got != (result{0, table, said}) {
		t.Errorf("%+v\nwant %q", got, table)
	}
	got := run(t, Env{}, "--socket", socket, "reload", "-o", "json", "--match", "effect=restart")
	if want := "[\n  {\n    \"effect\": \"restart\",\n    \"key\": \"listen\",\n    \"old\": \"0.0.0.0, ::\",\n    \"new\": \"192.0.2.1\"\n  }\n]\n"; got != (result{0, want, said}) {
		t.Errorf("%+v", got)
	}
	b.refusal = &control.Error{Status: http.StatusUnprocessableEntity, Message: "c.yaml:1:2: pool: found \x1b\nc.yaml:3:4: users: found that"}
	got = run(t, Env{Terminal: true}, "--socket", socket, "reload")
	if want := "c.yaml:1:2: pool: found \\x1b\nc.yaml:3:4: users: found that\nl2tpctl: the configuration cannot be used, and nothing was changed\n"; got != (result{ExitFailure, "", want}) {
		t.Errorf("%+v", got)
	}
	b.refusal = errors.New("the daemon is being stopped")
	if got = run(t, Env{}, "--socket", socket, "reload"); got != (result{ExitFailure, "", "l2tpctl: the daemon is being stopped\n"}) {
		t.Errorf("%+v", got)
	}
	if got = run(t, Env{}, "--socket", socket, "reload", "now"); got.code != ExitUsage {
		t.Errorf("%+v", got)
	}
	if got = run(t, Env{}, "--socket", filepath.Join(t.TempDir(), "none"), "reload"); got.code != ExitUnreachable {
		t.Errorf("%+v", got)
	}
}

// TestServeLoadsAgain: what a daemon is given reads the same file with the same overriding flag, and changes the level of its log.
func TestServeLoadsAgain(t *testing.T) {
	path := file(t, config.Minimal)
	serve := func(_ context.Context, s Service) error {
		if err := os.WriteFile(path, []byte(config.Minimal+"log: {level: debug}\ncontrol: {socket: /run/other.sock}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := s.Load()
		if err != nil || again.Log.Level != "debug" || again.Control.Socket != "/tmp/elsewhere.sock" {
			t.Errorf("%+v, %v", again, err)
		}
		s.Log.Debug("before")
		s.SetLevel("debug")
		s.Log.Debug("after")
		s.SetLevel("error")
		s.Log.Warn("late")
		return nil
	}
	got := run(t, Env{Serve: serve}, "serve", "-c", path, "--socket", "/tmp/elsewhere.sock")
	if strings.Contains(got.err, "before") || !strings.Contains(got.err, "after") || strings.Contains(got.err, "late") {
		t.Errorf("log: %s", got.err)
	}
}
