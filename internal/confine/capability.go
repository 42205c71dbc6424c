package confine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Bits of linux/securebits.h, each with its lock at the next higher bit.
const (
	secNoRoot         = 1 << 0
	secNoSetuidFixup  = 1 << 2
	secKeepCaps       = 1 << 4
	secNoAmbientRaise = 1 << 6
	secLocks          = (secNoRoot | secNoSetuidFixup | secKeepCaps | secNoAmbientRaise) << 1
)

// capabilities are the sets of a thread that give it rights or hand them on.
type capabilities struct{ permitted, effective, inheritable uint64 }

func (c capabilities) none() bool { return c == capabilities{} }

// threadCapabilities returns those of the thread with that ID, 0 for the calling one.
func threadCapabilities(tid int) (capabilities, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(tid)}
	var d [2]unix.CapUserData
	if err := unix.Capget(&hdr, &d[0]); err != nil {
		return capabilities{}, fmt.Errorf("read the capabilities of thread %d: %w", tid, err)
	}
	join := func(low, high uint32) uint64 { return uint64(low) | uint64(high)<<32 }
	return capabilities{
		permitted:   join(d[0].Permitted, d[1].Permitted),
		effective:   join(d[0].Effective, d[1].Effective),
		inheritable: join(d[0].Inheritable, d[1].Inheritable),
	}, nil
}

// Holds reports whether the calling thread may use a capability (unix.CAP_...). A stage 1 without CAP_NET_ADMIN could not run a keeper: it
// waits for the one of another unit.
func Holds(capability int) bool {
	caps, err := threadCapabilities(0)
	return err == nil && capability >= 0 && capability < 64 && caps.effective&(1<<capability) != 0
}

// secure makes user ID 0 mean nothing for capabilities. Bits that somebody has locked the other way stay as they are.
func secure() error {
	now, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read the secure bits: %w", err)
	}
	want := now | secLocks
	for _, bit := range []int{secNoRoot, secNoSetuidFixup, secNoAmbientRaise} {
		if now&(bit<<1) == 0 {
			want |= bit
		}
	}
	if now&(secKeepCaps<<1) == 0 {
		want &^= secKeepCaps
	}
	if want == now {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(want), 0, 0, 0); err != nil {
		return fmt.Errorf("set the secure bits: %w", err)
	}
	return nil
}

// unbound empties the bounding set, up to the last capability that this kernel has.
func unbound() error {
	for c := range uintptr(64) {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the capability bounding set: %w", err)
		}
		if held == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, err)
		}
	}
	return nil
}

// renounce gives up every capability of the calling thread, and every way for it or its programs to get one again.
func renounce() error {
	// These two need CAP_SETPCAP, which some containers and units do not give. Without them, no-new-privs alone keeps execve from
	// granting what the thread has not.
	for _, lock := range []func() error{secure, unbound} {
		if err := lock(); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", refused(err))
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		return fmt.Errorf("give up the capabilities: %w", refused(err))
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no-new-privs: %w", refused(err))
	}
	return nil
}

// refused tells what to do about a refusal of something that the kernel allows everybody.
func refused(err error) error {
	return fmt.Errorf("%w (the kernel allows this to every process: a seccomp profile or security module of the container runtime or unit "+
		"refuses it; allow prctl and capset there)", err)
}

// Powerless reports whether another process has no capability, as one that has dropped its privileges.
func Powerless(pid int) (bool, error) {
	caps, err := threadCapabilities(pid)
	return err == nil && caps.none(), err
}
