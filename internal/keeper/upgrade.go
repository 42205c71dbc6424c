package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

const (
	// trialWait is how long the next program may take to read the state.
	trialWait = 30 * time.Second
	// leftWait is how long is waited for what it has started and left behind, which can write to the log, too.
	leftWait = time.Second
	// quietWait is how long the daemon's requests may take to be done.
	quietWait = 15 * time.Second
)

var (
	errTrial  = errors.New("only the state was wanted")
	errEnding = errors.New("the keeper is ending")
)

// Program is how the keeper becomes another program: the one at a path, with arguments that begin with argument 0. A descriptor is added to
// Resume or Try: the program is to call Run with it as Config.State, or Try.
type Program struct {
	Path          string
	Args          []string
	Resume, Trial string // last arguments, which the number follows at once, such as "--state="
}

// upgrade becomes the program that is at our path now. Everything goes on; it returns if it was not possible.
func (k *Keeper) upgrade() error {
	if k.cfg.Thread == nil {
		return errors.New("this keeper was not started as one that can")
	}
	began := time.Now()
	if err := k.try(); err != nil {
		return fmt.Errorf("the program at %s cannot go on for this one: %w", k.cfg.Program.Path, err)
	}
	resume, err := k.quiet()
	if err != nil {
		return err
	}
	defer resume()
	k.log.Info("becoming the program at our path", zap.String("path", k.cfg.Program.Path), zap.Duration("after", time.Since(began)))
	_ = k.log.Sync()
	signal.Ignore(unix.SIGHUP) // which is inherited: one that comes before the next program asks for it would end it, and all sessions
	defer signal.Notify(k.cfg.Upgrades, unix.SIGHUP)
	return k.become(k.image)
}

// become calls compose with the state of pppd and executes what it says. Meanwhile no setup is made.
func (k *Keeper) become(compose func(*machine, *pppd.State, *inheritance) (pppd.Image, error)) error {
	k.setup.Lock()
	defer k.setup.Unlock()
	k.mu.Lock()
	m := k.machine
	k.mu.Unlock()
	heirs := &inheritance{}
	defer func() { closeFiles(heirs.files) }()
	if m != nil {
		return m.launcher.Exec(func(s pppd.State) (pppd.Image, error) { return compose(m, &s, heirs) })
	}
	image, err := compose(nil, nil, heirs)
	if err != nil {
		return err
	}
	// There are no children, so it may be any thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	for _, c := range image.Inherit {
		fd := heirs.keep(c)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("pass on descriptor %d: %w", fd, err)
		}
		defer func() { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC) }()
	}
	return fmt.Errorf("exec %s: %w", image.Path, syscall.Exec(image.Path, image.Argv, image.Env))
}

// image composes what the keeper becomes.
func (k *Keeper) image(m *machine, ppp *pppd.State, heirs *inheritance) (pppd.Image, error) {
	s, err := k.state(m, ppp, heirs)
	if err != nil {
		return pppd.Image{}, err
	}
	f, err := s.memory()
	number := heirs.copy(f, err)
	if heirs.err != nil {
		return pppd.Image{}, heirs.err
	}
	p := k.cfg.Program
	return pppd.Image{
		Path: p.Path, Argv: append(append([]string(nil), p.Args...), p.Resume+strconv.Itoa(number)), Env: os.Environ(), Inherit: heirs.conns,
	}, nil
}

// try lets the program at our path read a state as it would be now, in a process of its own.
func (k *Keeper) try() error {
	var written *os.File
	err := k.become(func(m *machine, ppp *pppd.State, heirs *inheritance) (pppd.Image, error) {
		s, err := k.state(m, ppp, heirs)
		if err == nil {
			written, err = s.memory()
		}
		if err == nil {
			err = errTrial
		}
		return pppd.Image{}, err
	})
	if !errors.Is(err, errTrial) {
		return err
	}
	defer written.Close()
	ctx, cancel := context.WithTimeout(context.Background(), trialWait)
	defer cancel()
	p := k.cfg.Program
	cmd := exec.CommandContext(ctx, p.Path, append(append([]string(nil), p.Args[1:]...), p.Trial+"3")...)
	cmd.Args[0] = p.Args[0]
	cmd.ExtraFiles = []*os.File{written}
	var said bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &said, leftWait
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(said.String())
		return fmt.Errorf("%w: %s", err, text[:min(len(text), 1000)])
	}
	return nil
}

// state tells everything. ppp is nil without a machine.
func (k *Keeper) state(m *machine, ppp *pppd.State, heirs *inheritance) (*state, error) {
	s := &state{
		Version: stateVersion, Build: k.cfg.Build, Secret: k.secret, Path: k.path, Locked: k.lock.file.Name(), PPP: ppp,
		Lock: heirs.keep(k.lock.file), Socket: heirs.keep(k.socket), Radius: heirs.keep(k.radius),
	}
	s.Inventory.Records = k.store.all()
	k.held.mu.Lock()
	for name, f := range k.held.files {
		s.Inventory.Held = append(s.Inventory.Held, protocol.Held{Name: name, File: heirs.keep(f)})
	}
	k.held.mu.Unlock()
	if c := k.connected(); c != nil {
		s.Daemon = &daemonState{Socket: heirs.keep(c.t.Conn()), PID: c.pid, Build: c.build, Weak: c.weak}
	}
	if m != nil {
		setup := m.setup
		s.Setup = &setup
		m.state(s, heirs)
	}
	return s, heirs.err
}

// state adds what there is of the machine.
func (m *machine) state(s *state, heirs *inheritance) {
	running := make(map[string]bool)
	for _, p := range s.PPP.Processes {
		running[p.Interface] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i := &s.Inventory
	m.sockets(i, func(f *os.File) int { return heirs.keep(f) }, heirs.copy)
	for id, f := range m.sessions.all() {
		i.Sessions = append(i.Sessions, id)
		s.SessionFiles = append(s.SessionFiles, heirs.keep(f))
	}
	for _, p := range m.processes {
		told := p.told
		if p.running != nil && !running[told.Interface] { // it has ended, and that was not noted yet
			exit := p.running.Wait()
			told.Exit = &exit
		}
		if p.running != nil || told.Exit != nil {
			i.Processes = append(i.Processes, told)
		}
	}
}

// quiet waits until nothing of the daemon's is being done, and hears nothing of it or of another one any more, until resume is called.
func (k *Keeper) quiet() (resume func(), err error) {
	k.door.Lock()
	defer func() {
		if err != nil {
			k.door.Unlock()
		}
	}()
	c := k.connected()
	if c == nil {
		return k.door.Unlock, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), quietWait)
	defer cancel()
	go func() {
		select {
		case <-k.shutdown:
			cancel()
		case <-ctx.Done():
		}
	}()
	goOn, err := c.pause(ctx)
	if err != nil {
		select {
		case <-k.shutdown:
			err = errEnding
		default:
		}
		return nil, fmt.Errorf("wait for the daemon's requests to be done: %w", err)
	}
	return func() {
		goOn()
		k.door.Unlock()
	}, nil
}
