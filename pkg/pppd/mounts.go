package pppd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prepareMounts gives the calling thread's new mount namespace an empty /etc/ppp and /run, and makes everything else
// read-only.
func prepareMounts() error {
	// Slave, not private: nothing goes out, but a file system unmounted on the host, or a network namespace deleted
	// there, is not kept alive by our copy of its mount.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("separate the mounts of pppd from the host's: %w", err)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct{ target, options string }{
		{etcPPP, "mode=0700,size=256m"}, // a limit: two pages are used for each session
		{"/run", "mode=0755,size=64m"},
	} {
		if err := unix.Mount("tmpfs", m.target, "tmpfs", flags, m.options); err != nil {
			return fmt.Errorf("mount a private %s for pppd: %w", m.target, err)
		}
	}
	if err := hideSyslog(); err != nil {
		return err
	}
	if err := hideUserOptions(); err != nil {
		return err
	}
	if err := hideDatabase(); err != nil {
		return err
	}
	if err := os.Mkdir(sessionsDir, 0o700); err != nil {
		return fmt.Errorf("prepare pppd's files: %w", err)
	}
	return makeReadOnly()
}

// makeReadOnly leaves pppd no file system to write to but /etc/ppp and /run.
func makeReadOnly() error {
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
	return nil
}

// furnish writes what every pppd reads, where it is not there already. A file is replaced as a whole, for pppd processes
// may be reading it.
func furnish(r Radius) error {
	for _, f := range []struct{ path, text string }{
		{etcPPP + "/options", ""},
		{dictionaryPath, dictionary},
		{portsPath, ""},
		{serversPath, r.serversFile()},
	} {
		if old, err := os.ReadFile(f.path); err == nil && string(old) == f.text {
			continue
		}
		if err := os.WriteFile(f.path+".new", []byte(f.text), 0o600); err != nil {
			return fmt.Errorf("prepare pppd's files: %w", err)
		}
		if err := os.Rename(f.path+".new", f.path); err != nil {
			return fmt.Errorf("prepare pppd's files: %w", err)
		}
	}
	return nil
}

// hideSyslog keeps pppd, which logs to syslog whatever its options say, from telling each line twice. Under systemd
// /dev/log points into /run and is gone already.
func hideSyslog() error {
	const path = "/dev/log"
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&fs.ModeSocket == 0 {
		return nil
	}
	if err := unix.Mount("/dev/null", path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("hide %s from pppd: %w", path, err)
	}
	return nil
}

// hideDatabase makes pppd's database of links impossible to open. It serves multilink only, and its lock would couple all
// sessions: one pppd stopped at the wrong moment would stop every other.
func hideDatabase() error {
	var errs []error
	errs = append(errs, os.Mkdir("/run/pppd", 0o755)) // 2.5.x keeps its files here
	for _, p := range []string{"/run/pppd2.tdb", "/run/ppp/pppd2.tdb", "/run/pppd/pppd2.tdb"} {
		errs = append(errs, os.MkdirAll(p, 0o755))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("prepare a private /run for pppd: %w", err)
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
