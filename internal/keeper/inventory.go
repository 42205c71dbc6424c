package keeper

import (
	"fmt"
	"os"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// inventory tells of everything, with copies of the files. Without a machine that is the held files alone.
func (k *Keeper) inventory(m *machine) (_ reply, err error) {
	c := &collection{}
	defer func() {
		if err != nil {
			closeFiles(c.files)
		}
	}()
	var told protocol.Inventory
	if m != nil {
		told.Records = k.store.all()
		if err := m.list(&told, c); err != nil {
			return reply{}, fmt.Errorf("take the inventory: %w", err)
		}
	}
	k.held.mu.Lock()
	defer k.held.mu.Unlock()
	for name, f := range k.held.files {
		told.Held = append(told.Held, protocol.Held{Name: name, File: c.copy(f)})
	}
	if c.err != nil {
		return reply{}, fmt.Errorf("take the inventory: %w", c.err)
	}
	return reply{body: told, files: c.files}, nil
}

// collection gathers copies of files and gives them their places in the message.
type collection struct {
	files []*os.File
	err   error
}

func (c *collection) copy(f *os.File) int {
	fd, err := protocol.Duplicate(f)
	if err != nil {
		c.err = err
		return 0
	}
	return c.add(os.NewFile(uintptr(fd), f.Name()), nil)
}

// add takes a file over; nil has the place 0.
func (c *collection) add(f *os.File, err error) int {
	if err != nil {
		c.err = err
	}
	if f == nil {
		return 0
	}
	c.files = append(c.files, f)
	return len(c.files)
}

// sockets adds the sockets of a machine to what is told of it. number numbers a file that stays ours, and take one that is made for this, with the
// error of making it. The caller holds mu.
func (m *machine) sockets(told *protocol.Inventory, number func(*os.File) int, take func(*os.File, error) int) {
	for _, f := range m.ike {
		told.IKE = append(told.IKE, protocol.IKESocket{Local: f.Local, Encapsulated: f.Encapsulated, Initials: f.Initials, File: number(f.File)})
	}
	for _, f := range m.plain {
		told.Plain = append(told.Plain, protocol.PlainSocket{Local: f.Local, File: number(f.File)})
	}
	for _, cl := range m.clients {
		one := protocol.Client{Local: cl.Local(), Open: take(cl.OpenFile()), Tunnel: take(cl.TunnelFile())}
		one.Remote, _ = cl.Remote()
		told.Clients = append(told.Clients, one)
	}
}

// list adds what there is of the machine.
func (m *machine) list(told *protocol.Inventory, c *collection) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sockets(told, c.copy, c.add)
	for id := range m.sessions.all() {
		told.Sessions = append(told.Sessions, id)
	}
	for _, p := range m.processes {
		if p.running != nil || p.told.Exit != nil {
			told.Processes = append(told.Processes, p.told)
		}
	}
	return c.err
}
