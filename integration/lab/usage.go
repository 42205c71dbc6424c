package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Trace counts the system calls of the daemon while it is attached. A process that moves packets needs calls for them.
type Trace struct {
	strace  *Process
	summary string // path
	server  *Server
	cpu     time.Duration
}

// Activity is what the daemon did while a Trace was attached.
type Activity struct {
	Receiving, Sending uint64        // system calls of all threads that read or write, sockets or files
	Calls              uint64        // all system calls
	CPU                time.Duration // in user space and in the kernel
}

func (a Activity) String() string {
	return fmt.Sprintf("%d system calls, of them %d receiving, %d sending; CPU time %v", a.Calls, a.Receiving, a.Sending, a.CPU)
}

// count adds calls of one name.
func (a *Activity) count(name string, calls uint64) {
	a.Calls += calls
	switch name {
	case "recvmsg", "recvfrom", "recvmmsg", "read", "readv", "splice":
		a.Receiving += calls
	case "sendmsg", "sendto", "sendmmsg", "write", "writev", "sendfile":
		a.Sending += calls
	}
}

// Trace attaches strace to the daemon.
func (s *Server) Trace() (*Trace, error) {
	cpu, err := s.CPU()
	if err != nil {
		return nil, err
	}
	summary := filepath.Join(s.dir, fmt.Sprintf("strace-%d", time.Now().UnixNano()))
	process, err := s.lab.start(s.Command(context.Background(), "strace", "-f", "-c", "-o", summary, "-p", strconv.Itoa(s.Process.PID())), s.Name, "strace.log")
	if err != nil {
		return nil, err
	}
	t := &Trace{strace: process, summary: summary, server: s, cpu: cpu}
	return t, Until(context.Background(), 60*time.Second, "strace is attached", func() error { return process.says("attached") })
}

// Stop detaches and returns what the daemon did meanwhile.
func (t *Trace) Stop() (Activity, error) {
	var status *exec.ExitError // strace ends itself by the signal that ended it
	if err := t.strace.Signal(syscall.SIGINT, 60*time.Second); err != nil && !errors.As(err, &status) {
		return Activity{}, err
	}
	text, err := os.ReadFile(t.summary)
	if err != nil {
		return Activity{}, fmt.Errorf("read strace's summary: %w", err)
	}
	var a Activity
	for line := range strings.Lines(string(text)) {
		// % time, seconds, usecs/call, calls, errors (or nothing), syscall
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] == "total" {
			continue
		}
		if calls, err := strconv.ParseUint(fields[3], 10, 64); err == nil {
			a.count(fields[len(fields)-1], calls)
		}
	}
	cpu, err := t.server.CPU()
	a.CPU = cpu - t.cpu
	return a, err
}

// clockTick is the unit of times in /proc/PID/stat; Linux has had no other for user space on any of Go's architectures.
const clockTick = time.Second / 100

// CPU returns the CPU time that the daemon has used, in user space and in the kernel.
func (s *Server) CPU() (time.Duration, error) { return s.Process.CPU() }

// cpuOf returns the CPU time that a process has used, with all of its threads.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read a program's CPU time: %w", err)
	}
	_, text, _ := strings.Cut(string(stat), ") ") // field 3 of proc_pid_stat(5) and on
	var ticks int64
	fields := strings.Fields(text)
	for _, number := range []int{14, 15} { // utime, stime
		if len(fields) <= number-3 {
			return 0, fmt.Errorf("a program's CPU time is not in %q", stat)
		}
		n, err := strconv.ParseInt(fields[number-3], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read a program's CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// FDs returns how many file descriptors a process has open.
func FDs(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, fmt.Errorf("list the file descriptors of a program: %w", err)
	}
	return len(entries), nil
}

// RSS returns the octets of memory that the daemon has in use.
func (s *Server) RSS() (uint64, error) { return RSS(s.Process.PID()) }

// RSS returns the octets of memory that a process has in use.
func RSS(pid int) (uint64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read a program's memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("read a program's memory: no VmRSS in its status")
}
