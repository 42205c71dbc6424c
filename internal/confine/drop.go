package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// self is the running program, even if another has taken its place in the file system.
const self = "/proc/self/exe"

// ErrConfined is returned by Drop in a process that has nothing to drop any more, which would else run itself for ever.
var ErrConfined = errors.New("this process has dropped its privileges already")

// Drop gives up all capabilities and the ways to get them again (secure bits, bounding set, no-new-privs), and runs this program anew with
// the arguments argv, of which the first is its name, and the same environment. The process ID, open files without close-on-exec, and
// children stay. It returns only if that failed. One thread has lost its privileges by then: the process cannot go on, and is to end.
//
// It needs no privilege. Secure bits and bounding set are changed as far as CAP_SETPCAP allows; no-new-privs makes the others enough.
func Drop(argv []string) error {
	if Confined() {
		return ErrConfined
	}
	path := executable()
	env := os.Environ()
	runtime.LockOSThread() // for good: no other goroutine may get this thread
	if err := renounce(); err != nil {
		return fmt.Errorf("drop privileges: %w", err)
	}
	err := unix.Exec(path, argv, env)
	if path != self && errors.Is(err, unix.EACCES) {
		path = self // a directory on the way to it is closed to us now
		err = unix.Exec(path, argv, env)
	}
	return fmt.Errorf("run %s without privileges: %w%s", path, err, executeHint(err))
}

// executable returns the path to run: the name under which the program is known, which is also the process's name afterwards, if that is
// still the same file.
func executable() string {
	named, err := os.Executable()
	if err != nil {
		return self
	}
	there, err := os.Stat(named)
	if err != nil {
		return self
	}
	running, err := os.Stat(self)
	if err != nil || os.SameFile(there, running) {
		return named
	}
	return self
}

func executeHint(err error) string {
	switch {
	case errors.Is(err, unix.EACCES):
		return " (without capabilities, root runs only what its owner, group or everybody may execute: chown root:root and chmod 0755 the program, " +
			"and mount its file system without noexec)"
	case errors.Is(err, unix.EPERM):
		return " (a security module or a seccomp profile refuses it: allow execve of this program with no-new-privs there)"
	case errors.Is(err, unix.ENOENT):
		return " (is /proc mounted, and the program's dynamic linker there?)"
	}
	return ""
}
