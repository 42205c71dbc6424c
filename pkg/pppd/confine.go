package pppd

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// confine takes from the calling thread's future children what pppd does not need, for it parses what strangers send: they
// see all file systems but /etc/ppp and /run read-only, keep no capability but CAP_NET_ADMIN, and gain none by running
// another program. The thread itself keeps its capabilities.
func confine() error {
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, readOnly); err != nil {
		return fmt.Errorf("make the file systems read-only for pppd: %w", err)
	}
	writable := &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	for _, path := range []string{etcPPP, "/run"} {
		if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, writable); err != nil {
			return fmt.Errorf("keep the private %s writable for pppd: %w", path, err)
		}
	}
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

// hideUserOptions puts /dev/null over root's own options file, which pppd reads whatever its arguments say.
func hideUserOptions() error {
	root, err := user.LookupId("0")
	if err != nil {
		return nil // pppd asks the same question and will find no file either
	}
	path := filepath.Join(root.HomeDir, ".ppprc")
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	if err := unix.Mount("/dev/null", path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("hide %s from pppd: %w", path, err)
	}
	return nil
}
