package concentrator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockDir is where the locks of daemons are.
const lockDir = "/run/l2tpctl"

// lockNamespace makes this the only daemon in its network namespace, where SAs, tunnels and the steering table are shared by
// all who listen there. The lock ends with the returned file, or with the process.
func lockNamespace(dir string) (*os.File, error) {
	var namespace unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &namespace); err != nil {
		return nil, fmt.Errorf("find the network namespace: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of the lock: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("netns-%d.lock", namespace.Ino))
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
	return f, nil
}
