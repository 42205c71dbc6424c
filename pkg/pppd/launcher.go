package pppd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultPath is where distributions keep pppd.
const DefaultPath = "/usr/sbin/pppd"

// ErrClosed is returned by Start after Close.
var ErrClosed = errors.New("the pppd launcher is closed")

// LauncherConfig says what is common to all sessions.
type LauncherConfig struct {
	// Path of the pppd program, DefaultPath if empty.
	Path string
	// Marker is the start of the ipparam argument of every pppd, by which FindStrays knows them: 1 to 64 characters of
	// A-Z a-z 0-9 . _ -.
	Marker string
	// OurName is what we call ourselves in CHAP challenges, "l2tpctl" if empty. It need not be the host's name.
	OurName string
	// Radius is the server that authenticates the peers.
	Radius Radius
}

// Launcher starts pppd processes from a thread in a mount namespace of its own. Its methods may be called concurrently.
type Launcher struct {
	cfg      LauncherConfig
	jobs     chan func() // run on the thread
	stopped  chan struct{}
	watchers sync.WaitGroup

	mu        sync.Mutex // guards what follows
	closed    bool
	processes map[string]*Process // by interface
}

// NewLauncher creates the thread and its namespace and writes pppd's files there.
func NewLauncher(cfg LauncherConfig) (*Launcher, error) {
	cfg.Path, cfg.OurName = orDefault(cfg.Path, DefaultPath), orDefault(cfg.OurName, "l2tpctl")
	if !filepath.IsAbs(cfg.Path) {
		return nil, fmt.Errorf("path of pppd %q: want an absolute path", cfg.Path)
	}
	if err := unix.Access(cfg.Path, unix.X_OK); err != nil {
		return nil, fmt.Errorf("run %s (install the ppp package): %w", cfg.Path, err)
	}
	if !plain(cfg.Marker, maxNameLen) || !plain(cfg.OurName, maxNameLen) {
		return nil, fmt.Errorf("marker %q, own name %q: want 1 to %d characters of A-Z a-z 0-9 . _ -", cfg.Marker, cfg.OurName, maxNameLen)
	}
	if err := cfg.Radius.check(); err != nil {
		return nil, err
	}
	l := &Launcher{
		cfg:       cfg,
		jobs:      make(chan func()),
		stopped:   make(chan struct{}),
		processes: make(map[string]*Process),
	}
	ready := make(chan error, 1)
	go l.thread(ready)
	if err := <-ready; err != nil {
		<-l.stopped
		return nil, err
	}
	return l, nil
}

// thread enters the namespace and runs jobs until the channel is closed. It never unlocks its thread, which therefore ends
// with it, and the namespace ends when the last pppd has.
func (l *Launcher) thread(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The process's first thread cannot end, and /proc/self would show our namespace: leave it to others.
		started := make(chan error, 1)
		go l.thread(started)
		ready <- <-started
		runtime.UnlockOSThread()
		return
	}
	defer close(l.stopped)
	err := enterNamespace(l.cfg.Radius)
	ready <- err
	if err != nil {
		return
	}
	for job := range l.jobs {
		job()
	}
}

// Start starts pppd for s, whose socket it takes over. The process is known to be running when Start returns; what
// becomes of it is told by Process.Done. The error is os.ErrExist while another process has the interface's name, and
// ErrClosed after Close.
func (l *Launcher) Start(s Session) (*Process, error) {
	if s.Socket != nil {
		defer s.Socket.Close()
	}
	invalid := s.check()
	p := &Process{Name: s.Name, Interface: s.Interface, done: make(chan struct{})}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, ErrClosed
	}
	if invalid != nil {
		l.mu.Unlock()
		return nil, fmt.Errorf("start pppd for %s: %w", s.Interface, invalid)
	}
	if old, ok := l.processes[s.Interface]; ok {
		l.mu.Unlock()
		return nil, fmt.Errorf("start pppd for %s: %w: process %d has it", s.Interface, os.ErrExist, old.PID)
	}
	l.processes[s.Interface] = p
	l.watchers.Add(1) // keeps the thread for the files' removal too
	l.mu.Unlock()

	pidfd, logs, err := l.spawn(&s, p)
	if err != nil {
		l.forget(p)
		return nil, fmt.Errorf("start pppd for %s: %w", s.Interface, err)
	}
	l.mu.Lock()
	p.pidfd = pidfd
	closed := l.closed
	l.mu.Unlock()
	if closed { // Close came in between and did not see it
		_ = p.Terminate()
	}
	go func() {
		defer logs.Close()
		pump(logs, time.Now, func(line string) {
			p.heard(line)
			if s.Log != nil {
				s.Log(line)
			}
		})
	}()
	go func() {
		p.watch()
		l.forget(p)
		close(p.done)
	}()
	return p, nil
}

// forget drops p and removes its files.
func (l *Launcher) forget(p *Process) {
	removed := make(chan struct{})
	l.jobs <- func() {
		for _, f := range []string{configPath(p.Interface), sequencePath(p.Interface), "/run/" + p.Interface + ".pid", "/run/pppd/" + p.Interface + ".pid"} {
			os.Remove(f)
		}
		close(removed)
	}
	<-removed
	l.mu.Lock()
	delete(l.processes, p.Interface)
	l.mu.Unlock()
	l.watchers.Done()
}

// spawn writes the session's file and starts the process on the launcher's thread. It returns the process's pidfd and the
// reading end of its log.
func (l *Launcher) spawn(s *Session, p *Process) (process, logs *os.File, err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, fmt.Errorf("create a pipe for its log: %w", err)
	}
	// The writing end stays non-blocking: a pppd whose log nobody reads drops it instead of hanging.
	logs = os.NewFile(uintptr(pipe[0]), "pppd log")
	defer func() {
		unix.Close(pipe[1])
		if err != nil {
			logs.Close()
		}
	}()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	raw, err := s.Socket.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("its socket: %w", err)
	}

	argv := append([]string{filepath.Base(l.cfg.Path)}, s.argv(l.cfg.Marker+"-"+s.Interface, l.cfg.OurName, configPath(s.Interface))...)
	pidfd := -1
	result := make(chan error, 1)
	l.jobs <- func() {
		result <- func() error {
			if err := os.WriteFile(configPath(s.Interface), []byte(l.cfg.Radius.configFile(s.Name, s.Interface)), 0o600); err != nil {
				return fmt.Errorf("write its RADIUS configuration: %w", err)
			}
			var execErr error
			err := raw.Control(func(socket uintptr) {
				p.Started = time.Now()
				p.PID, execErr = syscall.ForkExec(l.cfg.Path, argv, &syscall.ProcAttr{
					Dir:   "/",
					Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
					Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), socket, uintptr(pipe[1])},
					Sys: &syscall.SysProcAttr{
						Setpgid:   true, // pppd signals its whole process group
						Pdeathsig: syscall.SIGTERM,
						PidFD:     &pidfd,
					},
				})
			})
			return errors.Join(err, execErr)
		}()
	}
	if err := <-result; err != nil {
		return nil, nil, err
	}
	if pidfd < 0 {
		p.abandon()
		return nil, nil, errors.New("the kernel gave no pidfd: Linux 5.4 or newer is needed")
	}
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		p.abandon()
		return nil, nil, fmt.Errorf("poll its pidfd: %w", err)
	}
	// Passwords pass through its memory. It may have ended already.
	_ = unix.Prlimit(p.PID, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	return os.NewFile(uintptr(pidfd), "pidfd"), logs, nil
}

// abandon ends a process that cannot be watched.
func (p *Process) abandon() {
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	_, _ = syscall.Wait4(p.PID, nil, 0, nil)
}

// Processes returns the running processes in no order.
func (l *Launcher) Processes() []*Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	ps := make([]*Process, 0, len(l.processes))
	for _, p := range l.processes {
		if p.pidfd != nil {
			ps = append(ps, p)
		}
	}
	return ps
}

// Close asks every pppd to hang up, kills those that are left when ctx is done, and ends the thread and with it the mount
// namespace. It returns when all have ended.
func (l *Launcher) Close(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-l.stopped
		return nil
	}
	l.closed = true
	l.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		l.watchers.Wait()
		close(ended)
	}()
	errs := l.signalAll((*Process).Terminate)
	select {
	case <-ended:
	case <-ctx.Done():
		errs = errors.Join(errs, l.signalAll((*Process).Kill))
		<-ended
	}
	close(l.jobs)
	<-l.stopped
	return errs
}

func (l *Launcher) signalAll(send func(*Process) error) error {
	var errs []error
	for _, p := range l.Processes() {
		errs = append(errs, send(p))
	}
	return errors.Join(errs...)
}
