package concentrator

import (
	"errors"
	"net/netip"

	"github.com/l2tpctl/l2tpctl/internal/udp"
)

// clientSockets opens client sockets that the poller reads.
type clientSockets struct {
	poller  *udp.Poller
	tunnels *kernelTunnels
}

// OpenClient implements Sockets.
func (s clientSockets) OpenClient(local netip.Addr, port uint16, mark uint32) (ClientSocket, error) {
	client, err := udp.OpenClient(local, port, mark)
	if err != nil {
		return nil, err
	}
	open, err := client.OpenFile()
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	slot, err := udp.NewSlot(open, nil)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	both := clientSocket{client, slot, s.tunnels}
	if err := s.poller.Add(slot); err != nil {
		return nil, errors.Join(err, both.Close())
	}
	s.tunnels.add(client)
	return both, nil
}

// clientSocket is both halves of a client's pair of sockets: who opens and who reads.
type clientSocket struct {
	client  *udp.Client
	slot    *udp.Slot
	tunnels *kernelTunnels
}

func (s clientSocket) Send(remote netip.AddrPort, payload []byte) error {
	return s.slot.Send(remote, payload)
}

func (s clientSocket) Connect(remote netip.AddrPort) error {
	if err := s.slot.DropTunnel(); err != nil { // it would keep the port
		return err
	}
	if err := s.client.Connect(remote); err != nil {
		return err
	}
	tunnel, err := s.client.TunnelFile()
	if err == nil {
		err = s.slot.SetTunnel(tunnel)
	}
	if err != nil {
		return errors.Join(err, s.Disconnect())
	}
	return nil
}

func (s clientSocket) Disconnect() error {
	return errors.Join(s.slot.DropTunnel(), s.client.Disconnect())
}

func (s clientSocket) Close() error {
	s.tunnels.remove(s.client)
	return errors.Join(s.slot.Close(), s.client.Close())
}
