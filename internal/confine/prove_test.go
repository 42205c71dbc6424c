package confine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// prove is stage 2 of the helper: it filters, tries what is forbidden and what has to work, and tells of each.
func prove() error {
	release := make(chan struct{})
	defer close(release)
	park(16, release) // threads that are there before the filter
	dir := os.Getenv(envDir)
	missing, err := filter(Rules{Read: []string{dir, filepath.Join(dir, "nothing")}})
	if err != nil {
		return err
	}
	fmt.Printf("seccomp: %v; Landlock: %v\n", missing.Seccomp, missing.Landlock)
	park(16, release) // and after it
	proofs := []struct {
		name string
		try  func() error
	}{
		{"capabilities", provePowerless}, {"secure bits", proveSecureBits}, {"core dumps", proveHidden},
		{"files", func() error { return proveFiles(dir, missing.Landlock == nil) }},
		{"raw sockets and marks", proveSockets}, {"file from another process", proveFile},
		{"threads and timers", proveThreads}, {"garbage collection", proveMemory}, {"profile", proveProfile},
		{"DNS", proveDNS}, {"HTTPS", proveHTTPS}, {"netlink", proveNetlink},
	}
	if missing.Seccomp == nil {
		proofs = append(proofs, struct {
			name string
			try  func() error
		}{"refused calls", proveRefusals})
	}
	var errs []error
	for _, p := range proofs {
		err := p.try()
		fmt.Printf("%-26s %v\n", p.name, err)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// park makes threads that wait in the kernel.
func park(n int, release <-chan struct{}) {
	var ready sync.WaitGroup
	for range n {
		ready.Add(1)
		go func() {
			runtime.LockOSThread()
			ready.Done()
			<-release
		}()
	}
	ready.Wait()
}

func provePowerless() error {
	if err := Check(); err != nil {
		return err
	}
	for c := range unix.CAP_LAST_CAP + 1 {
		if Holds(c) {
			return fmt.Errorf("holds capability %d", c)
		}
	}
	threads := 0
	err := eachThread(func(tid int, status map[string]string) error {
		threads++
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			if set == "CapBnd" && os.Getenv(envBound) == "kept" {
				continue
			}
			if strings.Trim(status[set], "0") != "" || status[set] == "" {
				return fmt.Errorf("thread %d: %s is %q", tid, set, status[set])
			}
		}
		if status["NoNewPrivs"] != "1" || status["Seccomp"] != "2" && seccompSupport() == nil {
			return fmt.Errorf("thread %d: no-new-privs %s, seccomp %s", tid, status["NoNewPrivs"], status["Seccomp"])
		}
		return nil
	})
	if err == nil && threads < 32 {
		err = fmt.Errorf("saw only %d threads", threads)
	}
	return err
}

func proveSecureBits() error {
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil || os.Getenv(envBound) == "kept" {
		return err
	}
	want := secNoRoot | secNoSetuidFixup | secNoAmbientRaise | secLocks
	if locked, err := strconv.Atoi(os.Getenv(envUnlock)); err == nil {
		want &^= locked
	}
	if bits != want {
		return fmt.Errorf("%#x, want %#x", bits, want)
	}
	return nil
}

func proveHidden() error {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err == nil && dumpable != 0 {
		err = fmt.Errorf("dumpable is %d", dumpable)
	}
	return err
}

func proveFiles(dir string, landlocked bool) error {
	ours := filepath.Join(dir, "ours")
	if data, err := os.ReadFile(ours); err != nil || string(data) != "text" {
		return fmt.Errorf("read %q, %v", data, err)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return err
	}
	for _, path := range []string{"/etc/passwd", "/proc/self/status", "/proc/sys/kernel/ostype"} {
		if _, err := os.ReadFile(path); err != nil {
			return err
		}
	}
	for _, open := range []func() (*os.File, error){
		func() (*os.File, error) { return os.OpenFile(ours, os.O_WRONLY, 0) },
		func() (*os.File, error) { return os.OpenFile(ours, os.O_RDWR, 0) },
		func() (*os.File, error) { return os.Create(filepath.Join(dir, "new")) },
		func() (*os.File, error) { return os.OpenFile("/proc/self/mem", os.O_RDWR, 0) },
	} {
		f, err := open()
		if err == nil {
			f.Close()
		}
		if !errors.Is(err, os.ErrPermission) && seccompSupport() == nil {
			return fmt.Errorf("open for writing: %v", err)
		}
	}
	beside := filepath.Join(filepath.Dir(dir), "closed", "ours")
	_, err := os.ReadFile(beside)
	if landlocked && !errors.Is(err, os.ErrPermission) || !landlocked && err != nil {
		return fmt.Errorf("read %s: %v", beside, err)
	}
	if text := fmt.Sprint(Explain(err)); landlocked && !strings.Contains(text, "its configuration named") {
		return fmt.Errorf("explained as %s", text)
	}
	others := filepath.Join(dir, "others")
	var st unix.Stat_t
	if err := unix.Stat(others, &st); err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() {
		_, err := os.ReadFile(others)
		if text := fmt.Sprint(Explain(err)); !errors.Is(err, os.ErrPermission) || !strings.Contains(text, "user ID 65534") || !strings.Contains(text, "chown root") {
			return fmt.Errorf("file of another: %v, explained as %s", err, text)
		}
	}
	return nil
}

func proveSockets() error {
	for _, s := range [][3]int{{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, {unix.AF_PACKET, unix.SOCK_RAW, 0}} {
		if fd, err := unix.Socket(s[0], s[1], s[2]); !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("raw socket: %d, %v", fd, err)
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 1); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("SO_MARK: %v", err)
	}
	return nil
}

// proveRefusals tries calls that would work for user ID 0, or for everybody, were it not for the filter.
func proveRefusals() error {
	if err := unix.Kill(os.Getppid(), 0); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("signal to the parent: %v", err)
	}
	if err := unix.Kill(os.Getpid(), 0); err != nil {
		return fmt.Errorf("signal to itself: %v", err)
	}
	if p, err := os.StartProcess("/proc/self/exe", []string{"x"}, &os.ProcAttr{}); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("start a process: %v, %v", p, err)
	}
	own := filepath.Join(os.Getenv(envDir), "ours")
	for name, err := range map[string]error{
		"chmod": os.Chmod(own, 0o644), "remove": os.Remove(own), "rename": os.Rename(own, own+"2"), "mkdir": os.Mkdir(own+"d", 0o755),
		"truncate": os.Truncate(own, 0), "chdir": os.Chdir("/"), "symlink": os.Symlink(own, own+"l"),
		"limit": unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}), "dumpable": unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0),
	} {
		if !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	if c, err := net.Dial("unix", "/run/systemd/private"); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("unix socket: %v, %v", c, err)
	}
	if _, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("executable memory: %v", err)
	}
	return nil
}

func proveFile() error {
	f := os.NewFile(3, "peer")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	defer conn.Close()
	data, oob := make([]byte, 8), make([]byte, 64)
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(data, oob)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("%d messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("%d files, %v", len(fds), err)
	}
	passed := os.NewFile(uintptr(fds[0]), "passed")
	defer passed.Close()
	if _, err := passed.WriteString("!"); err != nil {
		return err
	}
	text := make([]byte, 7)
	if _, err := passed.ReadAt(text, 0); err != nil || string(text) != "passed!" {
		return fmt.Errorf("read %q, %v", text, err)
	}
	return nil
}

func proveThreads() error {
	var wg sync.WaitGroup
	var errs [64]error
	for i := range errs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			runtime.LockOSThread() // which ends the thread with the goroutine
			before := time.Now()
			ts := unix.NsecToTimespec(int64(5 * time.Millisecond))
			if err := unix.Nanosleep(&ts, nil); err != nil {
				errs[i] = err
				return
			}
			<-time.After(5 * time.Millisecond)
			if time.Since(before) < 10*time.Millisecond {
				errs[i] = errors.New("timer came early")
			}
		}()
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

func proveMemory() error {
	debug.SetMemoryLimit(64 << 20)
	defer debug.SetMemoryLimit(1 << 40)
	var kept [][]byte
	for i := range 4096 {
		block := bytes.Repeat([]byte{byte(i)}, 64<<10)
		if i%16 == 0 {
			kept = append(kept, block)
		}
		if len(kept) > 100 {
			kept = nil
		}
	}
	debug.FreeOSMemory()
	return nil
}

func proveProfile() error {
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		return err
	}
	for until := time.Now().Add(50 * time.Millisecond); time.Now().Before(until); {
		runtime.Gosched()
	}
	pprof.StopCPUProfile()
	if profile.Len() == 0 {
		return errors.New("empty")
	}
	return nil
}

// proveDNS asks a server of our own through Go's resolver.
func proveDNS() error {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer server.Close()
	go answer(server)
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	addresses, err := resolver.LookupNetIP(ctx, "ip4", "gateway.example.")
	if err != nil || len(addresses) != 1 || addresses[0].String() != "192.0.2.7" {
		return fmt.Errorf("%v, %v", addresses, err)
	}
	_, err = resolver.LookupHost(ctx, "localhost")
	return err
}

func answer(server net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.Additionals = true, nil
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}},
		}}
		if reply, err := m.Pack(); err == nil {
			_, _ = server.WriteTo(reply, from)
		}
	}
}

func proveHTTPS() error {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(os.Getenv(envDir), "ours"))
	}))
	defer server.Close()
	response, err := server.Client().Get(server.URL)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "text" {
		return fmt.Errorf("read %q, %v", body, err)
	}
	return nil
}

func proveNetlink() error {
	if _, err := net.Interfaces(); err != nil {
		return err
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	dump := netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, unix.SizeofRtMsg),
	}
	if _, err = conn.Execute(dump); err != nil {
		return err
	}
	return conn.JoinGroup(unix.RTNLGRP_LINK)
}
