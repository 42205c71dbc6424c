package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const tasks = "/proc/self/task"

// Confined reports whether this process has no capability and can get none, in any of its threads: stage 2.
func Confined() bool { return Check() == nil }

// Check returns nil if the process is confined, and else what it still has. Of the bounding set nothing is asked: with no-new-privs it
// grants nothing, and a process without CAP_SETPCAP cannot empty it.
func Check() error {
	runtime.LockOSThread() // two questions to one thread
	defer runtime.UnlockOSThread()
	caps, err := threadCapabilities(0)
	if err != nil {
		return err
	}
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read no-new-privs: %w", err)
	}
	if err := judge(unix.Gettid(), caps, set == 1); err != nil {
		return err
	}
	return eachThread(func(tid int, status map[string]string) error {
		caps, err := threadCapabilities(tid)
		if errors.Is(err, unix.ESRCH) {
			return nil // it has ended
		}
		if err != nil {
			return err
		}
		return judge(tid, caps, status["NoNewPrivs"] == "1")
	})
}

func judge(tid int, caps capabilities, noNewPrivs bool) error {
	switch {
	case !caps.none():
		return fmt.Errorf("thread %d has capabilities: permitted %#x, effective %#x, inheritable %#x", tid, caps.permitted, caps.effective, caps.inheritable)
	case !noNewPrivs:
		return fmt.Errorf("thread %d does not have no-new-privs", tid)
	}
	return nil
}

// eachThread calls f with the fields of each thread's status. Without /proc it calls nobody: the caller has asked its own thread, of
// which, at the program's start, all others are copies.
func eachThread(f func(tid int, status map[string]string) error) error {
	entries, err := os.ReadDir(tasks)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the threads: %w", err)
	}
	for _, entry := range entries {
		tid, err := strconv.Atoi(entry.Name())
		if err != nil {
			return fmt.Errorf("list the threads: %w", err)
		}
		status, err := threadStatus(tid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return err
		}
		if err := f(tid, status); err != nil {
			return err
		}
	}
	return nil
}

func threadStatus(tid int) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(tasks, strconv.Itoa(tid), "status"))
	if err != nil {
		return nil, fmt.Errorf("read the status of thread %d: %w", tid, err)
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields, nil
}
