package client

import (
	"errors"
	"net/netip"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/udp"
)

// Sockets opens the sockets of slots: the keeper opens them, a poller of this process reads copies.
type Sockets struct {
	c      *Conn
	poller *udp.Poller
}

// Sockets returns the sockets; what arrives goes to the poller's handler.
func (c *Conn) Sockets(p *udp.Poller) Sockets { return Sockets{c, p} }

// A Socket is one slot's pair of sockets.
type Socket struct {
	c    *Conn
	port protocol.Port
	slot *udp.Slot
}

// OpenClient opens the unconnected socket of the slot with the given port and mark, and begins to read it.
func (s Sockets) OpenClient(local netip.Addr, port uint16, mark uint32) (*Socket, error) {
	f, err := s.c.askFile(protocol.OpOpenClient, protocol.OpenClient{Local: local, Port: port, Mark: mark})
	if err != nil {
		return nil, err
	}
	return s.Adopt(Client{Port: port, Open: f})
}

// Adopt begins to read the sockets of an Inventory's client, and takes its files. On an error the keeper closes its own, too, or nobody
// could use the slot any more.
func (s Sockets) Adopt(cl Client) (*Socket, error) {
	port := protocol.Port{Port: cl.Port}
	slot, err := udp.NewSlot(cl.Open, cl.Tunnel)
	if err != nil {
		return nil, errors.Join(err, s.c.do(protocol.OpCloseClient, port))
	}
	if err := s.poller.Add(slot); err != nil {
		return nil, errors.Join(err, slot.Close(), s.c.do(protocol.OpCloseClient, port))
	}
	return &Socket{c: s.c, port: port, slot: slot}, nil
}

// Send sends a control message through the unconnected socket. The error is udp.ErrNoSA while the client has no outbound SA.
func (s *Socket) Send(remote netip.AddrPort, payload []byte) error {
	return s.slot.Send(remote, payload)
}

// Connect opens the tunnel socket, for Tunnels.CreateTunnel, in place of one from before, and begins to read it. The error is udp.ErrNoSA while the
// client has no outbound SA.
func (s *Socket) Connect(remote netip.AddrPort) error {
	if err := s.slot.DropTunnel(); err != nil { // a copy would keep the port
		return err
	}
	f, err := s.c.askFile(protocol.OpConnect, protocol.Connect{Port: s.port.Port, Remote: remote})
	if err != nil {
		return err
	}
	if err := s.slot.SetTunnel(f); err != nil {
		return errors.Join(err, s.c.do(protocol.OpDisconnect, s.port))
	}
	return nil
}

// Reconnect connects the tunnel socket to another address of its peer; the kernel's tunnel on it goes on. The error is net.ErrClosed without a
// tunnel socket, and udp.ErrNoSA while the client has no outbound SA to there; the socket then stays connected to where it was. The keeper
// is only asked if it is to be connected to elsewhere.
func (s *Socket) Reconnect(remote netip.AddrPort) error {
	if at, ok := s.slot.Remote(); ok && at == remote {
		return nil
	}
	return s.c.do(protocol.OpReconnect, protocol.Connect{Port: s.port.Port, Remote: remote})
}

// Disconnect closes the tunnel socket, if there is one.
func (s *Socket) Disconnect() error {
	return errors.Join(s.slot.DropTunnel(), s.c.do(protocol.OpDisconnect, s.port))
}

// Close closes both sockets, here and in the keeper.
func (s *Socket) Close() error {
	return errors.Join(s.slot.Close(), s.c.do(protocol.OpCloseClient, s.port))
}
