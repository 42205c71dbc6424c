package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// machine is one on which all is well, with its files in a directory of the test.
func machine(t *testing.T) probes {
	t.Helper()
	p := probes{
		root:           t.TempDir(),
		uname:          func() (string, string) { return "6.12.107", "" },
		capabilities:   func() uint64 { return math.MaxUint64 },
		xfrmSocket:     func() error { return nil },
		addSA:          func(bool, algorithm) error { return nil },
		l2tpFamily:     func() error { return nil },
		pppol2tpSocket: func() error { return nil },
		devPPP:         func() error { return nil },
		nftables:       func() error { return nil },
		steering:       func(steering.Config) error { return nil },
		tablePresent:   func(steering.Config) (bool, error) { return true, nil },
		loopbackUp:     func() (bool, error) { return true, nil },
		lookPath:       func(string) (string, error) { return "/usr/sbin/pppd", nil },
		pppdVersion:    func(string) (string, error) { return "2.5.2", nil },
		groForwarding:  func() ([]string, error) { return nil, nil },
	}
	for name, text := range map[string]string{
		"/usr/lib/pppd/2.5.2/pppol2tp.so":            "",
		"/usr/lib/pppd/2.5.2/radius.so":              "",
		"/proc/sys/net/ipv4/ip_forward":              "1\n",
		"/proc/sys/net/core/netdev_max_backlog":      "10000\n",
		"/proc/sys/net/ipv4/ip_local_port_range":     "32768\t60999\n",
		"/proc/sys/net/ipv4/ip_local_reserved_ports": "\n",
		"/lib/modules/6.12.107/modules.builtin":      "kernel/net/ipv4/esp4_offload.ko\n",
		"/sys/module/esp6_offload/initstate":         "live\n",
		"/etc/modprobe.d/other.conf":                 "# blacklist l2tp_ppp\nblacklist pcspkr\n",
		"/proc/thread-self/net/udp":                  udpHeader + "  1: 0100007F:01F5 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 77 2 0 0\n",
	} {
		put(t, p, name, text)
	}
	return p
}

// lacs are peers without IPsec.
var lacs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}

const udpHeader = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"

func put(t *testing.T, p probes, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAllIsWell(t *testing.T) {
	findings := check(t.Context(), Options{}, machine(t))
	for _, f := range findings {
		if f.Status != OK || f.Fix != "" || f.Detail == "" {
			t.Errorf("%+v", f)
		}
	}
	if err := Required(findings); err != nil {
		t.Error(err)
	}
	if len(findings) < 25 {
		t.Errorf("only %d findings", len(findings))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := check(ctx, Options{}, machine(t)); got != nil {
		t.Errorf("a cancelled check found %+v", got)
	}
}

// Each row breaks one thing and says which findings tell of it: status, name, parts of detail and fix.
func TestWhatIsMissing(t *testing.T) {
	missing := func(errno error) func() error {
		return func() error { return fmt.Errorf("try it: %w", errno) }
	}
	for _, c := range []struct {
		name    string
		options Options
		change  func(*testing.T, *probes)
		want    []string // "status name: detail; fix", both by parts
	}{
		{"no ESP for IPv4", Options{}, func(_ *testing.T, p *probes) {
			p.addSA = func(v6 bool, _ algorithm) error {
				if !v6 {
					return fmt.Errorf("add: %w", unix.EPROTONOSUPPORT)
				}
				return nil
			}
		}, []string{"failure esp4: add:; install the modules of kernel 6.12.107|modprobe esp4|linux-image|kernel-modules"}},
		{"ESP without SHA-384", Options{}, func(_ *testing.T, p *probes) {
			p.addSA = func(_ bool, a algorithm) error {
				if a.name == "hmac(sha384)" {
					return unix.ENOSYS
				}
				return nil
			}
		}, []string{"warning hmac(sha384): function not implemented; sha512_generic"}},
		{"ESP without 3DES and ESN", Options{}, func(_ *testing.T, p *probes) {
			p.addSA = func(_ bool, a algorithm) error {
				if strings.Contains("cbc(des3_ede) authencesn", a.name) {
					return unix.ENOSYS
				}
				return nil
			}
		}, []string{"warning cbc(des3_ede): function not implemented; des_generic", "warning authencesn: ; authencesn"}},
		{"ESP without SHA-1", Options{}, func(_ *testing.T, p *probes) {
			p.addSA = func(_ bool, a algorithm) error {
				if strings.Contains("cbc(aes) hmac(sha1)", a.name) {
					return unix.ENOSYS
				}
				return nil
			}
		}, []string{"failure cbc(aes): ; aes_generic", "failure hmac(sha1): ; sha1_generic"}},
		{"no XFRM", Options{}, func(_ *testing.T, p *probes) { p.xfrmSocket = missing(unix.EPROTONOSUPPORT) },
			[]string{"failure xfrm_user: protocol not supported; modprobe xfrm_user", "failure esp4: not checked; esp4", "failure esp6: not checked; esp6"}},
		{"not root", Options{}, func(_ *testing.T, p *probes) {
			p.capabilities = func() uint64 { return 0 }
			p.nftables = missing(unix.EPERM)
			p.devPPP = missing(unix.EACCES)
			p.lookPath = func(string) (string, error) {
				return "", &exec.Error{Name: "/usr/sbin/pppd", Err: fs.ErrPermission}
			}
		}, []string{
			"failure CAP_NET_ADMIN: not held; run as root", "warning CAP_NET_RAW: not held; run as root",
			"failure CAP_NET_BIND_SERVICE: not held; AmbientCapabilities=CAP_NET_BIND_SERVICE", "failure CAP_SYS_ADMIN: not held: the mount namespace; run as root",
			"failure CAP_SYS_CHROOT: not held: entering the mount namespace; run as root",
			"warning ppp_generic: not checked; run as root", "warning nf_tables: not checked; run as root",
			"warning pppd: this user may not run it; run as root",
		}},
		{"port 500 for everybody", Options{}, func(t *testing.T, p *probes) {
			p.capabilities = func() uint64 {
				return 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_CHROOT
			}
			put(t, *p, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "500\n")
		}, nil},
		{"table lost", Options{Serving: true}, func(_ *testing.T, p *probes) {
			p.tablePresent = func(steering.Config) (bool, error) { return false, nil }
		}, []string{"failure installed table: missing or was changed; restart the daemon|nft flush ruleset"}},
		{"table not to be seen", Options{Serving: true}, func(_ *testing.T, p *probes) {
			p.tablePresent = func(steering.Config) (bool, error) { return false, unix.EPERM }
		}, []string{"warning installed table: not checked; run as root"}},
		{"table there", Options{Serving: true}, nil, nil},
		{"module installed, not loaded", Options{}, func(t *testing.T, p *probes) {
			p.l2tpFamily = missing(unix.ENOENT)
			put(t, *p, "/lib/modules/6.12.107/modules.dep", "kernel/net/l2tp/l2tp_netlink.ko.xz: kernel/net/l2tp/l2tp_core.ko.xz\n")
		}, []string{"failure l2tp_netlink: no such file; modprobe l2tp_netlink and see dmesg|kernel-modules-extra"}},
		{"no PPPoL2TP, no PPP", Options{}, func(_ *testing.T, p *probes) {
			p.pppol2tpSocket, p.devPPP = missing(unix.EPROTONOSUPPORT), missing(unix.ENODEV)
		}, []string{"failure l2tp_ppp: ; kernel-modules-extra", "failure ppp_generic: ; modprobe ppp_generic"}},
		{"no fib expression", Options{}, func(_ *testing.T, p *probes) {
			p.steering = func(steering.Config) error { return unix.ENOENT }
		}, []string{"failure steering table: no such file; nft_fib_inet"}},
		{"no offload", Options{}, func(_ *testing.T, p *probes) { p.uname = func() (string, string) { return "6.12.108", "" } },
			[]string{"warning esp4_offload: not loaded; esp4_offload"}},
		{"no pppd", Options{}, func(_ *testing.T, p *probes) {
			p.lookPath = func(string) (string, error) { return "", os.ErrNotExist }
		}, []string{"failure pppd: not found; install the package ppp"}},
		{"old pppd without plugins", Options{PPPD: "/opt/pppd"}, func(t *testing.T, p *probes) {
			p.pppdVersion = func(string) (string, error) { return "2.4.8", nil }
			if err := os.Remove(p.path("/usr/lib/pppd/2.5.2/radius.so")); err != nil {
				t.Fatal(err)
			}
		}, []string{"failure pppd: CVE-2020-8597; upgrade", "failure pppol2tp.so: pppd is version 2.4.8; of the same version", "failure radius.so: not found in /usr/lib/pppd/2.4.8; install"}},
		{"pppd says nothing", Options{}, func(_ *testing.T, p *probes) {
			p.pppdVersion = func(string) (string, error) { return "", errors.New("exit status 1") }
		}, []string{"failure pppd: exit status 1; install"}},
		{"sysctls", Options{}, func(t *testing.T, p *probes) {
			put(t, *p, "/proc/sys/net/ipv4/ip_forward", "0\n")
			put(t, *p, "/proc/sys/net/core/netdev_max_backlog", "1000\n")
			put(t, *p, "/proc/sys/net/ipv4/ip_local_port_range", "32000\t60999\n")
			put(t, *p, "/proc/sys/net/ipv4/ip_local_reserved_ports", "8080,32000-32766,x-y\n")
		}, []string{"warning net.ipv4.ip_forward: 0; sysctl -w", "warning net.core.netdev_max_backlog: 1000; 10000", "warning net.ipv4.ip_local_reserved_ports: 1 of the clients' ports 16384-32767; =16384-32767"}},
		{"ports of another block", Options{Steering: steering.Config{PortBase: 0x8000, PortMask: 0xf000}}, nil,
			[]string{"warning net.ipv4.ip_local_reserved_ports: 4096 of the clients' ports 32768-36863; sysctl"}},
		{"ports of plain tunnels", Options{Steering: steering.Config{PlainPeers: lacs, PlainBase: 0x8000, PlainMask: 0xf000}}, func(t *testing.T, p *probes) {
			charon(t, p)
			put(t, *p, "/proc/thread-self/net/udp6", udpHeader)
			put(t, *p, "/proc/thread-self/net/udp", udpHeader+udpLine("00000000:8001", 1234)+udpLine("00000000:06A5", 1234))
		}, []string{
			"warning net.ipv4.ip_local_reserved_ports: 4096 of the plain tunnels' ports 32768-36863; sysctl",
			"failure UDP port 1701: held by charon (pid 42); xl2tpd|l2tp.plain_peers",
			"warning plain tunnels' ports: UDP 32769: in use by charon (pid 42); ip_local_reserved_ports=32768-36863|move",
		}},
		{"loopback down", Options{}, func(_ *testing.T, p *probes) { p.loopbackUp = func() (bool, error) { return false, nil } },
			[]string{"failure loopback: 127.0.0.1; ip link set lo up"}},
		{"strongSwan is running", Options{}, charon, []string{"failure UDP port 500: held by charon (pid 42); stop it", "warning UDP port 4500: on some addresses by a process that cannot be seen; other addresses"}},
		{"our daemon is running", Options{DaemonRunning: true}, charon, nil},
		{"our daemon holds a port", Options{}, func(t *testing.T, p *probes) {
			charon(t, p)
			put(t, *p, "/proc/42/comm", "l2tpctl\n")
		}, []string{"warning UDP port 4500: cannot be seen; stop it"}},
		{"a daemon of root", Options{}, func(t *testing.T, p *probes) {
			charon(t, p)
			if err := os.Remove(p.path("/proc/42/fd/7")); err != nil {
				t.Fatal(err)
			}
			put(t, *p, "/proc/42/comm", "l2tpctl\n")
			put(t, *p, "/proc/42/cmdline", "/usr/local/bin/l2tpctl\x00serve\x00")
		}, nil},
		{"a program has clients' ports", Options{}, func(t *testing.T, p *probes) {
			charon(t, p)
			put(t, *p, "/proc/thread-self/net/udp6", udpHeader)
			put(t, *p, "/proc/thread-self/net/udp", udpHeader+udpLine("00000000:4001", 1234)+udpLine("0100007F:7FFF", 1234)+udpLine("00000000:8000", 1234)+udpLine("00000000:3FFF", 77))
		}, []string{"warning clients' ports: UDP 16385, 32767: in use by charon (pid 42); ip_local_reserved_ports=16384-32767|move"}},
		{"many of them", Options{DaemonRunning: true}, func(t *testing.T, p *probes) {
			charon(t, p)
			put(t, *p, "/proc/thread-self/net/udp6", udpHeader)
			lines := udpHeader
			for n := range 9 {
				lines += udpLine(fmt.Sprintf("00000000:500%d", n), 1234)
			}
			put(t, *p, "/proc/thread-self/net/udp", lines)
		}, []string{"warning clients' ports: UDP 20480, 20481, 20482, 20483, 20484, and 4 more: in use by charon (pid 42); "}},
		{"the daemon has clients", Options{DaemonRunning: true}, func(t *testing.T, p *probes) {
			charon(t, p)
			put(t, *p, "/proc/42/comm", "l2tpctl\n")
			put(t, *p, "/proc/thread-self/net/udp6", udpHeader)
			put(t, *p, "/proc/thread-self/net/udp", udpHeader+udpLine("0100007F:4001", 1234)+udpLine("0100007F:4001", 1234))
		}, nil},
		{"few slots", Options{Slots: &Slots{Used: 900, Resting: 10, Free: 90}}, nil, []string{"warning slots: 900 in use, 10 resting, 90 free; slots.port_mask"}},
		{"no slots", Options{Slots: &Slots{Used: 990, Resting: 10, Exhausted: 7}}, nil, []string{"failure slots: 0 free: clients are refused, 7 so far; slots.port_mask"}},
		{"no slots once", Options{Slots: &Slots{Used: 1, Free: 999, Exhausted: 7}}, nil, []string{"warning slots: 7 clients were refused since the start; slots.port_mask"}},
		{"keeper", Options{Serving: true, Keeper: &Keeper{"v1", "v1"}, DaemonRunning: true}, nil, nil},
		{"an older keeper", Options{Serving: true, Keeper: &Keeper{"v1", "v2"}, DaemonRunning: true}, nil, []string{"warning keeper: runs version v1, this program is v2; reload l2tpctl-keeper"}},
		{"a keeper alone", Options{Keeper: &Keeper{"v1", "v1"}, DaemonRunning: true}, nil, []string{"warning keeper: holds the sessions, but no daemon answers: nobody can connect, and what is not answered for minutes ends; l2tpctl serve"}},
		{"no drift", Options{Drift: []Drift{}}, nil, nil},
		{"drift", Options{Drift: []Drift{{"tunnel 16384", "missing"}, {"sa 0x00004444 to 192.0.2.1", "unexpected"}}}, nil,
			[]string{"warning drift: tunnel 16384: missing; l2tpctl events|restart it", "warning drift: sa 0x00004444 to 192.0.2.1: unexpected; "}},
		{"much drift", Options{Drift: make([]Drift, 9)}, nil, []string{
			"warning drift: ; events", "warning drift: ; events", "warning drift: ; events", "warning drift: ; events", "warning drift: ; events", "warning drift: and 4 more; events"}},
		{"slots enough", Options{Slots: &Slots{Used: 1, Free: 999}}, nil, nil},
		{"blacklists", Options{}, func(t *testing.T, p *probes) {
			put(t, *p, "/etc/modprobe.d/l2tp_ppp-blacklist.conf", "blacklist l2tp-ppp\ninstall esp4 /bin/false\n")
		}, []string{"warning modprobe.d: blacklists l2tp_ppp; modules-load.d", "warning modprobe.d: forbids to load esp4; comment out"}},
		{"GRO merges UDP", Options{}, func(_ *testing.T, p *probes) {
			p.groForwarding = func() ([]string, error) { return []string{"eth0 (rx-gro-list)"}, nil }
		}, []string{"warning UDP GRO forwarding: eth0 (rx-gro-list); ethtool -K"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := machine(t)
			if c.change != nil {
				c.change(t, &p)
			}
			var bad []Finding
			findings := check(t.Context(), c.options, p)
			for _, f := range findings {
				if f.Status != OK {
					bad = append(bad, f)
				}
			}
			if len(bad) != len(c.want) {
				t.Fatalf("findings %+v, want %q", bad, c.want)
			}
			required := Required(findings)
			for i, want := range c.want {
				head, rest, _ := strings.Cut(want, ": ")
				detail, fix, _ := strings.Cut(rest, "; ")
				f := bad[i]
				if string(f.Status)+" "+f.Name != head || !strings.Contains(f.Detail, detail) {
					t.Errorf("finding %+v, want %s", f, want)
				}
				for part := range strings.SplitSeq(fix, "|") {
					if !strings.Contains(f.Fix, part) {
						t.Errorf("fix %q, want %q in it", f.Fix, part)
					}
				}
				if f.Status == Fail && (required == nil || !strings.Contains(required.Error(), f.Name+": ") || !strings.Contains(required.Error(), f.Fix)) {
					t.Errorf("Required = %v, want %s in it", required, f.Name)
				}
			}
		})
	}
}

// udpLine is a line of /proc/net/udp.
func udpLine(local string, inode int) string {
	return fmt.Sprintf("  1: %s 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 %d 2 0 0\n", local, inode)
}

// charon holds port 500 everywhere; somebody unknown holds port 4500 at 127.0.0.1.
func charon(t *testing.T, p *probes) {
	put(t, *p, "/proc/thread-self/net/udp6", udpHeader+"  1: 00000000000000000000000000000000:01F4 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1234 2 0 0\n")
	put(t, *p, "/proc/thread-self/net/udp", udpHeader+"  1: 0100007F:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 99 2 0 0\n")
	put(t, *p, "/proc/42/comm", "charon\n")
	put(t, *p, "/proc/42/fd/.keep", "")
	if err := os.Symlink("socket:[1234]", p.path("/proc/42/fd/7")); err != nil {
		t.Fatal(err)
	}
}

func TestLookIn(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	t.Setenv("PATH", t.TempDir())
	look := func(want string, wantErr error) {
		t.Helper()
		if got, err := lookIn([]string{first, second}, "pppd"); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%q, %v, want %q, %v", got, err, want, wantErr)
		}
	}
	look("", exec.ErrNotFound)
	path := filepath.Join(first, "pppd")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	look("", fs.ErrPermission)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	look(path, nil)
}

func TestKernelVersion(t *testing.T) {
	for _, c := range []struct {
		release, version string
		want             Status
	}{
		{"6.1.192", "", OK},
		{"6.1.191", "", Fail},
		{"6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-08-01)", OK},
		{"6.1.0-39-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)", Fail},
		{"6.12.107+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.107-1", OK},
		{"6.12.101", "", Fail},
		{"6.12.0-124.el10.x86_64", "", Warn},
		{"6.6.148", "", Warn},
		{"6.6.147", "", Fail},
		{"6.18.44-fc-v769", "", OK},
		{"6.18.41", "", Fail},
		{"6.17.13", "", Fail},
		{"6.8.0-90-generic", "#91-Ubuntu SMP", Warn},
		{"5.14.0-611.el9.x86_64", "", Warn},
		{"5.15.200", "", Fail},
		{"7.1.5", "", Fail},
		{"7.1.6", "", OK},
		{"7.2-rc1", "", OK},
		{"7.3.4", "", OK},
		{"8.0", "", OK},
		{"unknown", "", Warn},
	} {
		if f := kernelVersion(c.release, c.version); f.Status != c.want || (f.Fix == "") != (c.want == OK) {
			t.Errorf("%s %s: %+v, want %s", c.release, c.version, f, c.want)
		}
	}
}

// TestVersionOfPPPD has a pppd that warns first, as one does that may not read root's options.
func TestVersionOfPPPD(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pppd")
	script := "#!/bin/sh\necho \"Warning: can't open options file /root/.ppprc: Permission denied\" >&2\necho pppd version 2.4.9\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if version, err := pppdVersion(path); err != nil || version != "2.4.9" {
		t.Errorf("%q, %v", version, err)
	}
}
