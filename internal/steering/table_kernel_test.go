//go:build kernel

package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
)

// newNamespace moves the test into a fresh network namespace for good: its thread is thrown away with it.
func newNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace (needs root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func wantPresent(t *testing.T, cfg Config, want bool, why string) {
	t.Helper()
	got, err := Present(cfg)
	if err != nil || got != want {
		t.Fatalf("Present = %v, %v, want %v: %s", got, err, want, why)
	}
}

func TestInstallReadRemove(t *testing.T) {
	newNamespace(t)
	cfg := DefaultConfig()
	wantPresent(t, cfg, false, "nothing installed")
	if err := Remove(cfg); err != nil {
		t.Fatalf("Remove of an absent table: %v", err)
	}
	if _, err := Read(cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Read of an absent table: %v", err)
	}

	// A stale table of the same name, and a table that is not ours.
	run(t, "nft", "add table inet l2tpctl; add chain inet l2tpctl stale { type filter hook input priority 0; policy drop; }; add table inet other")
	wantPresent(t, cfg, false, "stale table")
	for range 2 {
		if err := Install(cfg); err != nil {
			t.Fatal(err)
		}
		wantPresent(t, cfg, true, "installed")
	}
	list := run(t, "nft", "list", "ruleset")
	if strings.Contains(list, "stale") || !strings.Contains(list, "table inet other") {
		t.Errorf("the stale table is still there or the foreign one is gone:\n%s", list)
	}
	if os.Getenv("STEERING_SHOW") != "" {
		t.Log(list)
	}
	if c, err := Read(cfg); err != nil || c != (Counters{}) {
		t.Errorf("Read = %+v, %v, want zeros", c, err)
	}

	run(t, "nft", "flush chain inet l2tpctl l2tp")
	wantPresent(t, cfg, false, "rules flushed")
	if err := Install(cfg); err != nil {
		t.Fatal(err)
	}
	wantPresent(t, cfg, true, "repaired")
	run(t, "nft", "flush", "ruleset")
	wantPresent(t, cfg, false, "ruleset flushed")
	if err := Install(cfg); err != nil {
		t.Fatal(err)
	}
	if err := Remove(cfg); err != nil {
		t.Fatal(err)
	}
	wantPresent(t, cfg, false, "removed")
}

func TestInstallKeepsCounters(t *testing.T) {
	newNamespace(t)
	run(t, "ip", "link", "set", "lo", "up")
	cfg := Config{Table: "other-name"}
	if err := Install(cfg); err != nil {
		t.Fatal(err)
	}
	sendPlain(t, 3)
	want := Counter{Packets: 3, Bytes: 3 * (20 + 8 + 12)}
	eventually(t, "everything is counted", func() (string, bool) {
		c, err := Read(cfg)
		return fmt.Sprintf("%+v, %v", c, err), err == nil && c.PlainL2TP.Packets == want.Packets
	})
	for range 2 {
		c, err := Read(cfg)
		if err != nil || c.PlainL2TP != want {
			t.Fatalf("Read = %+v, %v, want plain_l2tp %+v", c, err, want)
		}
		if err := Install(cfg); err != nil {
			t.Fatal(err)
		}
	}
}
