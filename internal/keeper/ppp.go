package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// peerWait is how long a client may take from ICCN to its first PPP frame before pppd begins: what pppd sends to a client
// that is not ready is lost for a second.
const peerWait = time.Second

// process is a pppd, from the moment it is asked for until the daemon has heard of its end.
type process struct {
	told    protocol.Process
	running *pppd.Process // nil while it is being started, and after its end
}

// startPPP waits until the client is ready for pppd, or the daemon has gone, and starts it on a copy of the session's socket.
func (m *machine) startPPP(ctx context.Context, asked protocol.PPP) (_ reply, err error) {
	if prefix := m.settings().Steering.InterfacePrefix; !strings.HasPrefix(asked.Interface, prefix) {
		return reply{}, fmt.Errorf("start pppd for %q: interfaces begin with %q: %w", asked.Interface, prefix, protocol.ErrNotOurs)
	}
	s := asked.PPPD()
	p := &process{told: protocol.Process{Interface: s.Interface, Name: s.Name, Tunnel: s.TunnelID, Session: s.SessionID}}
	if s.Socket, err = m.enterPPP(p); err != nil {
		return reply{}, err
	}
	defer func() {
		if err != nil {
			m.mu.Lock()
			delete(m.processes, s.Interface)
			m.mu.Unlock()
		}
	}()
	wait, cancel := context.WithTimeout(ctx, peerWait)
	defer cancel()
	if err := pppd.AwaitPeer(wait, s.Socket); err != nil {
		return reply{}, errors.Join(err, s.Socket.Close())
	}
	s.Log = m.heard(s.Interface)
	running, err := m.launcher.Start(s)
	if err != nil {
		return reply{}, err
	}
	m.mu.Lock()
	p.running = running
	p.told.PID, p.told.Started = running.PID, running.Started.UnixNano()
	told := p.told
	m.mu.Unlock()
	m.awaiting.Go(func() { m.await(p, running) })
	return reply{body: told}, nil
}

// enterPPP makes a process known, and returns a copy of its session's socket.
func (m *machine) enterPPP(p *process) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &p.told
	if old := m.processes[t.Interface]; old != nil {
		return nil, fmt.Errorf("start pppd for %s: %w: process %d has it", t.Interface, os.ErrExist, old.told.PID)
	}
	if len(m.processes) >= maxSessions {
		return nil, fmt.Errorf("start pppd for %s: there are %d: %w", t.Interface, maxSessions, os.ErrInvalid)
	}
	socket := m.sessions.get(protocol.SessionID{Tunnel: uint32(t.Tunnel), Session: uint32(t.Session)})
	if socket == nil {
		return nil, fmt.Errorf("start pppd for %s: session %d/%d is not open: %w", t.Interface, t.Tunnel, t.Session, os.ErrNotExist)
	}
	fd, err := protocol.Duplicate(socket)
	if err != nil {
		return nil, fmt.Errorf("start pppd for %s: %w", t.Interface, err)
	}
	m.processes[t.Interface] = p
	return os.NewFile(uintptr(fd), socket.Name()), nil
}

// heard hands over what a pppd says. Nobody keeps it while there is no daemon.
func (m *machine) heard(iface string) func(string) {
	return func(line string) { m.tell(protocol.OpPPPLog, protocol.Line{Interface: iface, Text: line}) }
}

// await tells of the end of a pppd.
func (m *machine) await(p *process, running *pppd.Process) {
	exit := running.Wait()
	m.mu.Lock()
	p.running, p.told.Exit = nil, &exit
	told := p.told
	m.mu.Unlock()
	m.tell(protocol.OpPPPEnded, told)
}

// signalPPP does something to a pppd that runs; one that has ended is no error.
func (m *machine) signalPPP(doing string, n protocol.Name, do func(*pppd.Process) error) (reply, error) {
	m.mu.Lock()
	p := m.processes[n.Name]
	var running *pppd.Process
	if p != nil {
		running = p.running
	}
	m.mu.Unlock()
	switch {
	case p == nil:
		return reply{}, fmt.Errorf("%s pppd of %q: %w", doing, n.Name, os.ErrNotExist)
	case running == nil:
		return reply{}, nil
	}
	return reply{}, do(running)
}

func (m *machine) terminatePPP(_ context.Context, n protocol.Name) (reply, error) {
	return m.signalPPP("terminate", n, (*pppd.Process).Terminate)
}

func (m *machine) killPPP(_ context.Context, n protocol.Name) (reply, error) {
	return m.signalPPP("kill", n, (*pppd.Process).Kill)
}

// forgetPPP drops what is known of a pppd that has ended.
func (m *machine) forgetPPP(_ context.Context, n protocol.Name) (reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.processes[n.Name]
	if p == nil || p.told.Exit == nil {
		return reply{}, fmt.Errorf("forget pppd of %q: none has ended: %w", n.Name, os.ErrNotExist)
	}
	delete(m.processes, n.Name)
	return reply{}, nil
}
