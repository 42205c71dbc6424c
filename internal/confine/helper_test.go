package confine

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scenario is the variable that makes the test binary a helper: what it does in stage 2.
const scenario = "L2TPCTL_CONFINE_TEST"

// Variables by which the test tells the helper what to expect.
const (
	envDir    = "L2TPCTL_CONFINE_DIR"    // readable directory; beside it is one that is not
	envBound  = "L2TPCTL_CONFINE_BOUND"  // "kept": no CAP_SETPCAP, so that the bounding set stays
	envUnlock = "L2TPCTL_CONFINE_UNLOCK" // bits of the secure bits that are locked the other way
)

func TestMain(m *testing.M) {
	what := os.Getenv(scenario)
	if what == "" {
		os.Exit(m.Run())
	}
	if !Confined() {
		fmt.Fprintln(os.Stderr, Drop(os.Args))
		os.Exit(1)
	}
	if err := scenarios[what](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var scenarios = map[string]func() error{
	"prove":    prove,
	"again":    func() error { return wantError(Drop(os.Args), ErrConfined) },
	"require":  func() error { return Filter(Rules{Require: true}) },
	"execve":   func() error { return die(unix.SYS_EXECVE) },
	"ptrace":   func() error { return die(unix.SYS_PTRACE) },
	"io_uring": func() error { return die(unix.SYS_IO_URING_SETUP) },
	"mount":    func() error { return die(unix.SYS_MOUNT) },
	"unshare":  func() error { return die(unix.SYS_UNSHARE) },
	"keyctl":   func() error { return die(unix.SYS_KEYCTL) },
}

func wantError(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("got %v, want %v", err, want)
	}
	return nil
}

// filter calls Filter and lets what this kernel lacks pass.
func filter(r Rules) (*Unsupported, error) {
	err := Filter(r)
	var missing *Unsupported
	if errors.As(err, &missing) {
		return missing, nil
	}
	return &Unsupported{}, err
}

// die makes a call that no filtered process survives. Its arguments are such that it does nothing.
func die(call uintptr) error {
	if _, err := filter(Rules{}); err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall6(call, 0, 0, 0, 0, 0, 0)
	return fmt.Errorf("still alive after call %d: %v", call, errno)
}

// helper runs a scenario in a process that begins as prepare has made the thread. File descriptor 3 of the helper is peer's other end.
type helper struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	peer   *net.UnixConn
	others *os.File
}

func start(t *testing.T, what string, prepare func() error, env ...string) *helper {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours := os.NewFile(uintptr(fds[0]), "ours")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	h := &helper{peer: conn.(*net.UnixConn), others: os.NewFile(uintptr(fds[1]), "helper's")}
	t.Cleanup(func() { h.peer.Close(); h.others.Close() })
	h.cmd = exec.Command("/proc/self/exe", "-test.run=^$")
	h.cmd.Env = append(os.Environ(), append(env, scenario+"="+what)...)
	h.cmd.Stdout, h.cmd.Stderr = &h.out, &h.out
	h.cmd.ExtraFiles = []*os.File{h.others}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: what is prepared ends with this thread
		if prepare != nil {
			if err := prepare(); err != nil {
				started <- err
				return
			}
		}
		started <- h.cmd.Start()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(2*time.Minute, func() { h.cmd.Process.Kill() })
	t.Cleanup(func() { timeout.Stop() })
	return h
}

// wait returns what the helper wrote, and fails the test if it did not succeed.
func (h *helper) wait(t *testing.T) string {
	t.Helper()
	if err := h.cmd.Wait(); err != nil {
		t.Fatalf("helper: %v\n%s", err, h.out.String())
	}
	return h.out.String()
}

func TestDropTwice(t *testing.T) { start(t, "again", nil).wait(t) }

// TestEnd: certain calls end the process, and leave no core.
func TestEnd(t *testing.T) {
	if err := seccompSupport(); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"execve", "ptrace", "io_uring", "mount", "unshare", "keyctl"} {
		h := start(t, what, nil)
		var exit *exec.ExitError
		if err := h.cmd.Wait(); !errors.As(err, &exit) {
			t.Errorf("%s: %v\n%s", what, err, h.out.String())
			continue
		}
		status := exit.Sys().(interface {
			Signaled() bool
			Signal() unix.Signal
			CoreDump() bool
		})
		if !status.Signaled() || status.Signal() != unix.SIGSYS || status.CoreDump() {
			t.Errorf("%s: %v\n%s", what, exit, h.out.String())
		}
	}
}

// TestRequire: what the kernel lacks is an error that nobody can take for a warning, and changes nothing.
func TestRequire(t *testing.T) {
	lacks := landlockSupport() != nil || seccompSupport() != nil
	h := start(t, "require", nil)
	err := h.cmd.Wait()
	if lacks != (err != nil) {
		t.Errorf("kernel lacks something: %t; helper: %v", lacks, err)
	}
	if lacks != strings.Contains(h.out.String(), "does not allow to serve like this") {
		t.Errorf("output: %s", h.out.String())
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		caps       capabilities
		noNewPrivs bool
		want       string
	}{
		{capabilities{}, true, ""},
		{capabilities{}, false, "no-new-privs"},
		{capabilities{permitted: 1 << unix.CAP_SYS_ADMIN}, true, "permitted 0x200000"},
		{capabilities{effective: 1}, true, "effective 0x1"},
		{capabilities{inheritable: 1 << unix.CAP_BPF}, true, "inheritable 0x8000000000"},
	} {
		err := judge(17, c.caps, c.noNewPrivs)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v, %t: %v", c.caps, c.noNewPrivs, err)
		}
	}
}
