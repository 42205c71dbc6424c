package pppd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// enterNamespace gives the calling thread a mount namespace of its own with empty /etc/ppp and /run, and puts into it what
// every pppd reads. The thread must be locked to its goroutine and must end with it.
//
// It also gives it a host name of its own, 127.0.0.1: radius.so looks up the host's name before each request, and waits for
// the name servers if it is not a plain address.
func enterNamespace(r Radius) error {
	if st, err := os.Stat(etcPPP); err != nil || !st.IsDir() {
		return fmt.Errorf("%s is not a directory: install the ppp package, or create the directory (nothing is written to it)", etcPPP)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("create a mount and a UTS namespace for pppd (this needs CAP_SYS_ADMIN): %w", err)
	}
	if err := unix.Sethostname([]byte("127.0.0.1")); err != nil {
		return fmt.Errorf("name the UTS namespace of pppd: %w", err)
	}
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
	for _, f := range []struct{ path, text string }{
		{etcPPP + "/options", ""},
		{dictionaryPath, dictionary},
		{portsPath, ""},
		{serversPath, r.serversFile()},
	} {
		if err := os.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
			return fmt.Errorf("prepare pppd's files: %w", err)
		}
	}
	return confine()
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
