package concentrator

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// machineTunnels is the L2TP of a machine. The life of its objects is the kernel's: a tunnel ends when it is deleted or its socket is
// closed, some time afterwards; a session ends with its last socket.
type machineTunnels struct{ *machine }

type kernelTunnel struct {
	l2tpnl.Tunnel
	deleting bool
}

type kernelSession struct {
	l2tpnl.Session
	open   bool     // the socket that is held for the daemon
	holder *process // who got a copy
}

// kernelSocket is the pair of sockets of a slot.
type kernelSocket struct {
	m      *machine
	port   uint16
	fd     int // of the connected one; 0 for none
	remote netip.AddrPort
	closed bool
	local  netip.Addr // without IPsec; else not valid
}

// OpenClient implements Sockets.
func (m *machine) OpenClient(local netip.Addr, port uint16, mark uint32) (ClientSocket, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault("open socket") {
		return nil, errFault
	}
	if m.taken[port] {
		return nil, fmt.Errorf("bind port %d: %w", port, unix.EADDRINUSE)
	}
	if m.sockets[port] != nil {
		m.t.Errorf("the sockets of slot %d are opened twice", port)
		return nil, os.ErrExist
	}
	if mark != m.block.Mark(slot.Port(port)) || !local.Is4() {
		m.t.Errorf("sockets of slot %d at %v have mark %#x", port, local, mark)
	}
	s := &kernelSocket{m: m, port: port}
	if m.plain.contains(slot.Port(port)) {
		s.local = local
	}
	m.sockets[port] = s
	return s, nil
}

// way says whether a datagram can leave for remote, and by which SA; nil without IPsec. The caller holds mu.
func (s *kernelSocket) way(remote netip.AddrPort) (*xfrm.State, error) {
	sa := s.m.outbound(s.port)
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case s.local.IsValid() && !s.m.plain.listed(remote.Addr()):
		return nil, unix.EPERM // of the steering table
	case s.local.IsValid():
		return nil, nil
	case sa == nil || sa.Dst != remote.Addr():
		return nil, udp.ErrNoSA
	}
	return sa, nil
}

// Send implements ClientSocket.
func (s *kernelSocket) Send(remote netip.AddrPort, payload []byte) error {
	if s.m.dies() {
		return errFault
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	sa, err := s.way(remote)
	switch {
	case err != nil:
		return err
	case sa == nil:
		go s.m.bare(plainSent{s.local, remote, payload})
	case s.m.count(sa, payload):
		go s.m.send(*sa, payload)
	}
	return nil
}

// Connect implements ClientSocket.
func (s *kernelSocket) Connect(remote netip.AddrPort) error {
	if err := s.m.work("connect"); err != nil {
		return err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if _, err := s.way(remote); err != nil {
		return err
	}
	s.disconnect()
	s.m.lastFD++
	s.fd, s.remote = s.m.lastFD, remote
	return nil
}

// Reconnect implements ClientSocket.
func (s *kernelSocket) Reconnect(remote netip.AddrPort) error {
	if err := s.m.work("reconnect"); err != nil {
		return err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	sa := s.m.outbound(s.port)
	switch {
	case s.closed || s.fd == 0:
		return net.ErrClosed
	case sa == nil || sa.Dst != remote.Addr():
		return udp.ErrNoSA
	}
	s.remote = remote
	return nil
}

// Disconnect implements ClientSocket.
func (s *kernelSocket) Disconnect() error {
	if s.m.dies() {
		return errFault
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.disconnect()
	return nil
}

func (s *kernelSocket) disconnect() {
	for id, t := range s.m.tunnels {
		if s.fd != 0 && t.FD == s.fd {
			s.m.endTunnel(id)
		}
	}
	s.fd = 0
}

// Close implements ClientSocket.
func (s *kernelSocket) Close() error {
	if s.m.dies() {
		return errFault
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.closed {
		s.m.t.Errorf("the sockets of slot %d are closed twice", s.port)
	}
	if s.m.tunnels[uint32(s.port)] != nil && !s.m.tunnels[uint32(s.port)].deleting {
		s.m.t.Errorf("the sockets of slot %d are closed while its tunnel is there", s.port)
	}
	s.disconnect()
	s.closed = true
	delete(s.m.sockets, s.port)
	return nil
}

func (m machineTunnels) CreateTunnel(id, peerID uint16) error {
	t := l2tpnl.Tunnel{ID: uint32(id), PeerID: uint32(peerID)}
	if err := m.work("create tunnel"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tunnels[t.ID] != nil {
		if !m.tunnels[t.ID].deleting {
			m.t.Errorf("tunnel %d is created twice", t.ID)
		}
		return fmt.Errorf("create tunnel %d: %w", t.ID, os.ErrExist)
	}
	s := m.sockets[id]
	if s == nil || s.fd == 0 || peerID == 0 {
		m.t.Errorf("tunnel %d is created on a socket that is not connected: %+v, %+v", t.ID, t, s)
		return os.ErrNotExist
	}
	t.FD = s.fd
	m.tunnels[t.ID] = &kernelTunnel{Tunnel: t}
	return nil
}

func (m machineTunnels) DeleteTunnel(id uint32) error {
	if err := m.work("delete tunnel"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.tunnels[id]; t == nil || t.deleting {
		return fmt.Errorf("delete tunnel %d: %w", id, os.ErrNotExist)
	}
	m.endTunnel(id)
	go m.note(l2tpnl.TunnelEvent{Change: l2tpnl.Deleted, Tunnel: l2tpnl.Tunnel{ID: id}})
	return nil
}

// stealTunnel deletes a tunnel as somebody else would, with its sessions and no regard for who uses them.
func (m *machine) stealTunnel(id uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.tunnels[id]; t == nil || t.deleting {
		return
	}
	delete(m.tunnels, id)
	for at := range m.sessions {
		if at[0] == id {
			delete(m.sessions, at)
		}
	}
	go m.note(l2tpnl.TunnelEvent{Change: l2tpnl.Deleted, Tunnel: l2tpnl.Tunnel{ID: id}})
}

// stealSession deletes a session likewise.
func (m *machine) stealSession(tunnel, id uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions[[2]uint32{tunnel, id}] != nil {
		delete(m.sessions, [2]uint32{tunnel, id})
		go m.note(l2tpnl.SessionEvent{Change: l2tpnl.Deleted, Session: l2tpnl.Session{TunnelID: tunnel, ID: id}})
	}
}

func (m machineTunnels) Tunnel(id uint32) (l2tpnl.Tunnel, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.tunnels[id]; t != nil && !t.deleting {
		return t.Tunnel, nil
	}
	return l2tpnl.Tunnel{}, os.ErrNotExist
}

// endTunnel begins the deletion of a tunnel. The caller holds mu.
func (m *machine) endTunnel(id uint32) {
	t := m.tunnels[id]
	if t.deleting {
		return
	}
	m.reap()
	for at, s := range m.sessions {
		if at[0] != id {
			continue
		}
		if s.holder == nil || !s.holder.killed {
			m.t.Errorf("tunnel %d is deleted while its session %d is in use", id, at[1])
		}
		delete(m.sessions, at)
	}
	t.deleting = true
	time.AfterFunc(m.within(200*time.Millisecond), func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.tunnels, id)
	})
}

func (m machineTunnels) OpenSession(tunnel, session, peerTunnel, peerSession uint16) error {
	if err := m.work("open session"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	t := m.tunnels[uint32(tunnel)]
	if t == nil || t.deleting || t.PeerID != uint32(peerTunnel) {
		return fmt.Errorf("open session %d/%d: %w", tunnel, session, os.ErrNotExist)
	}
	id := [2]uint32{uint32(tunnel), uint32(session)}
	if m.sessions[id] != nil {
		m.t.Errorf("session %v is opened twice", id)
		return os.ErrExist
	}
	s := &kernelSession{open: true, Session: l2tpnl.Session{TunnelID: id[0], ID: id[1], PeerTunnelID: uint32(peerTunnel), PeerID: uint32(peerSession)}}
	s.Stats.RxBytes, s.Stats.TxBytes = 1000, 2000
	m.sessions[id] = s
	return nil
}

func (m machineTunnels) CloseSession(tunnel, session uint16) error {
	if m.dies() {
		return errFault
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[[2]uint32{uint32(tunnel), uint32(session)}]
	if s == nil {
		return nil // somebody has taken it away; the socket is closed all the same
	}
	if !s.open {
		m.t.Errorf("session %d/%d is closed twice", tunnel, session)
	}
	s.open = false
	return nil
}

// reap removes the sessions whose last socket is closed. The caller holds mu.
func (m *machine) reap() {
	for id, s := range m.sessions {
		if !s.open && (s.holder == nil || s.holder.over) {
			delete(m.sessions, id)
		}
	}
}

func (m machineTunnels) Tunnels() ([]l2tpnl.Tunnel, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []l2tpnl.Tunnel
	for _, t := range m.tunnels {
		t.Stats.RxBytes, t.Stats.TxBytes = 3000, 4000
		list = append(list, t.Tunnel)
	}
	return list, nil
}

func (m machineTunnels) Session(tunnel, id uint32) (l2tpnl.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	if s := m.sessions[[2]uint32{tunnel, id}]; s != nil {
		return s.Session, nil
	}
	return l2tpnl.Session{}, os.ErrNotExist
}

func (m machineTunnels) Sessions() ([]l2tpnl.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	var list []l2tpnl.Session
	for _, s := range m.sessions {
		list = append(list, s.Session)
	}
	return list, nil
}
