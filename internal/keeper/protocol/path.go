package protocol

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir is where keepers are found.
const Dir = "/run/l2tpctl"

// Namespace is the inode of the calling thread's network namespace, of which each has one keeper.
func Namespace() (uint64, error) {
	var namespace unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &namespace); err != nil {
		return 0, fmt.Errorf("find the network namespace: %w", err)
	}
	return namespace.Ino, nil
}

// SocketPath is the socket, in directory dir, of the keeper of a network namespace.
func SocketPath(dir string, namespace uint64) string {
	return filepath.Join(dir, fmt.Sprintf("keeper-%d.sock", namespace))
}
