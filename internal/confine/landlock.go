package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	abi "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// systemDirs are what name resolution, certificates, time zones and the state of the kernel are read from. Directories, because a file
// that is replaced by another is a new one to Landlock. Devices are where the links in /sys/class/net lead.
var systemDirs = []string{
	"/etc", "/proc", "/sys/class/net", "/sys/devices", "/usr/share/zoneinfo", "/usr/share/ca-certificates",
	"/usr/local/share/ca-certificates", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
}

// linked are files which on some systems are links to elsewhere.
var linked = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/localtime", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}

// Readable returns the paths of the system that Filter leaves readable: those that exist now.
func Readable() []string {
	paths := slices.DeleteFunc(slices.Clone(systemDirs), func(path string) bool {
		_, err := os.Stat(path)
		return err != nil
	})
	for _, link := range linked {
		target, err := filepath.EvalSymlinks(link)
		if err != nil {
			continue
		}
		if dir := filepath.Dir(target); dir != "/" {
			target = dir // where its successor will be
		}
		if !slices.ContainsFunc(paths, func(p string) bool { return below(p, target) }) {
			paths = append(paths, target)
		}
	}
	return paths
}

// below reports whether path is dir or below it.
func below(dir, path string) bool {
	rest, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rest)
}

// landlockSupport returns why the kernel cannot restrict files.
func landlockSupport() error {
	version, err := abi.LandlockGetABIVersion()
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return errors.New("the kernel has Landlock, but does not use it (add landlock to lsm= on the kernel's command line)")
	case errors.Is(err, unix.ENOSYS):
		return errors.New("this kernel has no Landlock (CONFIG_SECURITY_LANDLOCK)")
	case err != nil:
		return fmt.Errorf("ask for Landlock (a seccomp profile of the container runtime may refuse it): %w", err)
	case version < 1:
		return fmt.Errorf("the kernel's Landlock has version %d", version)
	}
	return nil
}

// restrictFiles leaves those paths readable and nothing writable, whatever this kernel's Landlock can refuse. With unixSockets it leaves out
// only the connections to sockets in the file system, which the latest versions could refuse.
func restrictFiles(paths []string, unixSockets bool) error {
	handled := landlock.V11.HandledAccessFS
	if unixSockets {
		handled &^= abi.AccessFSResolveUnix
	}
	config, err := landlock.NewConfig(handled)
	if err != nil {
		return fmt.Errorf("restrict files: %w", err)
	}
	rules, err := readRules(paths)
	if err != nil {
		return fmt.Errorf("restrict files: %w", err)
	}
	if err := config.BestEffort().RestrictPaths(rules...); err != nil {
		return fmt.Errorf("restrict files: %w", err)
	}
	return nil
}

func readRules(paths []string) ([]landlock.Rule, error) {
	var files, dirs []string
	for _, path := range paths {
		switch info, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case info.IsDir():
			dirs = append(dirs, path)
		default:
			files = append(files, path)
		}
	}
	return []landlock.Rule{
		landlock.PathAccess(abi.AccessFSReadFile|abi.AccessFSReadDir, dirs...).IgnoreIfMissing(),
		landlock.PathAccess(abi.AccessFSReadFile, files...).IgnoreIfMissing(),
	}, nil
}
