package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
)

// client returns the sockets of a slot.
func (m *machine) client(doing string, port uint16) (*udp.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clients[port]
	if c == nil {
		return nil, fmt.Errorf("%s: slot %d has no sockets: %w", doing, port, os.ErrNotExist)
	}
	return c, nil
}

// createTunnel makes a tunnel of the connected socket of a slot.
func (m *machine) createTunnel(_ context.Context, t protocol.Tunnel) (reply, error) {
	c, err := m.client("create a tunnel", t.ID)
	if err != nil {
		return reply{}, err
	}
	return reply{}, c.WithTunnel(func(fd int) error {
		return m.tunnels.CreateTunnel(l2tpnl.Tunnel{ID: uint32(t.ID), PeerID: uint32(t.PeerID), FD: fd})
	})
}

// ownTunnel returns a tunnel of ours, which others can have made with the same id.
func (m *machine) ownTunnel(doing string, id uint32) (l2tpnl.Tunnel, error) {
	there, err := m.tunnels.Tunnel(id)
	if err != nil {
		return l2tpnl.Tunnel{}, err
	}
	if !m.ownsTunnel(there) {
		return l2tpnl.Tunnel{}, fmt.Errorf("%s %d: %w", doing, id, protocol.ErrNotOurs)
	}
	return there, nil
}

// deleteTunnel deletes a tunnel of ours, also one whose sockets are gone.
func (m *machine) deleteTunnel(_ context.Context, t protocol.TunnelID) (reply, error) {
	if _, err := m.ownTunnel("delete tunnel", t.ID); err != nil {
		return reply{}, err
	}
	return reply{}, m.tunnels.DeleteTunnel(t.ID)
}

func (m *machine) getTunnel(_ context.Context, t protocol.TunnelID) (reply, error) {
	there, err := m.ownTunnel("get tunnel", t.ID)
	return reply{body: there}, err
}

func (m *machine) listTunnels() (reply, error) {
	all, err := m.dumps.Tunnels()
	return reply{body: slices.DeleteFunc(all, func(t l2tpnl.Tunnel) bool { return !m.ownsTunnel(t) })}, err
}

// openSession opens a PPPoL2TP socket in a tunnel of ours.
func (m *machine) openSession(_ context.Context, s protocol.Session) (reply, error) {
	c, err := m.client("open a session", s.Tunnel)
	if err != nil {
		return reply{}, err
	}
	if _, connected := c.Remote(); !connected {
		return reply{}, fmt.Errorf("open session %d/%d: the slot has no tunnel: %w", s.Tunnel, s.Session, os.ErrNotExist)
	}
	id := protocol.SessionID{Tunnel: uint32(s.Tunnel), Session: uint32(s.Session)}
	m.mu.Lock()
	taken, full := m.sessions.get(id) != nil, m.sessions.count >= maxSessions
	m.mu.Unlock()
	switch {
	case taken:
		return reply{}, fmt.Errorf("open session %d/%d: %w", s.Tunnel, s.Session, os.ErrExist)
	case full:
		return reply{}, fmt.Errorf("open session %d/%d: there are %d: %w", s.Tunnel, s.Session, maxSessions, os.ErrInvalid)
	}
	if _, err := m.ownTunnel("open a session in tunnel", id.Tunnel); err != nil { // the kernel would take the one of that id
		return reply{}, err
	}
	f, err := l2tpnl.OpenSession(s.Tunnel, s.Session, s.PeerTunnel, s.PeerSession)
	if err != nil {
		return reply{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions.put(id, f)
	return reply{}, nil
}

func (m *machine) closeSession(_ context.Context, id protocol.SessionID) (reply, error) {
	m.mu.Lock()
	f := m.sessions.take(id)
	m.mu.Unlock()
	if f == nil {
		return reply{}, fmt.Errorf("close session %d/%d: %w", id.Tunnel, id.Session, os.ErrNotExist)
	}
	return reply{}, f.Close()
}

func (m *machine) getSession(_ context.Context, id protocol.SessionID) (reply, error) {
	if _, err := m.ownTunnel("get a session of tunnel", id.Tunnel); err != nil {
		return reply{}, err
	}
	there, err := m.tunnels.Session(id.Tunnel, id.Session)
	return reply{body: there}, err
}

func (m *machine) listSessions() (reply, error) {
	tunnels, err := m.dumps.Tunnels()
	if err != nil {
		return reply{}, err
	}
	foreign := make(map[uint32]bool)
	for _, t := range tunnels {
		foreign[t.ID] = !m.ownsTunnel(t)
	}
	all, err := m.dumps.Sessions()
	return reply{body: slices.DeleteFunc(all, func(s l2tpnl.Session) bool {
		return foreign[s.TunnelID] || s.TunnelID > 0xffff || !m.ownsPort(uint16(s.TunnelID)) // of a tunnel that has come or gone since
	})}, err
}

// openClient opens the unconnected socket of a slot.
func (m *machine) openClient(_ context.Context, o protocol.OpenClient) (_ reply, err error) {
	if !o.Local.IsValid() || o.Local.IsUnspecified() || o.Local.IsMulticast() {
		return reply{}, fmt.Errorf("open the socket of slot %d at %s: %w", o.Port, o.Local, os.ErrInvalid)
	}
	m.mu.Lock()
	taken := m.clients[o.Port] != nil
	m.mu.Unlock()
	if taken {
		return reply{}, fmt.Errorf("open the socket of slot %d: %w", o.Port, os.ErrExist)
	}
	c, err := m.openSocket(o)
	if err != nil {
		return reply{}, err
	}
	f, err := c.OpenFile()
	if err != nil {
		return reply{}, errors.Join(err, c.Close())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients[o.Port] = c
	return reply{files: []*os.File{f}}, nil
}

// connect opens the tunnel socket of a slot.
func (m *machine) connect(_ context.Context, o protocol.Connect) (reply, error) {
	c, err := m.client("connect to a peer", o.Port)
	if err != nil {
		return reply{}, err
	}
	if err := m.canConnect(c, o); err != nil {
		return reply{}, err
	}
	if err := c.Connect(o.Remote); err != nil {
		return reply{}, err
	}
	f, err := c.TunnelFile()
	if err != nil {
		return reply{}, errors.Join(err, c.Disconnect())
	}
	return reply{files: []*os.File{f}}, nil
}

// reconnect connects the tunnel socket of a slot to another address of its peer.
func (m *machine) reconnect(_ context.Context, o protocol.Connect) (reply, error) {
	c, err := m.client("connect to another address", o.Port)
	if err != nil {
		return reply{}, err
	}
	if err := m.canConnect(c, o); err != nil {
		return reply{}, err
	}
	return reply{}, c.Reconnect(o.Remote)
}

// canConnect says what makes an address none that the socket of a slot can be connected to.
func (m *machine) canConnect(c *udp.Client, o protocol.Connect) error {
	if !o.Remote.IsValid() || o.Remote.Port() == 0 || o.Remote.Addr().IsUnspecified() || o.Remote.Addr().Is4() != c.Local().Addr().Is4() {
		return fmt.Errorf("connect the socket of slot %d to %s: %w", o.Port, o.Remote, os.ErrInvalid)
	}
	return m.mayConnect(o)
}

func (m *machine) disconnect(_ context.Context, p protocol.Port) (reply, error) {
	c, err := m.client("disconnect from a peer", p.Port)
	if err != nil {
		return reply{}, err
	}
	return reply{}, c.Disconnect()
}

// closeClient closes all that a slot has here, but for its pppd, which the daemon ends.
func (m *machine) closeClient(_ context.Context, p protocol.Port) (reply, error) {
	c, err := m.client("close the sockets", p.Port)
	if err != nil {
		return reply{}, err
	}
	m.mu.Lock()
	delete(m.clients, p.Port)
	files := m.sessions.takeTunnel(uint32(p.Port))
	m.mu.Unlock()
	closeFiles(files)
	return reply{}, c.Close()
}
