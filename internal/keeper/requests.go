package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/confine"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// handlers do what requests ask for.
var handlers = map[protocol.Op]func(*Keeper, context.Context, *request) (reply, error){
	protocol.OpSetup:    (*Keeper).setUp,
	protocol.OpPrepare:  (*Keeper).prepare,
	protocol.OpStore:    (*Keeper).storeRecords,
	protocol.OpHold:     (*Keeper).hold,
	protocol.OpRelease:  (*Keeper).releaseHeld,
	protocol.OpShutdown: (*Keeper).shutDown,

	protocol.OpMonitor:  without((*machine).monitor),
	protocol.OpAddSA:    with((*machine).addSA),
	protocol.OpDeleteSA: with((*machine).deleteSAs),
	protocol.OpMoveSA:   with((*machine).moveSA),
	protocol.OpGetSA:    with((*machine).getSA),
	protocol.OpListSAs:  without((*machine).listSAs),
	protocol.OpEncrypts: with((*machine).encrypts),

	protocol.OpCreateTunnel: with((*machine).createTunnel),
	protocol.OpDeleteTunnel: with((*machine).deleteTunnel),
	protocol.OpGetTunnel:    with((*machine).getTunnel),
	protocol.OpListTunnels:  without((*machine).listTunnels),
	protocol.OpOpenSession:  with((*machine).openSession),
	protocol.OpCloseSession: with((*machine).closeSession),
	protocol.OpGetSession:   with((*machine).getSession),
	protocol.OpListSessions: without((*machine).listSessions),

	protocol.OpOpenClient:  with((*machine).openClient),
	protocol.OpConnect:     with((*machine).connect),
	protocol.OpReconnect:   with((*machine).reconnect),
	protocol.OpDisconnect:  with((*machine).disconnect),
	protocol.OpCloseClient: with((*machine).closeClient),

	protocol.OpStartPPP:     with((*machine).startPPP),
	protocol.OpTerminatePPP: with((*machine).terminatePPP),
	protocol.OpKillPPP:      with((*machine).killPPP),
	protocol.OpForgetPPP:    with((*machine).forgetPPP),

	protocol.OpReadSteering:   without((*machine).readSteering),
	protocol.OpSteeringIntact: without((*machine).steeringIntact),
}

// with makes a handler of what takes a body and a machine.
func with[T any](do func(*machine, context.Context, T) (reply, error)) func(*Keeper, context.Context, *request) (reply, error) {
	return func(k *Keeper, ctx context.Context, r *request) (reply, error) {
		var body T
		if err := protocol.Unmarshal(r.body, &body); err != nil {
			return reply{}, err
		}
		m, err := k.use()
		if err != nil {
			return reply{}, err
		}
		defer k.using.Done()
		return do(m, ctx, body)
	}
}

// without makes a handler of what takes a machine only.
func without(do func(*machine) (reply, error)) func(*Keeper, context.Context, *request) (reply, error) {
	return func(k *Keeper, _ context.Context, _ *request) (reply, error) {
		m, err := k.use()
		if err != nil {
			return reply{}, err
		}
		defer k.using.Done()
		return do(m)
	}
}

// use is ready, and the machine is not given back before using is done.
func (k *Keeper) use() (*machine, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, err := k.readyLocked()
	if err == nil {
		k.using.Add(1)
	}
	return m, err
}

// ready returns the machine.
func (k *Keeper) ready() (*machine, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.readyLocked()
}

func (k *Keeper) readyLocked() (*machine, error) {
	switch {
	case k.stopping:
		return nil, protocol.ErrStopping
	case k.machine == nil:
		return nil, protocol.ErrNotSetUp
	}
	return k.machine, nil
}

// setUp makes the machine ready, and tells what there is.
func (k *Keeper) setUp(ctx context.Context, r *request) (reply, error) {
	k.setup.Lock()
	defer k.setup.Unlock()
	m, err := k.readyFor(ctx, r)
	if err != nil {
		return reply{}, err
	}
	return k.inventory(m)
}

// prepare makes the machine ready, and tells which files are held: somebody who comes before a daemon needs no more of what may be much.
func (k *Keeper) prepare(ctx context.Context, r *request) (reply, error) {
	k.setup.Lock()
	defer k.setup.Unlock()
	if _, err := k.readyFor(ctx, r); err != nil {
		return reply{}, err
	}
	return k.inventory(nil)
}

// readyFor takes possession of the machine, or changes what may be changed. The caller holds setup.
func (k *Keeper) readyFor(ctx context.Context, r *request) (*machine, error) {
	var s protocol.Setup
	if err := protocol.Unmarshal(r.body, &s); err != nil {
		return nil, err
	}
	s, err := complete(s)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	m, stopping := k.machine, k.stopping
	k.mu.Unlock()
	switch {
	case stopping:
		return nil, protocol.ErrStopping
	case m != nil:
		if err := r.conn.mayChange(m.settings(), s); err != nil {
			return nil, err
		}
		return m, m.change(s)
	}
	if m, err = k.possess(ctx, s); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.machine = m
	return m, nil
}

// mayChange refuses another setup to a process without privileges. It may open L2TP to peers without IPsec, and is for the first stage of
// serve, not for what reads the packets of strangers and may have been taken over by one.
func (c *connection) mayChange(now, then protocol.Setup) error {
	a, errA := protocol.Marshal(now)
	b, errB := protocol.Marshal(then)
	if err := errors.Join(errA, errB); err != nil || bytes.Equal(a, b) {
		return err
	}
	// What it was at first counts, too: it may have handed the connection on, ended, and left its number to somebody else.
	if c.weak || powerless(c.pid) {
		return fmt.Errorf("%w: a change of addresses or of peers without IPsec takes a daemon that starts anew, since process %d has dropped its privileges", protocol.ErrOtherSetup, c.pid)
	}
	return nil
}

// powerless reports whether a process has no privileges, or is not there to be asked.
func powerless(pid int) bool {
	none, err := confine.Powerless(pid)
	return none || err != nil
}

// radiusAddress is where the socket of RADIUS listens.
func (k *Keeper) radiusAddress() (*net.UDPAddr, error) {
	conn, err := net.FilePacketConn(k.radius)
	if err != nil {
		return nil, fmt.Errorf("the socket of RADIUS: %w", err)
	}
	defer conn.Close()
	address, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil, fmt.Errorf("the socket of RADIUS: %w", os.ErrInvalid)
	}
	return address, nil
}

func (k *Keeper) storeRecords(_ context.Context, r *request) (reply, error) {
	var s protocol.Store
	err := protocol.Unmarshal(r.body, &s)
	if err == nil {
		err = k.store.change(s.Changes)
	}
	if err != nil {
		// What the daemon believes to be written down is not, and it asked for no answer: it has to begin anew.
		k.log.Error("records could not be stored; the daemon is cut off", zap.Error(err))
		_ = r.conn.t.Close()
	}
	return reply{}, err
}

func (k *Keeper) hold(_ context.Context, r *request) (reply, error) {
	var n protocol.Name
	if err := protocol.Unmarshal(r.body, &n); err != nil {
		return reply{}, err
	}
	if len(r.files) != 1 {
		return reply{}, fmt.Errorf("hold %q: %d files and not one: %w", n.Name, len(r.files), os.ErrInvalid)
	}
	return reply{}, k.held.put(n.Name, r.files[0])
}

func (k *Keeper) releaseHeld(_ context.Context, r *request) (reply, error) {
	var n protocol.Name
	if err := protocol.Unmarshal(r.body, &n); err != nil {
		return reply{}, err
	}
	return reply{}, k.held.drop(n.Name)
}

// shutDown returns when everything was given back.
func (k *Keeper) shutDown(context.Context, *request) (reply, error) {
	k.asked.Do(func() { close(k.shutdown) })
	<-k.down
	return reply{}, nil
}
