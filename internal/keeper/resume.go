package keeper

import (
	"errors"
	"fmt"
	"net"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// inherited takes descriptors over.
type inherited struct {
	err error
}

// take makes a file of a descriptor that was kept open.
func (i *inherited) take(fd int, name string) *os.File {
	if fd < 0 {
		i.err = errors.Join(i.err, fmt.Errorf("%s: descriptor %d: %w", name, fd, os.ErrInvalid))
		return nil
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		i.err = errors.Join(i.err, fmt.Errorf("%s: descriptor %d: %w", name, fd, err))
		return nil
	}
	return os.NewFile(uintptr(fd), name)
}

// resume goes on for the program that this process was before. If that fails the process has to end, and everything with it.
func resume(cfg Config) (_ *Keeper, err error) {
	f := os.NewFile(uintptr(cfg.State), "keeper state")
	if f == nil {
		return nil, fmt.Errorf("read the keeper's state: %w", os.ErrInvalid)
	}
	s, err := readState(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	k := newKeeper(cfg)
	k.secret, k.path = s.Secret, s.Path
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("go on for keeper %s: %w", s.Build, err), k.close())
		}
	}()
	i := &inherited{}
	if lockFile := i.take(s.Lock, s.Locked); lockFile != nil {
		k.lock = &lock{lockFile}
	}
	k.radius = i.take(s.Radius, "RADIUS")
	socket, daemon := i.take(s.Socket, "the keeper's socket"), (*os.File)(nil)
	if s.Daemon != nil {
		daemon = i.take(s.Daemon.Socket, "the daemon's connection")
	}
	for _, h := range s.Inventory.Held {
		if f := i.take(h.File, h.Name); f != nil {
			k.held.files[h.Name] = f
		}
	}
	if i.err != nil {
		return nil, i.err
	}
	if err := k.store.change(s.Inventory.Records); err != nil {
		return nil, err
	}
	k.socket, err = listenerOf(socket)
	if err := errors.Join(err, socket.Close()); err != nil {
		return nil, err
	}
	if s.Setup != nil {
		if k.machine, err = k.repossess(s, i); err != nil {
			return nil, err
		}
	}
	if daemon != nil {
		conn, err := net.FileConn(daemon)
		if err := errors.Join(err, daemon.Close()); err != nil {
			return nil, fmt.Errorf("the daemon's connection: %w", err)
		}
		unixConn, ok := conn.(*net.UnixConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("the daemon's connection: %w", os.ErrInvalid), conn.Close())
		}
		k.daemon = newConnection(k, protocol.NewTransport(unixConn, protocol.MaxRequest, protocol.MaxRequestFiles), s.Daemon.PID, s.Daemon.Build)
		k.daemon.weak = s.Daemon.Weak
		k.resumed = k.daemon
	}
	k.log.Info("going on for the keeper before", zap.String("build", cfg.Build), zap.String("before", s.Build),
		zap.Int("clients", len(s.Inventory.Clients)), zap.Int("processes", len(s.Inventory.Processes)))
	return k, nil
}

// repossess takes the machine as the program before has left it.
func (k *Keeper) repossess(s *state, i *inherited) (_ *machine, err error) {
	m := newMachine(*s.Setup, k.tell, k.log)
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	for _, f := range s.Inventory.IKE {
		if file := i.take(f.File, "IKE "+f.Local.String()); file != nil {
			m.ike = append(m.ike, udp.IKEFile{Local: f.Local, Encapsulated: f.Encapsulated, Initials: f.Initials, File: file})
		}
	}
	for _, f := range s.Inventory.Plain {
		if file := i.take(f.File, "L2TP "+f.Local.String()); file != nil {
			m.plain = append(m.plain, udp.PlainFile{Local: f.Local, File: file})
		}
	}
	for n, id := range s.Inventory.Sessions {
		if file := i.take(s.SessionFiles[n], fmt.Sprintf("pppol2tp:%d/%d", id.Tunnel, id.Session)); file != nil {
			m.sessions.put(id, file)
		}
	}
	for _, c := range s.Inventory.Clients {
		open, tunnel := i.take(c.Open, "slot"), (*os.File)(nil)
		if c.Tunnel != 0 {
			tunnel = i.take(c.Tunnel, "tunnel")
		}
		if i.err != nil {
			break
		}
		client, err := m.adoptSocket(c.Local.Port(), open, tunnel)
		if err != nil {
			return nil, err
		}
		m.clients[c.Local.Port()] = client
	}
	// pppd come next, so that an error ends them, and nothing else before they have said goodbye.
	address, err := k.radiusAddress()
	if err != nil {
		return nil, err
	}
	var adopted []*pppd.Process
	m.launcher, adopted, err = pppd.Adopt(pppd.LauncherConfig{
		Marker: s.Setup.Marker, Thread: k.cfg.Thread,
		Radius: pppd.Radius{Server: address.AddrPort(), Secret: k.secret},
	}, *s.PPP, func(p pppd.ProcessState) func(string) { return m.heard(p.Interface) })
	if err := errors.Join(i.err, err); err != nil {
		return nil, err
	}
	m.adopt(s.Inventory.Processes, adopted)
	if err := m.dial(); err != nil {
		return nil, err
	}
	if m.table, err = guard(s.Setup.Steering, k.tell, k.log); err != nil {
		return nil, err
	}
	m.onClose(m.table.close)
	return m, nil
}

// adopt watches the pppd that the launcher has adopted, also those that have ended since.
func (m *machine) adopt(told []protocol.Process, adopted []*pppd.Process) {
	running := make(map[string]*pppd.Process)
	for _, p := range adopted {
		running[p.Interface] = p
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range told {
		p := &process{told: t}
		m.processes[t.Interface] = p
		if t.Exit != nil {
			continue
		}
		runs := running[t.Interface]
		if runs == nil {
			p.told.Exit = &pppd.Exit{Code: -1, Reason: "pppd ended while the keeper was replaced; its status is unknown"}
			continue
		}
		p.running = runs
		m.awaiting.Go(func() { m.await(p, runs) })
	}
}

// retell tells the daemon of every pppd that has ended: the program before may have had no time to. It hears it once.
func (m *machine) retell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.processes {
		if p.told.Exit != nil {
			m.tell(protocol.OpPPPEnded, p.told)
		}
	}
}

// serveResumed goes on with a daemon that the program before has served.
func (k *Keeper) serveResumed() {
	c := k.resumed
	if c == nil {
		return
	}
	if m, err := k.ready(); err == nil {
		m.retell()
	}
	go c.run()
}
