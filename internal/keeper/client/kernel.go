package client

import (
	"fmt"
	"net/netip"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// SAs installs ESP security associations with a reqid of the concentrator's; of others it will know nothing (protocol.ErrNotOurs). What it returns
// has no keys.
type SAs struct{ c *Conn }

// SAs returns the SAs.
func (c *Conn) SAs() SAs { return SAs{c} }

// Add installs an SA. An SA with the same ID gives os.ErrExist.
func (s SAs) Add(st *xfrm.State) error { return s.c.do(protocol.OpAddSA, st) }

// Delete removes SAs, and returns what each has counted: nothing if it was not there, which is no error.
func (s SAs) Delete(ids ...xfrm.ID) ([]xfrm.Stats, error) {
	counted, err := ask[[]xfrm.Stats](s.c, protocol.OpDeleteSA, ids)
	if err == nil && len(counted) != len(ids) {
		err = fmt.Errorf("%w: the counters of %d SAs after the end of %d", protocol.ErrMalformed, len(counted), len(ids))
	}
	return counted, err
}

// Move gives an SA other addresses, and returns its ID there.
func (s SAs) Move(id xfrm.ID, to xfrm.Place) (xfrm.ID, error) {
	return ask[xfrm.ID](s.c, protocol.OpMoveSA, protocol.SAMove{ID: id, To: to})
}

// Get returns an SA.
func (s SAs) Get(id xfrm.ID) (xfrm.State, error) { return ask[xfrm.State](s.c, protocol.OpGetSA, id) }

// List returns the SAs with a reqid of ours.
func (s SAs) List() ([]xfrm.State, error) { return ask[[]xfrm.State](s.c, protocol.OpListSAs, nil) }

// Monitor returns what tells of all SAs of the namespace. The caller closes it.
func (c *Conn) Monitor() (*xfrm.Monitor, error) {
	f, err := c.askFile(protocol.OpMonitor, nil)
	if err != nil {
		return nil, err
	}
	m, err := xfrm.MonitorFile(f)
	if err != nil {
		return nil, fmt.Errorf("listen to XFRM: %w", err)
	}
	return m, nil
}

// Tunnels creates tunnels and sessions of the kernel; the ids of tunnels are the ports of slots. Of those of others it knows nothing
// (protocol.ErrNotOurs).
type Tunnels struct{ c *Conn }

// Tunnels returns the tunnels.
func (c *Conn) Tunnels() Tunnels { return Tunnels{c} }

// CreateTunnel creates a tunnel on the connected socket of the slot with that port. os.ErrExist also while an older one is being deleted.
func (t Tunnels) CreateTunnel(id, peerID uint16) error {
	return t.c.do(protocol.OpCreateTunnel, protocol.Tunnel{ID: id, PeerID: peerID})
}

// DeleteTunnel deletes a tunnel and its sessions. An unknown one gives os.ErrNotExist.
func (t Tunnels) DeleteTunnel(id uint32) error {
	return t.c.do(protocol.OpDeleteTunnel, protocol.TunnelID{ID: id})
}

// OpenSession opens a PPPoL2TP socket, which the keeper holds, and so makes the session. os.ErrExist if it holds one already.
func (t Tunnels) OpenSession(tunnel, session, peerTunnel, peerSession uint16) error {
	return t.c.do(protocol.OpOpenSession, protocol.Session{Tunnel: tunnel, Session: session, PeerTunnel: peerTunnel, PeerSession: peerSession})
}

// CloseSession closes the socket; the session ends when its pppd has, too. os.ErrNotExist if the keeper holds none.
func (t Tunnels) CloseSession(tunnel, session uint16) error {
	return t.c.do(protocol.OpCloseSession, protocol.SessionID{Tunnel: uint32(tunnel), Session: uint32(session)})
}

// Tunnel returns a tunnel with its counters. An unknown one gives os.ErrNotExist.
func (t Tunnels) Tunnel(id uint32) (l2tpnl.Tunnel, error) {
	return ask[l2tpnl.Tunnel](t.c, protocol.OpGetTunnel, protocol.TunnelID{ID: id})
}

// Tunnels returns the tunnels of slots.
func (t Tunnels) Tunnels() ([]l2tpnl.Tunnel, error) {
	return ask[[]l2tpnl.Tunnel](t.c, protocol.OpListTunnels, nil)
}

// Session returns a session with its counters. An unknown one gives os.ErrNotExist.
func (t Tunnels) Session(tunnel, id uint32) (l2tpnl.Session, error) {
	return ask[l2tpnl.Session](t.c, protocol.OpGetSession, protocol.SessionID{Tunnel: tunnel, Session: id})
}

// Sessions returns the sessions of these tunnels.
func (t Tunnels) Sessions() ([]l2tpnl.Session, error) {
	return ask[[]l2tpnl.Session](t.c, protocol.OpListSessions, nil)
}

// Steering is the nftables table, which the keeper guards.
type Steering struct{ c *Conn }

// Steering returns the table.
func (c *Conn) Steering() Steering { return Steering{c} }

// Read returns the counters, by name.
func (s Steering) Read() (map[string]uint64, error) {
	counters, err := ask[protocol.Counters](s.c, protocol.OpReadSteering, nil)
	return counters.Packets, err
}

// Intact reports whether the table is as it was installed.
func (s Steering) Intact() (bool, error) {
	i, err := ask[protocol.Intact](s.c, protocol.OpSteeringIntact, nil)
	return i.Intact, err
}

// Egress tries SAs.
type Egress struct{ c *Conn }

// Egress returns what tries SAs.
func (c *Conn) Egress() Egress { return Egress{c} }

// Encrypts fails unless packets of a socket with a policy for the reqid find an SA. Nothing is sent.
func (e Egress) Encrypts(local, remote netip.Addr, reqid uint32) error {
	return e.c.do(protocol.OpEncrypts, protocol.Way{Local: local, Remote: remote, ReqID: reqid})
}
