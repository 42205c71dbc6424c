package lab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/doctor"
)

// systemdInit makes a process the first one of a computer that systemd runs.
//
//go:embed systemd.sh
var systemdInit string

// Systemd is a computer that systemd runs in the network namespace of a server, where units start the program under test. Its files are
// those of the machine below a layer in memory, and it sees no processes but its own.
type Systemd struct {
	*Server
	first *Process
	root  string // where its files are for others
}

// Places in the computer.
const (
	program       = "usr/local/bin/l2tpctl"
	configuration = "etc/l2tpctl/config.yaml"
	unitFiles     = "etc/systemd/system"
	controlSocket = "run/l2tpctl/control.sock"
)

// Systemd boots systemd in a namespace and waits until it takes commands. The program and its configuration, and unit files of the machine, are
// installed; nothing is started.
func (l *Lab) Systemd(ctx context.Context, space *Namespace, binary, config string, units ...string) (*Systemd, error) {
	layer := filepath.Join(l.Dir, "layer")
	if err := os.Mkdir(layer, 0o755); err != nil {
		return nil, fmt.Errorf("make a directory for the computer: %w", err)
	}
	group, err := l.cgroup()
	if err != nil {
		return nil, err
	}
	cmd := space.Command(context.Background(), "sh", "-c", systemdInit, "sh", layer, group)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
	first, err := l.start(cmd, space.Name, "systemd.log")
	if err != nil {
		return nil, err
	}
	root := fmt.Sprintf("/proc/%d/root", first.PID())
	s := &Systemd{first: first, root: root, Server: &Server{
		Namespace: space, binary: binary, dir: filepath.Join(l.Dir, space.Name), config: "/" + configuration, socket: filepath.Join(root, controlSocket),
	}}
	err = Until(ctx, 90*time.Second, "systemd is up", func() error {
		select {
		case <-first.Ended():
			return fmt.Errorf("%w: it ended (%v): %s", errStop, first.err, tail(first.Log, 20))
		default:
			if _, err := os.Stat(filepath.Join(root, "run/systemd/private")); err != nil { // else nsenter would come before the root is in place
				return err
			}
			_, err := s.Systemctl(ctx, "is-active", "multi-user.target")
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	for _, unit := range units {
		if err := s.install(unit, filepath.Join(unitFiles, filepath.Base(unit)), 0o644); err != nil {
			return nil, err
		}
	}
	return s, errors.Join(s.Configure(config), s.Upgrade())
}

// cgroup makes a cgroup below the root of all, with the controllers that units ask for, and returns its directory.
func (l *Lab) cgroup() (string, error) {
	mounted := filepath.Join(l.Dir, "cgroup")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		return "", fmt.Errorf("make a directory for cgroups: %w", err)
	}
	if err := unix.Mount("cgroup2", mounted, "cgroup2", 0, ""); err != nil {
		return "", fmt.Errorf("mount cgroups (version 2): %w", err)
	}
	l.onClose(func() error { return unix.Unmount(mounted, unix.MNT_DETACH) })
	for _, controller := range []string{"cpu", "memory", "pids"} { // a kernel may be without
		_ = os.WriteFile(filepath.Join(mounted, "cgroup.subtree_control"), []byte("+"+controller), 0)
	}
	group := filepath.Join(mounted, filepath.Base(l.Dir))
	if err := os.Mkdir(group, 0o755); err != nil {
		return "", fmt.Errorf("make a cgroup: %w", err)
	}
	l.onClose(func() error { return removeGroups(group) })
	return group, nil
}

// removeGroups removes a cgroup and those below it when their last processes have ended.
func removeGroups(group string) error {
	return Until(context.Background(), 60*time.Second, "remove "+group, func() error {
		var found []string
		err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				found = append(found, path)
			}
			return err
		})
		for i := len(found) - 1; i >= 0; i-- {
			err = errors.Join(err, os.Remove(found[i]))
		}
		return err
	})
}

// install copies a file of the machine into the computer, in place of the one that is there, which those who have it open keep.
func (s *Systemd) install(from, to string, mode os.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	path := filepath.Join(s.root, to)
	if err := os.WriteFile(path+".new", content, mode); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	return os.Rename(path+".new", path)
}

// Upgrade installs the program under test once more, as an upgrade does.
func (s *Systemd) Upgrade() error { return s.install(s.binary, program, 0o755) }

// Configure writes another configuration for the next start or reload.
func (s *Systemd) Configure(config string) error {
	if err := os.WriteFile(filepath.Join(s.root, configuration), []byte(config), 0o600); err != nil {
		return fmt.Errorf("configure the computer: %w", err)
	}
	return nil
}

// Inside prepares a program that sees what the computer's own see.
func (s *Systemd) Inside(ctx context.Context, args ...string) *exec.Cmd {
	enter := append([]string{"--target", strconv.Itoa(s.first.PID()), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--"}, args...)
	return exec.CommandContext(ctx, "nsenter", enter...)
}

// Systemctl runs systemctl and returns what it printed.
func (s *Systemd) Systemctl(ctx context.Context, args ...string) (string, error) {
	out, err := s.Inside(ctx, append([]string{"systemctl"}, args...)...).CombinedOutput()
	text := string(bytes.TrimSpace(out))
	if err != nil {
		return text, fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return text, nil
}

// Property returns a property of a unit.
func (s *Systemd) Property(ctx context.Context, unit, name string) (string, error) {
	return s.Systemctl(ctx, "show", "--value", "--property", name, unit)
}

// MainPID returns the process id of a unit's main process as the computer knows it, 0 if there is none.
func (s *Systemd) MainPID(ctx context.Context, unit string) (int, error) {
	text, err := s.Property(ctx, unit, "MainPID")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// Serving waits until the daemon answers and is another process than the one before; 0 is none. It returns the process's id.
func (s *Systemd) Serving(ctx context.Context, before int) (pid int, err error) {
	err = Until(ctx, 60*time.Second, "the daemon answers", func() error {
		if pid, err = s.MainPID(ctx, "l2tpctl.service"); err != nil || pid == 0 || pid == before {
			return fmt.Errorf("the daemon is process %d (%v)", pid, err)
		}
		_, err := s.Stats(ctx)
		return err
	})
	return pid, err
}

// Doctor runs l2tpctl doctor as an operator of the computer does.
func (s *Systemd) Doctor(ctx context.Context) ([]doctor.Finding, error) {
	return findings(s.Inside(ctx, "/"+program, "doctor", "-o", "json"))
}

// Journal returns the last lines of the units' logs.
func (s *Systemd) Journal(ctx context.Context, lines int) (string, error) {
	out, err := s.Inside(ctx, "journalctl", "--no-pager", "--quiet", "--lines", strconv.Itoa(lines)).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("read the journal: %w: %s", err, out)
	}
	return string(out), nil
}

// PowerOff has systemd stop all units as at a computer's shutdown, and waits for the end.
func (s *Systemd) PowerOff(limit time.Duration) error {
	const poweroff = 34 + 4 // SIGRTMIN+4 of the C library
	err := s.first.Signal(syscall.Signal(poweroff), limit)
	var status *exec.ExitError
	if errors.As(err, &status) && status.Sys().(syscall.WaitStatus).Signal() == unix.SIGINT {
		return nil // so does reboot(2) end who is no real computer
	}
	return err
}

// Current returns an error while a process of the computer does not run the program that is installed.
func (s *Systemd) Current(pid int) error {
	runs, err := os.Stat(filepath.Join(s.root, "proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return fmt.Errorf("look at what process %d runs: %w", pid, err)
	}
	there, err := os.Stat(filepath.Join(s.root, program))
	if err != nil {
		return fmt.Errorf("look at what is installed: %w", err)
	}
	if !os.SameFile(runs, there) {
		return fmt.Errorf("process %d runs another program than the one that is installed", pid)
	}
	return nil
}
