package doctor

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// probes are all contacts with the machine, so that tests can put others in their places. Each returns nil if the facility is there.
type probes struct {
	root           string // prefix of the files that are read
	uname          func() (release, version string)
	capabilities   func() uint64 // effective ones, a bit for each
	xfrmSocket     func() error
	addSA          func(v6 bool, a algorithm) error
	l2tpFamily     func() error
	pppol2tpSocket func() error
	devPPP         func() error
	nftables       func() error
	steering       func(steering.Config) error
	tablePresent   func(steering.Config) (bool, error)
	loopbackUp     func() (bool, error)
	lookPath       func(string) (string, error)
	pppdVersion    func(path string) (string, error)
	groForwarding  func() ([]string, error)
}

func realProbes() probes {
	return probes{
		uname: uname, capabilities: effective, xfrmSocket: xfrmSocket, addSA: addSA, l2tpFamily: l2tpFamily, pppol2tpSocket: pppol2tpSocket,
		devPPP: devPPP, nftables: listTables, steering: tryTable, tablePresent: steering.Present, loopbackUp: loopbackUp,
		lookPath: lookPath, pppdVersion: pppdVersion, groForwarding: groForwarding,
	}
}

func (p probes) path(name string) string { return filepath.Join("/", p.root, name) }

// text returns a file without its last newline, or nothing if it cannot be read.
func (p probes) text(name string) string {
	b, err := os.ReadFile(p.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

// builtIn reports whether the kernel says that it was built with an option as "y".
func (p probes) builtIn(option string) bool {
	release, _ := p.uname()
	config := p.text("/boot/config-" + release)
	if b, err := os.ReadFile(p.path("/proc/config.gz")); err == nil {
		if r, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			plain, err := io.ReadAll(io.LimitReader(r, 4<<20))
			if err == nil {
				config = string(plain)
			}
		}
	}
	return strings.Contains("\n"+config+"\n", "\n"+option+"=y\n")
}

func uname() (release, version string) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown", ""
	}
	return unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:])
}

// effective returns the effective capabilities of this process; those of root if they cannot be read.
func effective() uint64 {
	b, err := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if caps, found := strings.CutPrefix(line, "CapEff:"); found {
			v, err := strconv.ParseUint(strings.TrimSpace(caps), 16, 64)
			if err == nil {
				return v
			}
		}
	}
	if err != nil && os.Geteuid() == 0 {
		return math.MaxUint64
	}
	return 0
}

// inNamespace runs f in a network namespace of its own, which ends with it.
func inNamespace(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread may be the main one, which does not end, and whose namespace is what /proc/self/net shows: so it goes back.
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- fmt.Errorf("open the network namespace: %w", err)
			return
		}
		defer home.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace to try it in: %w", err)
			return
		}
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			done <- errors.Join(err, fmt.Errorf("go back to the network namespace: %w", back))
			return // the thread stays locked, so that the runtime ends it
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

func trySocket(what string, domain, kind, proto int) error {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return fmt.Errorf("open a %s socket: %w", what, err)
	}
	return unix.Close(fd)
}

func xfrmSocket() error {
	return trySocket("NETLINK_XFRM", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM)
}

const pxProtoOL2TP = 1 // include/uapi/linux/if_pppox.h

func pppol2tpSocket() error {
	return trySocket("PPPoL2TP", unix.AF_PPPOX, unix.SOCK_DGRAM, pxProtoOL2TP)
}

// algorithm is one that ESP needs, and the part of an SA that uses it.
type algorithm struct {
	name, module string
	required     bool // clients with a sensible default proposal need it
	use          func(*xfrm.State)
}

func key(octets int) []byte { return bytes.Repeat([]byte{0x55}, octets) }

func cbcWith(mac func([]byte) *xfrm.Auth, octets int) func(*xfrm.State) {
	return func(s *xfrm.State) { s.Crypt, s.Auth = xfrm.AESCBC(key(32)), mac(key(octets)) }
}

var algorithms = []algorithm{
	{"cbc(aes)", "aes_generic", true, cbcWith(xfrm.HMACSHA1, 20)},
	{"hmac(sha1)", "sha1_generic", true, cbcWith(xfrm.HMACSHA1, 20)},
	{"hmac(sha256)", "sha256_generic", true, cbcWith(xfrm.HMACSHA256, 32)},
	{"hmac(sha384)", "sha512_generic", false, cbcWith(xfrm.HMACSHA384, 48)},
	{"hmac(sha512)", "sha512_generic", false, cbcWith(xfrm.HMACSHA512, 64)},
	{"rfc4106(gcm(aes))", "gcm", false, func(s *xfrm.State) { s.AEAD = xfrm.AESGCM16(key(36)) }},
	{"cbc(des3_ede)", "des_generic", false, func(s *xfrm.State) { s.Crypt, s.Auth = xfrm.TripleDESCBC(key(24)), xfrm.HMACSHA1(key(20)) }},
	{"authencesn", "authencesn", false, func(s *xfrm.State) { cbcWith(xfrm.HMACSHA1, 20)(s); s.ESN, s.ReplayWindow = true, 64 }},
}

// addSA adds an SA between documentation addresses (RFC 5737, RFC 3849).
func addSA(v6 bool, a algorithm) error {
	s := &xfrm.State{ID: xfrm.ID{Dst: netip.MustParseAddr("192.0.2.2"), SPI: 0x1000}, Src: netip.MustParseAddr("192.0.2.1"), ReqID: 1, Mode: xfrm.ModeTransport}
	if v6 {
		s.Dst, s.Src = netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::1")
	}
	a.use(s)
	return inNamespace(func() error {
		c, err := xfrm.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Add(s)
	})
}

func l2tpFamily() error {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("open a generic netlink socket: %w", err)
	}
	defer c.Close()
	if _, err := c.GetFamily("l2tp"); err != nil {
		return fmt.Errorf("look for the generic netlink family l2tp: %w", err)
	}
	return nil
}

func devPPP() error {
	f, err := os.OpenFile("/dev/ppp", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func listTables() error {
	return inNamespace(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		if _, err := c.ListTablesOfFamily(nftables.TableFamilyINet); err != nil {
			return fmt.Errorf("list nftables tables: %w", err)
		}
		return nil
	})
}

func tryTable(cfg steering.Config) error {
	return inNamespace(func() error { return steering.Install(cfg) })
}

func loopbackUp() (bool, error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return false, err
	}
	return lo.Flags&net.FlagUp != 0, nil
}

// lookPath also looks where programs for root are, which are not in everybody's PATH.
func lookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return exec.LookPath(name)
	}
	return lookIn([]string{"/usr/sbin", "/sbin", "/usr/local/sbin"}, name)
}

// lookIn looks for a program in directories and then in PATH. One that is there, but not for this user to run, is fs.ErrPermission.
func lookIn(dirs []string, name string) (string, error) {
	var denied error
	for _, dir := range dirs {
		path, err := exec.LookPath(filepath.Join(dir, name))
		if err == nil {
			return path, nil
		}
		if denied == nil && errors.Is(err, fs.ErrPermission) {
			denied = err
		}
	}
	path, err := exec.LookPath(name)
	if err != nil && denied != nil {
		return "", denied
	}
	return path, err
}

// pppdVersion returns the third word of "pppd version 2.4.9", before which there may be warnings, as of an options file that it may not read.
func pppdVersion(path string) (string, error) {
	out, err := exec.Command(path, "--version").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if version, found := strings.CutPrefix(line, "pppd version "); found {
			return strings.TrimSpace(version), nil
		}
	}
	return "", errors.Join(fmt.Errorf("run %s --version: unexpected answer %q", path, firstLine(out)), err)
}
