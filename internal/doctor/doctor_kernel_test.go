//go:build kernel

package doctor

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// TestThisMachine checks the kernel that the test runs on. Set DOCTOR_EXPECT to "able" or "no-esp" to say what it is.
func TestThisMachine(t *testing.T) {
	start := time.Now()
	findings := Check(t.Context(), Options{})
	t.Logf("took %v", time.Since(start))
	status := map[string]Finding{}
	for _, f := range findings {
		t.Logf("%-8s %-35s %s | %s", f.Status, f.Name, f.Detail, f.Fix)
		status[f.Name] = f
		if f.Name == "" || f.Detail == "" || f.Status != OK && f.Fix == "" {
			t.Errorf("incomplete finding %+v", f)
		}
	}
	switch os.Getenv("DOCTOR_EXPECT") {
	case "able":
		for _, name := range []string{"kernel", "CAP_NET_ADMIN", "xfrm_user", "esp4", "esp6", "esp4_offload", "cbc(aes)", "hmac(sha512)", "rfc4106(gcm(aes))", "cbc(des3_ede)", "authencesn", "l2tp_netlink", "l2tp_ppp", "ppp_generic", "nf_tables", "steering table", "pppd", "pppol2tp.so", "radius.so", "UDP port 500"} {
			if f := status[name]; f.Status != OK {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if err := Required(findings); err != nil {
			t.Error(err)
		}
	case "no-esp":
		err := Required(findings)
		for _, name := range []string{"esp4", "esp6", "l2tp_netlink", "l2tp_ppp", "ppp_generic"} {
			if f := status[name]; f.Status != Fail || !strings.Contains(f.Fix, "linux-image") || !strings.Contains(f.Fix, "kernel-modules") {
				t.Errorf("%s: %+v", name, f)
			}
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("the error does not name %s: %v", name, err)
			}
		}
	}
	// The probes must leave nothing behind.
	if present, err := steering.Present(steering.DefaultConfig()); err != nil || present {
		t.Errorf("steering table is present: %v, %v", present, err)
	}
}

// Load may fail wherever modules are built in or cannot be loaded; it must say which.
func TestLoad(t *testing.T) {
	err := Load(t.Context())
	t.Log(err)
	if os.Getenv("DOCTOR_EXPECT") == "no-esp" && (err == nil || !strings.Contains(err.Error(), "esp4: ") || !strings.Contains(err.Error(), "ppp_generic: ")) {
		t.Errorf("Load = %v", err)
	}
}

func TestPortHolderIsNamed(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet6{Port: 4500}); err != nil {
		t.Fatal(err)
	}
	for _, f := range checkPorts(t.Context(), Options{}, realProbes()) {
		want := OK
		if f.Name == "UDP port 4500" {
			want = Fail
		}
		if f.Status != want || want == Fail && !strings.Contains(f.Detail, "(pid ") {
			t.Errorf("%+v", f)
		}
	}
}
