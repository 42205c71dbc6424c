package pppd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	// Thread is the process's first thread, and may serve one launcher at a time. Nil is a thread of the launcher's own,
	// with which Exec is not possible.
	Thread *Thread
}

// Launcher starts pppd processes from one thread, into a mount namespace of their own. Its methods may be called concurrently.
type Launcher struct {
	cfg      LauncherConfig
	thread   *Thread
	ns       *namespace         // on the thread only
	stop     context.CancelFunc // ends the thread if it is our own
	stopped  chan struct{}      // closed by Close
	watchers sync.WaitGroup

	// gate is held for reading while something changes that State tells, and for writing by Exec.
	gate sync.RWMutex

	mu        sync.Mutex // guards what follows
	closed    bool
	processes map[string]*Process // by interface
}

// NewLauncher creates the namespace and writes pppd's files there.
func NewLauncher(cfg LauncherConfig) (*Launcher, error) {
	l, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	err = l.thread.do(func() (err error) {
		if l.ns, err = newNamespace(l.cfg.Radius, l.cfg.Thread == nil); err != nil {
			return err
		}
		return l.ns.leave()
	})
	if err != nil {
		l.end()
		return nil, err
	}
	return l, nil
}

// prepare checks the configuration and makes a launcher without a namespace.
func prepare(cfg LauncherConfig) (*Launcher, error) {
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
		thread:    cfg.Thread,
		stop:      func() {},
		stopped:   make(chan struct{}),
		processes: make(map[string]*Process),
	}
	if l.thread == nil {
		ctx, cancel := context.WithCancel(context.Background())
		l.thread, l.stop = ownThread(ctx), cancel
	}
	return l, nil
}

// inside runs job on the thread in the namespace.
func (l *Launcher) inside(job func() error) error {
	return l.thread.do(func() error {
		if err := l.ns.enter(); err != nil {
			return err
		}
		err := job()
		_ = l.ns.leave() // a thread that is stuck there does its next job all the same
		return err
	})
}

// end gives up the namespace and, if it is our own, the thread.
func (l *Launcher) end() {
	_ = l.thread.do(func() error {
		if l.ns == nil {
			return nil
		}
		return l.ns.close()
	})
	l.stop()
	if l.cfg.Thread == nil {
		<-l.thread.ended
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
	p := &Process{Name: s.Name, Interface: s.Interface, caughtUp: make(chan struct{}), done: make(chan struct{})}
	l.gate.RLock()
	defer l.gate.RUnlock()
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

	if err := l.spawn(&s, p); err != nil {
		l.forget(p)
		return nil, fmt.Errorf("start pppd for %s: %w", s.Interface, err)
	}
	l.mu.Lock()
	p.running = true
	closed := l.closed
	l.mu.Unlock()
	if closed { // Close came in between and did not see it
		_ = p.Terminate()
	}
	l.attend(p, s.Log)
	return p, nil
}

// attend hears and watches p to its end.
func (l *Launcher) attend(p *Process, log func(line string)) {
	go p.hear(&l.gate, log)
	go func() {
		p.watch(&l.gate)
		defer l.gate.RUnlock()
		l.forget(p)
		close(p.done)
	}()
}

// forget drops p and removes its files.
func (l *Launcher) forget(p *Process) {
	_ = l.inside(func() error {
		for _, f := range []string{configPath(p.Interface), sequencePath(p.Interface), "/run/" + p.Interface + ".pid", "/run/pppd/" + p.Interface + ".pid"} {
			os.Remove(f)
		}
		return nil
	})
	l.mu.Lock()
	delete(l.processes, p.Interface)
	l.mu.Unlock()
	l.watchers.Done()
}

// logFD is the descriptor on which pppd writes its log.
const logFD = 4

// spawn writes the session's file and starts the process on the launcher's thread. It gives p its descriptors.
func (l *Launcher) spawn(s *Session, p *Process) (err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("create a pipe for its log: %w", err)
	}
	// The writing end stays non-blocking: a pppd whose log nobody reads drops it instead of hanging.
	p.logs = os.NewFile(uintptr(pipe[0]), "pppd log")
	defer func() {
		unix.Close(pipe[1])
		if err != nil {
			p.logs.Close()
		}
	}()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	raw, err := s.Socket.SyscallConn()
	if err != nil {
		return fmt.Errorf("its socket: %w", err)
	}

	argv := append([]string{confinerName, l.cfg.Path}, s.argv(l.cfg.Marker+"-"+s.Interface, l.cfg.OurName, configPath(s.Interface))...)
	pidfd := -1
	err = l.inside(func() error {
		if err := os.WriteFile(configPath(s.Interface), []byte(l.cfg.Radius.configFile(s.Name, s.Interface)), 0o600); err != nil {
			return fmt.Errorf("write its RADIUS configuration: %w", err)
		}
		var execErr error
		err := raw.Control(func(socket uintptr) {
			p.Started = time.Now()
			p.PID, execErr = syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{
				Dir:   "/",
				Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
				Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), socket, logFD: uintptr(pipe[1])},
				Sys: &syscall.SysProcAttr{
					Setpgid:   true, // pppd signals its whole process group
					Pdeathsig: syscall.SIGTERM,
					PidFD:     &pidfd,
				},
			})
		})
		return errors.Join(err, execErr)
	})
	if err != nil {
		return err
	}
	if pidfd < 0 {
		p.abandon()
		return errors.New("the kernel gave no pidfd: Linux 5.4 or newer is needed")
	}
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		p.abandon()
		return fmt.Errorf("poll its pidfd: %w", err)
	}
	// Passwords pass through its memory. It may have ended already.
	_ = unix.Prlimit(p.PID, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	p.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	return nil
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
		if p.running {
			ps = append(ps, p)
		}
	}
	return ps
}

// Close asks every pppd to hang up, kills those that are left when ctx is done, and ends the mount namespace and the
// launcher's own thread. It returns when all have ended.
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
	l.gate.RLock()
	defer l.gate.RUnlock()
	l.end()
	close(l.stopped)
	return errs
}

func (l *Launcher) signalAll(send func(*Process) error) error {
	var errs []error
	for _, p := range l.Processes() {
		errs = append(errs, send(p))
	}
	return errors.Join(errs...)
}
