package concentrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
)

// linkWait is how long pppd may outlive its interface: it takes that down itself at its end.
const linkWait = 2 * time.Second

// deletionAttempts times createPause is how long an object may be found after its deletion.
const deletionAttempts = 10

// HandleL2TPEvent hands to the loop what the kernel tells of tunnels and sessions, maybe of another network namespace, and waits until the loop
// takes it.
func (c *Concentrator) HandleL2TPEvent(e l2tpnl.Event) {
	select {
	case c.clientInbox <- func() { c.onL2TPKernelEvent(e) }:
	case <-c.stopped:
	}
}

func (c *Concentrator) onL2TPKernelEvent(e l2tpnl.Event) {
	switch e := e.(type) {
	case l2tpnl.TunnelEvent:
		if cl := c.clientWith(e.Tunnel.ID); cl != nil && e.Change == l2tpnl.Deleted {
			c.checkTunnel(cl)
		}
	case l2tpnl.SessionEvent:
		cl, id := c.clientWith(e.Session.TunnelID), e.Session.ID
		if cl != nil && e.Change == l2tpnl.Deleted && id <= 0xffff && cl.sessions[uint16(id)] != nil {
			c.checkSession(cl.sessions[uint16(id)])
		}
	}
}

// absent asks whether an object is gone: it may be there for a moment after the kernel has told of its end.
func absent(get func() error) error {
	for range deletionAttempts {
		if err := get(); err != nil {
			return err
		}
		time.Sleep(createPause)
	}
	return nil
}

// clientWith returns the client of a kernel tunnel, nil if it is not ours.
func (c *Concentrator) clientWith(tunnel uint32) *client {
	if tunnel > 0xffff || !c.opt.owns(slot.Port(tunnel)) {
		return nil
	}
	return c.ports[slot.Port(tunnel)]
}

// HandleL2TPOverrun looks for the tunnels and sessions that the kernel does not list, since events were lost. It returns when that is done.
func (c *Concentrator) HandleL2TPOverrun() {
	tunnels, err := c.Tunnels.Tunnels()
	var sessions []l2tpnl.Session
	if err == nil {
		sessions, err = c.Tunnels.Sessions()
	}
	if err != nil {
		c.Log.Warn("tunnels or sessions may be gone, and those of the kernel cannot be listed; a client may have to dial anew", zap.Error(err))
		return
	}
	type object struct{ tunnel, session uint32 }
	there := make(map[object]bool, len(tunnels)+len(sessions))
	for _, t := range tunnels {
		there[object{t.ID, 0}] = true
	}
	for _, s := range sessions {
		there[object{s.TunnelID, s.ID}] = true
	}
	c.post(func() {
		for _, cl := range c.clients {
			if !there[object{uint32(cl.port), 0}] {
				c.checkTunnel(cl) // it may have been made meanwhile
			}
			for _, s := range cl.sessions {
				if !there[object{uint32(cl.port), uint32(s.id)}] {
					c.checkSession(s)
				}
			}
		}
	})
}

// checkTunnel looks for a client's tunnel in the kernel, between the operations on it, and closes it if it is gone. No more than one
// check waits for its turn: who deletes tunnels of the same ids in a namespace of his own tells of as many events as he likes.
func (c *Concentrator) checkTunnel(cl *client) {
	if cl.check || c.clients[cl.id] != cl {
		return
	}
	cl.check = true
	c.enqueue(&cl.ops,
		func() func() error {
			cl.check = false // what is told from now on, this one may miss
			if !cl.made {
				return func() error { return nil }
			}
			return func() error {
				return absent(func() error { _, err := c.Tunnels.Tunnel(uint32(cl.port)); return err })
			}
		},
		func(err error) {
			if !errors.Is(err, os.ErrNotExist) || !cl.made {
				return
			}
			const reason = "its tunnel was removed from the kernel"
			cl.made = false
			c.removed(cl.event(eventTunnelLost), "the tunnel was removed from the kernel; the client is told and can dial again")
			for _, s := range cl.sessions {
				c.blame(s, reason)
			}
			now := time.Now()
			c.applyL2TP(now, c.L2TP.CloseTunnel(now, uint16(cl.port), l2tp.Result{Code: l2tp.StopGeneral, Message: reason}))
		})
}

// checkSession is checkTunnel for a session.
func (c *Concentrator) checkSession(s *session) {
	if s.check || c.clients[s.client.id] != s.client {
		return
	}
	s.check = true
	c.enqueue(&s.client.ops,
		func() func() error {
			s.check = false
			if !s.open || s.dropped {
				return func() error { return nil }
			}
			return func() error {
				return absent(func() error { _, err := c.Tunnels.Session(uint32(s.client.port), uint32(s.id)); return err })
			}
		},
		func(err error) {
			if !errors.Is(err, os.ErrNotExist) || s.dropped || !s.client.made {
				return // the loss of the tunnel is told as that
			}
			const reason = "it was removed from the kernel"
			c.removed(s.event(eventSessionLost), "the session was removed from the kernel; the client is told")
			c.blame(s, reason)
			c.closeSession(time.Now(), s)
		})
}

func (c *Concentrator) closeSession(now time.Time, s *session) {
	c.applyL2TP(now, c.L2TP.CloseSession(now, uint16(s.client.port), s.id, l2tp.Result{Code: l2tp.CDNAdministrative, Message: s.reason}))
}

// blame gives a session's end its reason, unless there is one already.
func (c *Concentrator) blame(s *session, reason string) {
	if s.reason == "" {
		s.reason = reason
		c.ledger.session(s)
	}
}

// removed tells of something that somebody else has removed.
func (c *Concentrator) removed(ev control.Event, text string, fields ...zap.Field) {
	c.counters.lostObjects++
	ev.Severity = control.SeverityWarning
	causeRemoved.explain(&ev)
	ev.Text = text
	c.record("something was removed from the kernel", ev, fields...)
}

// HandleLinksDeleted hands to the loop that interfaces are gone, and waits until the loop takes it.
func (c *Concentrator) HandleLinksDeleted(names []string) {
	select {
	case c.clientInbox <- func() {
		for _, name := range names {
			c.onLinkDeleted(time.Now(), name)
		}
	}:
	case <-c.stopped:
	}
}

// HandleLinksOverrun looks which interfaces are there, since events were lost. It returns when that is done.
func (c *Concentrator) HandleLinksOverrun(list func() (map[string]bool, error)) {
	// Before the kernel is asked, so that interfaces that come meanwhile are not missed in its answer.
	var known []string
	if err := c.call(context.Background(), func() { known = c.interfaces() }); err != nil {
		return // the loop has ended
	}
	there, err := list()
	if err != nil { // of too many open files, say: no reason to end everybody
		c.Log.Warn("interfaces may be gone, and those of the kernel cannot be listed; pppd has to notice itself", zap.Error(err))
		return
	}
	c.post(func() {
		for _, name := range known {
			if !there[name] {
				c.onLinkDeleted(time.Now(), name)
			}
		}
	})
}

// interfaces returns the names of those that sessions have.
func (c *Concentrator) interfaces() (names []string) {
	for _, cl := range c.clients {
		for _, s := range cl.sessions {
			if s.state == sessionEstablished {
				names = append(names, s.iface)
			}
		}
	}
	return names
}

// onLinkDeleted gives the pppd of an interface that is gone a moment to end, as it does when it has removed it itself.
func (c *Concentrator) onLinkDeleted(now time.Time, name string) {
	var port slot.Port
	var n int
	if _, err := fmt.Sscanf(name, c.opt.PPP.InterfacePrefix+"%d-%d", &port, &n); err != nil || c.ports[port] == nil {
		return
	}
	for _, s := range c.ports[port].sessions {
		if s.iface == name && s.state == sessionEstablished && s.process != nil && !s.unlinked {
			s.unlinked = true
			c.ledger.session(s)
			s.killAt = now.Add(linkWait)
			c.touch(s.client)
		}
	}
}

// bury tells of a session that ends because its interface is gone, if it is.
func (c *Concentrator) bury(s *session) {
	if s.unlinked && s.reason == "" {
		c.blame(s, "its interface was removed")
		c.removed(s.event(eventInterfaceLost), "the interface "+s.iface+" was removed; the session ends", zap.String("interface", s.iface))
	}
}
