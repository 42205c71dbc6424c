package client

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/udp"
)

// ErrOtherSetup is the error of a Setup that differs from the first one in more than the addresses.
var ErrOtherSetup = protocol.ErrOtherSetup

// Inventory is all that the keeper has. The files are the caller's.
type Inventory struct {
	IKE       []udp.IKEFile
	Plain     []udp.PlainFile // of port 1701; none unless there are peers without IPsec
	Clients   []Client
	Sessions  []Session
	Processes []protocol.Process // that run, or have ended and were not forgotten; for PPP.Adopt
	Records   map[string][]byte
	Held      map[string]*os.File
}

// Client is the pair of sockets of a slot, for Sockets.Adopt.
type Client struct {
	Port   uint16
	Local  netip.Addr
	Remote netip.AddrPort // of the tunnel's socket
	Open   *os.File
	Tunnel *os.File // nil without a tunnel
}

// Session is a PPPoL2TP socket.
type Session struct {
	Tunnel, Session uint16
}

// Close closes the files.
func (i *Inventory) Close() {
	for _, f := range i.IKE {
		_ = f.File.Close()
	}
	for _, f := range i.Plain {
		_ = f.File.Close()
	}
	for _, c := range i.Clients {
		_ = c.Open.Close()
		if c.Tunnel != nil {
			_ = c.Tunnel.Close()
		}
	}
	for _, f := range i.Held {
		_ = f.Close()
	}
	*i = Inventory{}
}

// Setup makes the keeper take possession of the machine: remove what a dead predecessor has left, install the steering table, open the sockets
// of IKE. A keeper that was set up before only opens and closes sockets if Listen or Steering.PlainPeers is another, and the error is
// ErrOtherSetup if anything else is. It takes some seconds if there are pppd of a predecessor to end.
func (c *Conn) Setup(ctx context.Context, s protocol.Setup) (Inventory, error) {
	return c.setup(ctx, protocol.OpSetup, s)
}

// Prepare is Setup for somebody who goes before a daemon: it returns the held files and nothing else.
func (c *Conn) Prepare(ctx context.Context, s protocol.Setup) (held map[string]*os.File, err error) {
	i, err := c.setup(ctx, protocol.OpPrepare, s)
	return i.Held, err
}

func (c *Conn) setup(ctx context.Context, op protocol.Op, s protocol.Setup) (Inventory, error) {
	m, err := c.call(ctx, op, s, nil)
	if err != nil {
		return Inventory{}, err
	}
	i, err := inventory(&m)
	m.Close() // what nobody has taken
	if err != nil {
		i.Close()
		return Inventory{}, fmt.Errorf("read the keeper's inventory: %w", err)
	}
	return i, nil
}

// inventory takes the files that it returns out of the message.
func inventory(m *protocol.Message) (Inventory, error) {
	var told protocol.Inventory
	if err := protocol.Unmarshal(m.Body, &told); err != nil {
		return Inventory{}, err
	}
	files := m.Files
	m.Files = nil
	taken := make([]bool, len(files))
	var bad error
	take := func(place int, optional bool) *os.File {
		switch {
		case place == 0 && optional:
			return nil
		case place < 1 || place > len(files) || taken[place-1]:
			bad = fmt.Errorf("%w: file %d of %d", protocol.ErrMalformed, place, len(files))
			return nil
		}
		taken[place-1] = true
		return files[place-1]
	}
	i := Inventory{Processes: told.Processes, Records: make(map[string][]byte, len(told.Records)), Held: make(map[string]*os.File, len(told.Held))}
	for _, s := range told.IKE {
		i.IKE = append(i.IKE, udp.IKEFile{Local: s.Local, Encapsulated: s.Encapsulated, Initials: s.Initials, File: take(s.File, false)})
	}
	for _, s := range told.Plain {
		i.Plain = append(i.Plain, udp.PlainFile{Local: s.Local, File: take(s.File, false)})
	}
	for _, cl := range told.Clients {
		i.Clients = append(i.Clients, Client{
			Port: cl.Local.Port(), Local: cl.Local.Addr(), Remote: cl.Remote, Open: take(cl.Open, false), Tunnel: take(cl.Tunnel, true),
		})
	}
	for _, s := range told.Sessions {
		i.Sessions = append(i.Sessions, Session{Tunnel: uint16(s.Tunnel), Session: uint16(s.Session)})
	}
	for _, r := range told.Records {
		i.Records[r.Key] = r.Value
	}
	for _, h := range told.Held {
		i.Held[h.Name] = take(h.File, false)
	}
	for n, f := range files {
		if !taken[n] {
			m.Files = append(m.Files, f)
		}
	}
	return i, bad
}

// Shutdown makes the keeper give everything back: it ends every pppd, tunnel and SA, removes the steering table and the paths of held unix listeners,
// and exits. Shutdown returns when it has.
func (c *Conn) Shutdown(ctx context.Context) error {
	m, err := c.call(ctx, protocol.OpShutdown, nil, nil)
	m.Close()
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the keeper's end: %w", ctx.Err())
	}
}
