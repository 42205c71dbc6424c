package keeper

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// With directoryVariable in its environment this program is not a test but a keeper, in that directory; buildVariable is its version.
const (
	directoryVariable = "L2TPCTL_TEST_KEEPER"
	buildVariable     = "L2TPCTL_TEST_KEEPER_BUILD"
)

func init() {
	if os.Getenv(directoryVariable) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	directory := os.Getenv(directoryVariable)
	if directory == "" {
		os.Exit(m.Run())
	}
	if err := keep(directory); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// keep is the keeper's program: it becomes the one at DIRECTORY/program when it gets SIGHUP.
func keep(directory string) error {
	number := func(prefix string) int {
		for _, a := range os.Args {
			if text, ok := strings.CutPrefix(a, prefix); ok {
				n, _ := strconv.Atoi(text)
				return n
			}
		}
		return 0
	}
	if fd := number("--try="); fd != 0 {
		return Try(fd)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	encoder := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())
	return Run(ctx, Config{
		Dir: filepath.Join(directory, "run"), Build: os.Getenv(buildVariable),
		Log:   zap.New(zapcore.NewCore(encoder, zapcore.AddSync(os.Stderr), zap.DebugLevel)),
		State: number("--state="), Upgrades: hangups,
		Program: Program{Path: filepath.Join(directory, "program"), Args: []string{"keeper"}, Resume: "--state=", Trial: "--try="},
	})
}

// external is a keeper in a process of its own.
type external struct {
	t         *testing.T
	directory string
	path      string // of its socket
	process   *exec.Cmd
	ended     chan struct{}

	mu  sync.Mutex
	log strings.Builder
}

// Write takes the log.
func (e *external) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.Write(b)
}

func (e *external) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.String()
}

// startProcess starts a keeper of a version.
func startProcess(t *testing.T, build string) *external {
	t.Helper()
	namespace, err := protocol.Namespace()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	e := &external{t: t, directory: directory, path: protocol.SocketPath(filepath.Join(directory, "run"), namespace), ended: make(chan struct{})}
	e.install(build)
	e.process = exec.Command(filepath.Join(directory, "program"))
	e.process.Env = append(os.Environ(), directoryVariable+"="+directory, "GORACE=atexit_sleep_ms=0")
	e.process.Stderr = e
	if err := e.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = e.process.Wait()
		close(e.ended)
	}()
	t.Cleanup(func() {
		_ = e.process.Process.Signal(unix.SIGTERM)
		select {
		case <-e.ended:
		case <-time.After(10 * time.Second):
			t.Error("the keeper does not end")
			_ = e.process.Process.Kill()
			<-e.ended
		}
		if t.Failed() {
			t.Logf("log of the keeper:\n%s", e.text())
		}
	})
	e.await("keeping")
	return e
}

// install puts a version of the program into its place, as an upgrade of a package does.
func (e *external) install(build string) {
	e.t.Helper()
	self, err := os.Executable()
	if err != nil {
		e.t.Fatal(err)
	}
	e.replace(fmt.Sprintf("#!/bin/sh\n%s=%s exec %s \"$@\"\n", buildVariable, build, self))
}

// replace puts a program into the place of the keeper's.
func (e *external) replace(script string) {
	e.t.Helper()
	next := filepath.Join(e.directory, "next")
	if err := os.WriteFile(next, []byte(script), 0o755); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(e.directory, "program")); err != nil {
		e.t.Fatal(err)
	}
}

// await waits until the log says something.
func (e *external) await(text string) {
	e.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(e.text(), text); time.Sleep(5 * time.Millisecond) {
		select {
		case <-e.ended:
			e.t.Fatalf("the keeper has ended before it said %q:\n%s", text, e.text())
		default:
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("the keeper does not say %q:\n%s", text, e.text())
		}
	}
}

// upgrade tells the keeper to become another program, and waits for what its log says of it.
func (e *external) upgrade(text string) {
	e.t.Helper()
	if err := e.process.Process.Signal(unix.SIGHUP); err != nil {
		e.t.Fatal(err)
	}
	e.await(text)
}
