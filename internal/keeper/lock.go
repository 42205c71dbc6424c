package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A lock makes this the only one of its network namespace, where SAs, tunnels and the steering table are shared by all who
// listen there. It ends with the process, and is named as it was before there were keepers, so that a daemon of that time counts.
type lock struct{ file *os.File }

// lockNamespace takes the lock, in a file of directory dir.
func lockNamespace(dir string, namespace uint64) (*lock, error) {
	path := filepath.Join(dir, fmt.Sprintf("netns-%d.lock", namespace))
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the lock: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("another l2tpctl serves in this network namespace (it holds %s): stop it first", path)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if named(path, f) {
			return &lock{f}, nil
		}
		f.Close() // its holder has removed it meanwhile
	}
}

// named reports whether path still names f.
func named(path string, f *os.File) bool {
	at, err := os.Stat(path)
	held, heldErr := f.Stat()
	return err == nil && heldErr == nil && os.SameFile(at, held)
}

// Close gives the lock back and removes its file.
func (l *lock) Close() error {
	return errors.Join(os.Remove(l.file.Name()), l.file.Close())
}
