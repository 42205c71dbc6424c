//go:build kernel

package udp

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKernelPortIsNotSharedWithOthers: even while the two sockets of a slot agree to share their port, another user's is refused.
func TestKernelPortIsNotSharedWithOthers(t *testing.T) {
	c := openTestClient(t, loopback4)
	if err := c.open.share(1); err != nil {
		t.Fatal(err)
	}
	if err := intrude(t, c.Local()); err != nil {
		t.Errorf("our own second socket: %v", err)
	}
	result := make(chan error)
	go func() {
		dropPrivileges(t)
		result <- intrude(t, c.Local())
	}()
	if err := <-result; !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("another user's socket: %v, want that the address is in use", err)
	}
}
