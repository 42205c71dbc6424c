package client

import (
	"net"
	"os"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// TestSocketsOfNoUse: sockets that cannot be taken over are closed in the keeper, too, so that the slot can be used again.
func TestSocketsOfNoUse(t *testing.T) {
	asked := make(chan uint16, 4)
	path := other(t, func(tr *protocol.Transport, m protocol.Message) {
		var port protocol.Port
		if err := protocol.Unmarshal(m.Body, &port); err != nil || m.Op != protocol.OpCloseClient {
			t.Errorf("asked to %s: %v", m.Op, err)
		}
		asked <- port.Port
		_ = tr.Write(protocol.Message{Kind: protocol.Reply, Op: m.Op, ID: m.ID})
	})
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(conn)
	defer c.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := c.Sockets(nil).Adopt(Client{Port: 20001, Open: r}); err == nil {
		t.Error("a pipe was taken for a socket")
	}
	select {
	case port := <-asked:
		if port != 20001 {
			t.Errorf("the keeper was asked to close slot %d", port)
		}
	default:
		t.Error("the keeper was not asked to close its own")
	}
}
