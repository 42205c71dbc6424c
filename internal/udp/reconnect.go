package udp

import (
	"fmt"
	"net"
	"net/netip"
)

// Reconnect connects the tunnel socket to another address or port of its peer. It is the same socket, for the kernel's tunnel on it and
// for a Slot's copy, so sessions go on, and at no moment is it unconnected. The error is net.ErrClosed without a tunnel socket, and
// ErrNoSA while the client has no outbound SA to there; the socket then stays connected to where it was.
func (c *Client) Reconnect(remote netip.AddrPort) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tunnel == nil {
		return fmt.Errorf("slot %d has no tunnel socket: %w", c.local.Port(), net.ErrClosed)
	}
	if err := c.tunnel.connect(remote); err != nil {
		return fmt.Errorf("connect the tunnel socket of slot %d to %s: %w", c.local.Port(), remote, explain(err))
	}
	return nil
}

// Remote is the peer that the tunnel socket is connected to, and false without a copy of one.
func (s *Slot) Remote() (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnel == nil {
		return netip.AddrPort{}, false
	}
	remote, err := s.tunnel.remote()
	return remote, err == nil
}
