package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used of the machine since it started. One that moves packets must wake up for them, spend time on
// them, and read and write them.
type Usage struct {
	Read     uint64        // octets read by system calls, rchar of proc(5)
	Written  uint64        // octets written, wchar
	CPU      time.Duration // in user space and in the kernel
	Wakeups  uint64        // voluntary context switches of all threads
	Children time.Duration // CPU time of children that have ended
}

// Minus returns what was used since an earlier reading.
func (u Usage) Minus(earlier Usage) Usage {
	return Usage{u.Read - earlier.Read, u.Written - earlier.Written, u.CPU - earlier.CPU, u.Wakeups - earlier.Wakeups, u.Children - earlier.Children}
}

func (u Usage) String() string {
	return fmt.Sprintf("read %d B, wrote %d B, CPU %v, woke up %d times", u.Read, u.Written, u.CPU, u.Wakeups)
}

// clockTick is the unit of times in /proc/PID/stat; Linux has had no other for user space on any of Go's architectures.
const clockTick = time.Second / 100

// Usage reads what the daemon has used.
func (s *Server) Usage() (Usage, error) {
	proc := fmt.Sprintf("/proc/%d/", s.Process.PID())
	var u Usage
	io, err := os.ReadFile(proc + "io")
	if err != nil {
		return u, fmt.Errorf("read the daemon's I/O counters: %w", err)
	}
	u.Read, u.Written = field(string(io), "rchar"), field(string(io), "wchar")
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		return u, fmt.Errorf("read the daemon's CPU time: %w", err)
	}
	_, afterName, _ := strings.Cut(string(stat), ") ") // fields 3 and on of proc_pid_stat(5)
	if fields := strings.Fields(afterName); len(fields) > 14 {
		ticks := func(number int) time.Duration {
			n, _ := strconv.ParseInt(fields[number-3], 10, 64)
			return time.Duration(n) * clockTick
		}
		u.CPU, u.Children = ticks(14)+ticks(15), ticks(16)+ticks(17)
	}
	threads, err := filepath.Glob(proc + "task/*/status")
	if err != nil {
		return u, fmt.Errorf("list the daemon's threads: %w", err)
	}
	for _, thread := range threads {
		if status, err := os.ReadFile(thread); err == nil { // a thread may have ended meanwhile
			u.Wakeups += field(string(status), "voluntary_ctxt_switches")
		}
	}
	return u, nil
}

// field returns the number after "name:" at the start of a line.
func field(text, name string) uint64 {
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}
