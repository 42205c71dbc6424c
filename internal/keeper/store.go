package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

const (
	// maxStored is how many octets all records may have: many times what the clients of all slots need, and little enough to be told in one reply.
	maxStored = 256 << 20
	// recordOverhead is about what a record takes besides its octets.
	recordOverhead = 128
)

// size is what a record counts.
func size(key string, value []byte) int { return recordOverhead + len(key) + len(value) }

// store has the daemon's records.
type store struct {
	mu      sync.Mutex
	records map[string][]byte
	octets  int
}

// change applies changes, all or none of them.
func (s *store) change(changes []protocol.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	octets := s.octets
	for _, c := range changes {
		if c.Key == "" || len(c.Key) > protocol.MaxKey || len(c.Value) > protocol.MaxValue {
			return fmt.Errorf("store a record of %d octets under a key of %d: %w", len(c.Value), len(c.Key), os.ErrInvalid)
		}
		if c.Value != nil {
			octets += size(c.Key, c.Value)
		}
	}
	if octets > maxStored {
		return fmt.Errorf("store records: %d octets are more than %d: %w", octets, maxStored, os.ErrInvalid)
	}
	for _, c := range changes {
		if old, ok := s.records[c.Key]; ok {
			s.octets -= size(c.Key, old)
			clear(old) // there are keys in it
			delete(s.records, c.Key)
		}
		if c.Value != nil {
			s.octets += size(c.Key, c.Value)
			s.records[c.Key] = c.Value
		}
	}
	return nil
}

// count is the number of records.
func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// all returns copies of all records, in the order of their keys.
func (s *store) all() []protocol.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := make([]protocol.Change, 0, len(s.records))
	for key, value := range s.records {
		records = append(records, protocol.Change{Key: key, Value: append([]byte{}, value...)})
	}
	slices.SortFunc(records, func(a, b protocol.Change) int { return strings.Compare(a.Key, b.Key) })
	return records
}

// shelf has files by name.
type shelf struct {
	mu    sync.Mutex
	files map[string]*os.File
}

// put keeps a copy of f. A socket has to be one that listens: of a connection, such as the daemon's to us, nobody would see the end.
func (s *shelf) put(name string, f *os.File) error {
	if name == "" || len(name) > protocol.MaxHeldName {
		return fmt.Errorf("hold a file: a name of %d octets: %w", len(name), os.ErrInvalid)
	}
	if err := holdable(f); err != nil {
		return fmt.Errorf("hold %q: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.files[name]
	if old == nil && len(s.files) >= protocol.MaxHeldFiles {
		return fmt.Errorf("hold %q: there are %d files already: %w", name, len(s.files), os.ErrInvalid)
	}
	fd, err := protocol.Duplicate(f)
	if err != nil {
		return fmt.Errorf("hold %q: %w", name, err)
	}
	if old != nil {
		_ = old.Close()
	}
	s.files[name] = os.NewFile(uintptr(fd), name)
	return nil
}

// drop closes a file.
func (s *shelf) drop(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[name]
	if f == nil {
		return fmt.Errorf("release %q: %w", name, os.ErrNotExist)
	}
	delete(s.files, name)
	return f.Close()
}

// close closes all files, and removes the paths of listeners, which nobody can reach any more.
func (s *shelf) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, f := range s.files {
		if path := listenerPath(f); isSocket(path) {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove the socket held as %q: %w", name, err))
			}
		}
		errs = append(errs, f.Close())
		delete(s.files, name)
	}
	return errors.Join(errs...)
}

// holdable says why a file is not to be held.
func holdable(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Type() == os.ModeSocket && !listens(f) {
		return fmt.Errorf("a socket that does not listen: %w", os.ErrInvalid)
	}
	return nil
}

// listens reports whether f is a socket that connections are made to.
func listens(f *os.File) (yes bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		listening, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		yes = err == nil && listening != 0
	})
	return yes
}

// isSocket reports whether there is a socket at a path.
func isSocket(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}

// listenerPath is the path of a listening unix socket, or empty.
func listenerPath(f *os.File) (path string) {
	if !listens(f) {
		return ""
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return ""
	}
	_ = raw.Control(func(fd uintptr) {
		name, err := unix.Getsockname(int(fd))
		if at, ok := name.(*unix.SockaddrUnix); err == nil && ok && filepath.IsAbs(at.Name) {
			path = at.Name
		}
	})
	return path
}
