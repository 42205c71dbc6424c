package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// copyOf is a copy of a held file, as one gives it away.
func copyOf(t *testing.T, f *os.File) *os.File {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var out *os.File
	err = control(raw.Control, func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		out = os.NewFile(uintptr(dup), f.Name())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hold opens a socket and keeps it until the end of the test.
func hold(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := Open(t.Context(), path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestHeldSocket: who asks between two daemons is answered by the second.
func TestHeldSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "control.sock")
	held := hold(t, path)
	start := func() (stop func()) {
		l, err := ListenOn(copyOf(t, held))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Serve(ctx, l, sample(), Version{Version: "v1.2.3"}, nil) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Serve: %v", err)
			}
		}
	}
	ask := func() error {
		c := NewClient(path)
		defer c.Close()
		_, err := c.Tunnels(t.Context())
		return err
	}
	for range 2 {
		stop := start()
		if err := ask(); err != nil {
			t.Error(err)
		}
		stop()
	}
	waiting, err := net.Dial("unix", path) // now it is in the queue
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if _, err := waiting.Write([]byte("GET /v1/version HTTP/1.1\r\nHost: l2tpctl\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := listening(t.Context(), path, ""); err == nil || !strings.Contains(err.Error(), "the keeper of one that has ended holds it") {
		t.Errorf("a second daemon: %v", err)
	}
	stop := start()
	defer stop()
	answer := make([]byte, 12)
	if _, err := waiting.Read(answer); err != nil || string(answer) != "HTTP/1.1 200" {
		t.Errorf("the answer begins with %q, %v", answer, err)
	}
}

func TestOpenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	held := hold(t, path)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), path, "", held)
	if err != nil || again != held {
		t.Fatalf("gives %v, %v, want what is held", again, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	// The path is gone, and what is held leads nowhere.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := ListenOn(copyOf(t, held)) // a queue that nobody can come into any more
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := l.Accept(); err != nil { // the knock of Open
		t.Fatal(err)
	} else {
		_ = c.Close()
	}
	another, err := Open(t.Context(), path, "", held)
	if err != nil || another == held {
		t.Fatalf("gives what is held, %v, want another", err)
	}
	t.Cleanup(func() { _ = another.Close() })

	// Somebody else's socket is there instead.
	if _, err := Open(t.Context(), path, "", held); err == nil || !strings.Contains(err.Error(), "another daemon listens on") {
		t.Errorf("another's socket: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// TestOpenWithFullQueue: so many have asked while there was no daemon that nobody else is let in.
func TestOpenWithFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	held := os.NewFile(uintptr(fd), path)
	defer held.Close()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for knock(path) == nil {
	}
	if again, err := Open(t.Context(), path, "", held); err != nil || again != held {
		t.Errorf("gives %v, %v, want what is held", again, err)
	}
	if _, err := listening(t.Context(), path, ""); err == nil || !strings.Contains(err.Error(), "another daemon listens on") {
		t.Errorf("a second daemon: %v", err)
	}
}

func TestListenOnStrangers(t *testing.T) {
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	tcpFile, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	for name, f := range map[string]*os.File{"a pipe": pipe, "TCP": tcpFile, "a connection": os.NewFile(uintptr(pair[0]), "pair")} {
		if l, err := ListenOn(f); err == nil {
			t.Errorf("%s: accepted", name)
			_ = l.Close()
		}
		if f.Close() == nil {
			t.Errorf("%s: left open", name)
		}
	}
}

// TestNobodyAnswers: the socket outlives the daemon.
func TestNobodyAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	hold(t, path)
	c := NewClient(path)
	c.http.Timeout = 10 * time.Millisecond
	if _, err := c.Stats(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "the daemon has died or hangs") {
		t.Errorf("%v", err)
	}
}
