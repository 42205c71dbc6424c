package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a program that runs until it is stopped, with its output in a file.
type Process struct {
	Log string // path

	cmd   *exec.Cmd
	from  int64 // where its output starts in the log
	ended chan struct{}
	err   error // after ended
}

// Start runs a program in the background, with its output in a file below the lab's directory. The lab kills it when it closes.
func (l *Lab) Start(cmd *exec.Cmd, log string) (*Process, error) { return l.start(cmd, log) }

// start runs a program in the background. The lab kills it when it closes.
func (l *Lab) start(cmd *exec.Cmd, log ...string) (*Process, error) {
	path := filepath.Join(append([]string{l.Dir}, log...)...)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", cmd.Args[0], err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	p := &Process{Log: path, cmd: cmd, from: size(path), ended: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.Join(cmd.Args, " "), err)
	}
	l.addLog(path)
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	l.onClose(func() error { p.Kill(); return nil })
	return p, nil
}

func (l *Lab) addLog(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, known := range l.logs {
		if known == path {
			return
		}
	}
	l.logs = append(l.logs, path)
}

// PID is the process id of the program itself.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// CPU returns the CPU time that the program has used, in user space and in the kernel.
func (p *Process) CPU() (time.Duration, error) { return cpuOf(p.PID()) }

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Kill ends the program at once and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Signal sends a signal and waits until the program has ended.
func (p *Process) Signal(signal syscall.Signal, limit time.Duration) error {
	if err := p.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("send %v to %s: %w", signal, p.cmd.Args[0], err)
	}
	timeout := time.NewTimer(limit * patience)
	defer timeout.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-timeout.C:
		return fmt.Errorf("process %d did not end within %v of %v", p.PID(), limit, signal)
	}
}

// Pause stops the program where it is; Resume lets it go on.
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume is the end of Pause.
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// says returns an error until the program's output contains text, and one that stops a wait when the program has ended.
func (p *Process) says(text string) error {
	if strings.Contains(after(p.Log, p.from), text) {
		return nil
	}
	select {
	case <-p.ended:
		return fmt.Errorf("%w: the program ended (%v) and printed: %s", errStop, p.err, tail(p.Log, 10))
	default:
		return fmt.Errorf("the program has not printed %q", text)
	}
}

// tail returns the last lines of a file, or nothing if it cannot be read.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// processesIn returns the ids of the processes whose namespace of a kind ("net", "mnt") is that of the path.
func processesIn(kind, path string) ([]int, error) {
	var wanted, found syscall.Stat_t
	if err := syscall.Stat(path, &wanted); err != nil {
		return nil, fmt.Errorf("find namespace %s: %w", path, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || syscall.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), &found) != nil {
			continue // no process, or one that has just ended
		}
		if found.Ino == wanted.Ino && found.Dev == wanted.Dev {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// programName returns the name of the program that a process runs, as the kernel has it.
func programName(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
