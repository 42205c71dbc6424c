package keeper

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// TestHeldConnection: if the keeper held its own daemon's end of the connection, it would never see its end, and let no other daemon in.
func TestHeldConnection(t *testing.T) {
	k := start(t, nil)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := k.dial(t)
	for _, fd := range pair {
		f := os.NewFile(uintptr(fd), "a connection")
		defer f.Close()
		if err := c.Hold("x", f); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("a connection is held: %v", err)
		}
	}
}

// TestHeldPath: what is at the path of a held listener is only removed if it can be its socket.
func TestHeldPath(t *testing.T) {
	k := start(t, nil)
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := k.dial(t)
	if err := c.Hold("control", f); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("something else"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a file that is no socket: %v", err)
	}
}

func TestStoreBounds(t *testing.T) {
	s := store{records: make(map[string][]byte)}
	var changes []protocol.Change
	for i := range 1000 {
		changes = append(changes, protocol.Change{Key: fmt.Sprint(i), Value: []byte{}})
	}
	if err := s.change(changes); err != nil || s.octets < 1000*recordOverhead {
		t.Errorf("empty records count %d octets, %v", s.octets, err)
	}
	for i := range changes {
		changes[i].Value = nil
	}
	if err := s.change(changes); err != nil || s.octets != 0 {
		t.Errorf("no records count %d octets, %v", s.octets, err)
	}
	large := protocol.Change{Key: "a", Value: make([]byte, 1<<20)}
	var err error
	n := 0
	for ; err == nil; n++ {
		large.Key = fmt.Sprint("large ", n)
		err = s.change([]protocol.Change{large})
	}
	if !errors.Is(err, os.ErrInvalid) || n > maxStored>>20 || s.octets > maxStored {
		t.Errorf("%d large records: %v", n, err)
	}
}
