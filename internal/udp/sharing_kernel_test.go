//go:build kernel

package udp

import (
	"errors"
	"runtime"
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
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		const nobody = 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			result <- errno
			return
		}
		result <- intrude(t, c.Local())
	}()
	if err := <-result; !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("another user's socket: %v, want that the address is in use", err)
	}
}
