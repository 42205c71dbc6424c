//go:build kernel

package ppp

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
)

// TestConfinement looks at what a pppd could do if it were taken over.
func TestConfinement(t *testing.T) {
	b := newBench(t)
	l := b.connect(all, "alice", "wonderland")
	next[aaa.Started](b, l)
	proc := "/proc/" + strconv.Itoa(l.server.PID)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"CapPrm:\t0000000000001000\n", "CapEff:\t0000000000001000\n", "CapBnd:\t0000000000001000\n", "CapInh:\t0000000000000000\n", "NoNewPrivs:\t1\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status of pppd lacks %q:\n%s", want, status)
		}
	}
	mounts, err := os.ReadFile(proc + "/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		private := f[2] == "tmpfs" && (f[1] == "/etc/ppp" || f[1] == "/run")
		if !private && !slices.Contains(strings.Split(f[3], ","), "ro") && f[1] != "/run" && !strings.HasPrefix(f[1], "/run/") && f[1] != "/etc/ppp" {
			t.Errorf("pppd can write to %s", strings.TrimSpace(line))
		}
	}
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, _ := os.Readlink(proc + "/fd/" + fd.Name())
		t.Logf("descriptor %s: %s", fd.Name(), target)
		if n, _ := strconv.Atoi(fd.Name()); n > 20 {
			t.Errorf("pppd inherited descriptor %s: %s", fd.Name(), target)
		}
	}
	cmdline, err := os.ReadFile(proc + "/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	environ, err := os.ReadFile(proc + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{b.aaa.Secret(), l.nas, "wonderland"} {
		if bytes.Contains(append(cmdline, environ...), []byte(secret)) {
			t.Error("a secret is in the arguments or the environment")
		}
	}
	t.Logf("%q", bytes.Split(cmdline, []byte{0}))
	limits, err := os.ReadFile(proc + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(limits), "Max core file size        0                    0 ") {
		t.Errorf("pppd may dump core:\n%s", limits)
	}
}
