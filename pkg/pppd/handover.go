package pppd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// State is what a Launcher hands over to the next image of its process: numbers of descriptors, which stay open, and what
// is known of its processes. It holds no secret.
type State struct {
	// Mounts and Hostname are the namespaces, Root and Directory directories in them.
	Mounts, Hostname, Root, Directory int
	// Radius is the server that the running pppd ask.
	Radius netip.AddrPort
	// Processes lists all whose Done was not closed.
	Processes []ProcessState
}

// ProcessState is one process in a State.
type ProcessState struct {
	// PID, Name, Interface and Started are those of the Process.
	PID             int
	Name, Interface string
	Started         time.Time
	// Pidfd and Log are descriptors: the process, and the reading end of its log.
	Pidfd, Log int
	// Begun is the beginning of a line of the log, of which the end has not been read yet.
	Begun []byte
	// Dead says that pppd has given up its peer.
	Dead bool
}

// Image is a program to go on as.
type Image struct {
	// Path, Argv and Env are those of execve(2); Argv begins with argument 0.
	Path      string
	Argv, Env []string
	// Inherit lists what stays open besides the launcher's own descriptors, under the same numbers. Nobody may close
	// one of them before Exec returns.
	Inherit []syscall.Conn
}

// Exec replaces the program that this process runs. Its pppd processes live on as its children, and the image, started on
// the process's first thread as this one was, goes on with Adopt and the State. LauncherConfig.Thread is necessary.
//
// compose is called with the State and makes the image of it. Meanwhile, and until Exec returns, no process is started and
// none becomes Done: who is not in the State has ended before, and Wait knows how. So compose may not call Start, nor wait
// for a Process. An error of it is returned as it is.
//
// Exec returns if it fails, and everything goes on as before. A program that cannot be loaded may end the process, though:
// try it in another process first. Signals that arrive before the image has asked for them do what they do to
// a program without handlers.
func (l *Launcher) Exec(compose func(State) (Image, error)) error {
	if l.cfg.Thread == nil {
		return errors.New("exec another program: the pppd processes would end with the launcher's own thread")
	}
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	state, fds, err := l.state()
	if err != nil {
		return fmt.Errorf("exec another program: %w", err)
	}
	image, err := compose(state)
	if err != nil {
		return err
	}
	if len(image.Argv) == 0 {
		return fmt.Errorf("exec %s: no arguments, not even argument 0", image.Path)
	}
	for _, c := range image.Inherit {
		fd, err := number(c)
		if err != nil {
			return fmt.Errorf("exec %s: descriptor to be inherited: %w", image.Path, err)
		}
		fds = append(fds, fd)
	}
	err = l.thread.do(func() error {
		if err := l.ns.leave(); err != nil {
			return err
		}
		// Nobody else may fork while the descriptors are open to all.
		syscall.ForkLock.Lock()
		defer syscall.ForkLock.Unlock()
		defer func() { _ = closeOnExec(fds, true) }()
		if err := closeOnExec(fds, false); err != nil {
			return err
		}
		return syscall.Exec(image.Path, image.Argv, image.Env)
	})
	return fmt.Errorf("exec %s: %w", image.Path, err)
}

// state tells the state, and the descriptors in it. The gate is held.
func (l *Launcher) state() (State, []int, error) {
	inside := l.ns.inside // written once, before the launcher was known
	s := State{Radius: l.cfg.Radius.Server}
	var fds []int
	var errs []error
	add := func(to *int, f *os.File) {
		fd, err := number(f)
		errs = append(errs, err)
		*to = fd
		fds = append(fds, fd)
	}
	for i, to := range s.place() {
		add(to, inside.files()[i])
	}
	for _, p := range l.Processes() {
		ps := ProcessState{PID: p.PID, Name: p.Name, Interface: p.Interface, Started: p.Started, Begun: p.log.begun, Dead: p.dead.Load(), Log: -1}
		add(&ps.Pidfd, p.pidfd)
		if !p.deaf {
			add(&ps.Log, p.logs)
		}
		s.Processes = append(s.Processes, ps)
	}
	return s, fds, errors.Join(errs...)
}

// place lists the descriptors of the place inside, in the order of place.files.
func (s *State) place() []*int { return []*int{&s.Mounts, &s.Hostname, &s.Root, &s.Directory} }

// number returns the number of a descriptor and leaves its mode as it is.
func number(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	err = raw.Control(func(fd uintptr) { n = int(fd) })
	return n, err
}

// closeOnExec marks descriptors to be closed, or not to be, in the program that follows.
func closeOnExec(fds []int, closed bool) error {
	flag := 0
	if closed {
		flag = unix.FD_CLOEXEC
	}
	var errs []error
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag); err != nil {
			errs = append(errs, fmt.Errorf("pass on descriptor %d: %w", fd, err))
		}
	}
	return errors.Join(errs...)
}

// Adopt makes a launcher of the state that Exec has told in the image before. cfg must have a Thread, and the same server in
// Radius; a secret that is not the same becomes that of the running pppd, too. The processes are those of the state in its order, also
// those that have ended since. log returns Session.Log of each; it may return nil, or be nil.
//
// The descriptors are the launcher's. If there is an error they are closed, and nobody watches the processes, which
// end with this one. FindStrays would find the processes of the state.
func Adopt(cfg LauncherConfig, s State, log func(ProcessState) func(line string)) (*Launcher, []*Process, error) {
	var inside place
	inherited := make([]*os.File, 0, len(s.place())+2*len(s.Processes))
	take := func(fd int, name string) *os.File {
		f := os.NewFile(uintptr(fd), name)
		inherited = append(inherited, f)
		return f
	}
	inside = place{
		mounts: take(s.Mounts, "mount namespace"), hostname: take(s.Hostname, "UTS namespace"), root: take(s.Root, "/"), cwd: take(s.Directory, "."),
	}
	processes := make([]*Process, 0, len(s.Processes))
	for _, ps := range s.Processes {
		p := &Process{
			PID: ps.PID, Name: ps.Name, Interface: ps.Interface, Started: ps.Started,
			pidfd: take(ps.Pidfd, "pidfd"), running: true, caughtUp: make(chan struct{}), done: make(chan struct{}),
		}
		if ps.Log >= 0 {
			p.logs = take(ps.Log, "pppd log")
		}
		p.log.begun = append(p.log.begun, ps.Begun[:min(len(ps.Begun), maxLogBuffer)]...)
		p.dead.Store(ps.Dead)
		processes = append(processes, p)
	}
	l, err := adopt(cfg, s, inside, inherited)
	if err != nil {
		for _, f := range inherited {
			f.Close()
		}
		return nil, nil, fmt.Errorf("adopt the pppd processes of the image before: %w", err)
	}
	for i, p := range processes {
		l.processes[p.Interface] = p
		l.watchers.Add(1)
		defer func() {
			var heard func(string)
			if log != nil {
				heard = log(s.Processes[i])
			}
			l.attend(p, heard)
		}()
	}
	return l, processes, nil
}

func adopt(cfg LauncherConfig, s State, inside place, inherited []*os.File) (*Launcher, error) {
	var fds []int
	for _, f := range inherited {
		fd, err := number(f)
		if err != nil {
			return nil, fmt.Errorf("a descriptor of the state: %w", err)
		}
		fds = append(fds, fd)
	}
	if err := closeOnExec(fds, true); err != nil {
		return nil, err
	}
	if cfg.Thread == nil {
		return nil, errors.New("no first thread, whose children they are")
	}
	if cfg.Radius.Server != s.Radius {
		return nil, fmt.Errorf("their RADIUS server is %v, not %v", s.Radius, cfg.Radius.Server)
	}
	l, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	err = l.thread.do(func() (err error) {
		if l.ns, err = adoptNamespace(inside, l.cfg.Radius); err != nil {
			return err
		}
		return l.ns.leave()
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}
