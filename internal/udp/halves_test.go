package udp

import (
	"errors"
	"net/netip"
	"os"
	"testing"
)

// halves is a Client and a Slot made of copies of its sockets.
type halves struct {
	*Client
	slot *Slot
}

func newHalves(c *Client) (*halves, error) {
	open, err := c.OpenFile()
	if err != nil {
		return nil, err
	}
	tunnel, err := c.TunnelFile()
	if err != nil {
		return nil, errors.Join(err, open.Close())
	}
	s, err := NewSlot(open, tunnel)
	if err != nil {
		return nil, err
	}
	return &halves{c, s}, nil
}

func (h *halves) Send(remote netip.AddrPort, payload []byte) error {
	return h.slot.Send(remote, payload)
}

// Connect is the Client's, and gives the Slot a copy.
func (h *halves) Connect(remote netip.AddrPort) error {
	if err := errors.Join(h.slot.DropTunnel(), h.Client.Connect(remote)); err != nil {
		return err
	}
	f, err := h.TunnelFile()
	if err != nil {
		return err
	}
	return h.slot.SetTunnel(f)
}

func (h *halves) Disconnect() error { return errors.Join(h.slot.DropTunnel(), h.Client.Disconnect()) }

func (h *halves) Close() error { return errors.Join(h.slot.Close(), h.Client.Close()) }

// openTestSlot opens a slot on a port that is free now.
func openTestSlot(t *testing.T, addr netip.Addr) *halves {
	t.Helper()
	h, err := newHalves(openTestClient(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// openFile is a copy of the unconnected socket.
func openFile(t *testing.T, c *Client) *os.File {
	t.Helper()
	f, err := c.OpenFile()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// tunnelFile is a copy of the tunnel socket.
func tunnelFile(t *testing.T, c *Client) *os.File {
	t.Helper()
	f, err := c.TunnelFile()
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		t.Fatal("there is no tunnel socket")
	}
	return f
}
