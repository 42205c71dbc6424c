package concentrator

import (
	"bytes"
	"maps"
	"net/netip"
	"os"
	"sync"

	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// ample is a machine with room for everybody, that forgets nothing.
type ample struct {
	mu       sync.Mutex
	records  map[string][]byte
	sas      map[xfrm.ID]xfrm.State
	ports    map[uint16]bool
	tunnels  map[uint16]l2tpnl.Tunnel
	sessions map[[2]uint16]l2tpnl.Session
}

func newAmple() *ample {
	return &ample{
		records: make(map[string][]byte), sas: make(map[xfrm.ID]xfrm.State), ports: make(map[uint16]bool),
		tunnels: make(map[uint16]l2tpnl.Tunnel), sessions: make(map[[2]uint16]l2tpnl.Session),
	}
}

func (a *ample) parts() Parts {
	return Parts{SAs: ampleSAs{a}, Tunnels: ampleTunnels{a}, Sockets: a, Store: a}
}

// estate is what a daemon of a population has left.
func (a *ample) estate(p *population) Estate {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := Estate{Records: maps.Clone(a.records), Sockets: make(map[uint16]ClientSocket, len(a.ports)), Processes: p.endpoints()}
	for port := range a.ports {
		e.Sockets[port] = ampleSocket{}
	}
	for id := range a.sessions {
		e.Sessions = append(e.Sessions, id)
	}
	return e
}

func (a *ample) Store(changes []Change) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ch := range changes {
		delete(a.records, ch.Key)
		if ch.Value != nil {
			a.records[ch.Key] = bytes.Clone(ch.Value)
		}
	}
	return nil
}

func (a *ample) OpenClient(_ netip.Addr, port uint16, _ uint32) (ClientSocket, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ports[port] = true
	return ampleSocket{}, nil
}

type ampleSocket struct{}

func (ampleSocket) Send(netip.AddrPort, []byte) error { return nil }
func (ampleSocket) Connect(netip.AddrPort) error      { return nil }
func (ampleSocket) Reconnect(netip.AddrPort) error    { return nil }
func (ampleSocket) Disconnect() error                 { return nil }
func (ampleSocket) Close() error                      { return nil }

type ampleSAs struct{ *ample }

func (a ampleSAs) Add(st *xfrm.State) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sas[st.ID] = *st
	return nil
}

func (a ampleSAs) Delete(ids ...xfrm.ID) ([]xfrm.Stats, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		delete(a.sas, id)
	}
	return make([]xfrm.Stats, len(ids)), nil
}

func (ampleSAs) Move(id xfrm.ID, _ xfrm.Place) (xfrm.ID, error) { return id, nil }

func (a ampleSAs) Get(id xfrm.ID) (xfrm.State, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st, there := a.sas[id]
	if !there {
		return st, os.ErrNotExist
	}
	return st, nil
}

func (a ampleSAs) List() (list []xfrm.State, _ error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, st := range a.sas {
		list = append(list, st)
	}
	return list, nil
}

type ampleTunnels struct{ *ample }

func (a ampleTunnels) CreateTunnel(id, peerID uint16) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tunnels[id] = l2tpnl.Tunnel{ID: uint32(id), PeerID: uint32(peerID)}
	return nil
}

func (a ampleTunnels) OpenSession(tunnel, session, peerTunnel, peerSession uint16) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[[2]uint16{tunnel, session}] = l2tpnl.Session{TunnelID: uint32(tunnel), ID: uint32(session), PeerTunnelID: uint32(peerTunnel), PeerID: uint32(peerSession)}
	return nil
}

func (a ampleTunnels) DeleteTunnel(uint32) error         { return os.ErrNotExist }
func (a ampleTunnels) CloseSession(uint16, uint16) error { return os.ErrNotExist }

func (a ampleTunnels) Tunnel(id uint32) (l2tpnl.Tunnel, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tunnels[uint16(id)], nil
}

func (a ampleTunnels) Session(tunnel, id uint32) (l2tpnl.Session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[[2]uint16{uint16(tunnel), uint16(id)}], nil
}

func (a ampleTunnels) Tunnels() (list []l2tpnl.Tunnel, _ error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tunnels {
		list = append(list, t)
	}
	return list, nil
}

func (a ampleTunnels) Sessions() (list []l2tpnl.Session, _ error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		list = append(list, s)
	}
	return list, nil
}
