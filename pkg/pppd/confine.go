package pppd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// confinerName is the argument 0 of a process that is to become a confined pppd. Its argument 1 is the path of pppd, the
// others are pppd's own.
const confinerName = "l2tpctl-confine-pppd"

// exitUnconfined is the status of a process that could not become a confined pppd.
const exitUnconfined = 126

// init makes a pppd of a process that was started as one. A thread cannot take back what confine does, and the one that
// forks must be able to exec a program with all capabilities (Launcher.Exec). So the child does it, between fork and pppd;
// the runtime has no place for that but another run of this program, before it has done anything of its own.
func init() {
	if len(os.Args) < 2 || os.Args[0] != confinerName {
		return
	}
	err := confine()
	if err == nil {
		argv := append([]string{filepath.Base(os.Args[1])}, os.Args[2:]...)
		err = fmt.Errorf("run %s: %w", os.Args[1], syscall.Exec(os.Args[1], argv, os.Environ()))
	}
	_, _ = os.NewFile(logFD, "log").WriteString(strings.ReplaceAll(err.Error(), "\n", "; ") + "\n")
	os.Exit(exitUnconfined)
}

// confine takes from the process what pppd does not need, for it parses what strangers send: it keeps no capability but
// CAP_NET_ADMIN when it has become pppd, and gains none by running another program.
func confine() error {
	// Root gets at exec what is inheritable or in the bounding set.
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&hdr, &caps[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	caps[0].Inheritable, caps[1].Inheritable = 0, 0
	if err := unix.Capset(&hdr, &caps[0]); err != nil {
		return fmt.Errorf("clear inheritable capabilities: %w", err)
	}
	for c := range uintptr(64) {
		if c == unix.CAP_NET_ADMIN {
			continue
		}
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); {
		case err == nil:
		case errors.Is(err, unix.EINVAL): // beyond the last capability
		case errors.Is(err, unix.EPERM): // no CAP_SETPCAP: what we were given is bounded already
		default:
			return fmt.Errorf("drop capability %d from pppd: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep pppd from gaining privileges: %w", err)
	}
	return nil
}
