package pppd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Stray is a pppd that carries our marker: a child of a predecessor that died.
type Stray struct {
	// PID is its process id.
	PID int
	// Marker is its ipparam argument.
	Marker string
}

// FindStrays lists the processes named pppd of our user, in this process's network namespace, whose ipparam argument begins with prefix.
// Call it before the first Start: it does not know its own processes from others.
func FindStrays(prefix string) ([]Stray, error) {
	if prefix == "" {
		return nil, errors.New("find stray pppd: an empty marker would match every pppd")
	}
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("find stray pppd: %w", err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("find stray pppd: %w", err)
	}
	var strays []Stray
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if marker, ok := strayMarker(pid, prefix, ours); ok {
			strays = append(strays, Stray{PID: pid, Marker: marker})
		}
	}
	return strays, nil
}

// strayMarker tells whether process pid is a pppd with our marker in network namespace netns.
func strayMarker(pid int, prefix, netns string) (string, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return "", false // gone, or not ours to see
	}
	marker, ok := markerOf(cmdline, prefix)
	if !ok {
		return "", false
	}
	// Anybody can call himself that, and let us wait for his end.
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil || realUser(status) != os.Getuid() {
		return "", false
	}
	ns, err := os.Readlink(filepath.Join(dir, "ns/net"))
	return marker, err == nil && ns == netns
}

// markerOf finds the ipparam argument in a command line as /proc shows it.
func markerOf(cmdline []byte, prefix string) (string, bool) {
	args := strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	if filepath.Base(args[0]) != "pppd" {
		return "", false
	}
	i := slices.Index(args, "ipparam")
	if i < 0 || i+1 == len(args) || !strings.HasPrefix(args[i+1], prefix) {
		return "", false
	}
	return args[i+1], true
}

// realUser is the user ID of who has started a process, in its status as /proc shows it, or -1. (The files there belong to root if
// the process hides its memory.)
func realUser(status []byte) int {
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "Uid:" {
			continue
		}
		if uid, err := strconv.Atoi(f[1]); err == nil {
			return uid
		}
	}
	return -1
}

// EndStrays asks every stray to hang up, kills those that are left when ctx is done, and returns how many there were.
func EndStrays(ctx context.Context, prefix string) (int, error) {
	strays, err := FindStrays(prefix)
	if err != nil {
		return 0, err
	}
	netns, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return 0, fmt.Errorf("end stray pppd: %w", err)
	}
	var errs []error
	var ends []*strayEnd
	for _, s := range strays {
		fd, err := unix.PidfdOpen(s.PID, unix.PIDFD_NONBLOCK)
		if err != nil {
			if !errors.Is(err, unix.ESRCH) {
				errs = append(errs, fmt.Errorf("watch stray pppd %d: %w", s.PID, err))
			}
			continue
		}
		e := &strayEnd{pidfd: os.NewFile(uintptr(fd), "pidfd"), gone: make(chan struct{})}
		defer e.pidfd.Close()
		// The number may have been given to another process since: look again, now that the pidfd pins it.
		if _, ok := strayMarker(s.PID, prefix, netns); !ok {
			continue
		}
		errs = append(errs, e.signal(unix.SIGTERM))
		go e.wait()
		ends = append(ends, e)
	}
	for _, e := range ends {
		select {
		case <-e.gone:
		case <-ctx.Done():
			errs = append(errs, e.signal(unix.SIGKILL))
			<-e.gone
		}
	}
	return len(ends), errors.Join(errs...)
}

type strayEnd struct {
	pidfd *os.File
	gone  chan struct{}
}

func (e *strayEnd) signal(sig unix.Signal) error {
	raw, err := e.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if sent != nil && !errors.Is(sent, unix.ESRCH) {
		return fmt.Errorf("send %v to a stray pppd: %w", sig, sent)
	}
	return nil
}

// wait closes gone when the process has ended, whose child it is not: there is no status to collect.
func (e *strayEnd) wait() {
	defer close(e.gone)
	raw, err := e.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || (err != nil && err != unix.EINTR)
	})
}
