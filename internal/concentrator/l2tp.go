package concentrator

import (
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

const (
	// The kernel deletes a tunnel asynchronously, and a client that redials inside its SA wants
	// the same id again at once.
	createAttempts = 100
	createPause    = 20 * time.Millisecond
)

// applyL2TP is to the L2TP engine what applyIKE is to the IKE engine.
func (c *Concentrator) applyL2TP(now time.Time, out l2tp.Output) {
	for _, a := range out.Actions {
		c.performL2TP(now, a)
	}
	c.ledger.l2tp(out.Records)
	if len(out.Send) > 0 {
		c.writeDown()
	}
	for _, d := range out.Send {
		c.sendL2TP(d)
	}
	for _, e := range out.Events {
		c.onL2TPEvent(now, e)
	}
}

func (c *Concentrator) sendL2TP(d l2tp.Datagram) {
	cl := c.ports[slot.Port(d.Tunnel)]
	if cl == nil {
		return
	}
	c.counters.l2tpSent++
	if err := cl.socket.Send(d.Remote, d.Payload); err != nil {
		c.counters.sendErrors++
		c.Log.Debug("sending an L2TP message failed", zap.Uint16("tunnel", d.Tunnel), zap.Error(err))
	}
}

// performL2TP queues one kernel operation of a client.
func (c *Concentrator) performL2TP(now time.Time, action l2tp.Action) {
	complete := func(id l2tp.ActionID) func(error) {
		return func(err error) {
			if err != nil && !errors.Is(err, errEnding) {
				c.counters.kernelErrors++
				c.Log.Warn("L2TP operation failed", zap.String("operation", fmt.Sprintf("%T", action)), zap.Error(err))
			}
			now := time.Now()
			c.applyL2TP(now, c.L2TP.Complete(now, id, err))
		}
	}
	switch a := action.(type) {
	case l2tp.CreateTunnel:
		// Now and not in its turn: the tunnel may be closed before that.
		if cl := c.ports[slot.Port(a.Tunnel)]; cl != nil {
			cl.tunnel, cl.dialed, cl.idle = true, true, time.Time{}
			c.ledger.client(cl)
		}
		done := complete(a.ID)
		c.onClient(a.Tunnel, func(err error) {
			if cl := c.ports[slot.Port(a.Tunnel)]; cl != nil {
				cl.made = err == nil
			}
			done(err)
		}, func(cl *client) func() error {
			a.Remote = cl.where(a.Remote)
			return func() error { return c.createTunnel(cl.socket, a) }
		})
	case l2tp.DeleteTunnel:
		c.onClient(a.Tunnel, complete(a.ID), func(cl *client) func() error {
			cl.made = false
			return func() error { return c.deleteTunnel(cl.socket, a.Tunnel) }
		})
	case l2tp.CreateSession:
		c.createSession(now, a, complete(a.ID))
	case l2tp.DeleteSession:
		c.deleteSession(a, complete(a.ID))
	}
}

// onClient queues an operation on the client of a slot, or fails it if there is no such client.
func (c *Concentrator) onClient(port uint16, done func(error), prepare func(*client) func() error) {
	cl := c.ports[slot.Port(port)]
	if cl == nil {
		go c.post(func() { done(fmt.Errorf("slot %d has no client", port)) })
		return
	}
	c.enqueue(&cl.ops, func() func() error { return prepare(cl) }, done)
}

func (c *Concentrator) createTunnel(socket ClientSocket, a l2tp.CreateTunnel) error {
	err := retry(unix.EADDRINUSE, func() error { return socket.Connect(a.Remote) })
	if err != nil {
		return fmt.Errorf("connect tunnel %d to %v: %w", a.Tunnel, a.Remote, err)
	}
	err = retry(os.ErrExist, func() error { return c.Tunnels.CreateTunnel(a.Tunnel, a.PeerTunnel) })
	if err != nil {
		socket.Disconnect()
		return fmt.Errorf("create tunnel %d in the kernel: %w", a.Tunnel, err)
	}
	return nil
}

// retry calls f again while it fails for the given reason: what the predecessor had is given back a little later, a tunnel id by
// the kernel's work queue, a port by a process that is being forked.
func retry(reason error, f func() error) (err error) {
	for range createAttempts {
		if err = f(); !errors.Is(err, reason) {
			return err
		}
		time.Sleep(createPause)
	}
	return err
}

func (c *Concentrator) deleteTunnel(socket ClientSocket, id uint16) error {
	err := c.Tunnels.DeleteTunnel(uint32(id))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, socket.Disconnect())
}

func (c *Concentrator) onL2TPEvent(now time.Time, event l2tp.Event) {
	c.recordL2TP(event)
	switch e := event.(type) {
	case l2tp.Dropped:
		c.counters.l2tp[string(e.Reason)]++
	case l2tp.TunnelUp:
		c.counters.tunnelsUp++
	case l2tp.TunnelDown:
		if e.Established {
			c.counters.tunnelsDown++
		}
		if cl := c.ports[slot.Port(e.Tunnel)]; cl != nil {
			cl.tunnel, cl.idle, cl.stopBy = false, now, now.Add(stopWait)
			c.ledger.client(cl)
			c.touch(cl)
			if e.Silent && cl.ending == "" {
				c.doom(now, cl, e.Reason) // a dead peer's SAs would outlive it by hours where DPD is not spoken
			}
			c.retire(now, cl)
		}
	case l2tp.TunnelMoved:
		c.reconnect(e)
	case l2tp.SessionUp:
		c.startPPP(e)
	case l2tp.SessionDown:
		c.sessionDown(e)
	}
}
