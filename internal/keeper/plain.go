package keeper

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
)

// plainBlock is the block of the tunnels of peers without IPsec; false if there are no such peers.
func (m *machine) plainBlock() (slot.Block, bool) {
	s := m.settings().Steering
	return slot.Block{Tag: s.Tag, Base: s.PlainBase, Mask: s.PlainMask}, len(s.PlainPeers) > 0
}

// openSocket opens the unconnected socket of a slot: with policies of IPsec, or without if that is the slot of a peer who may do without.
func (m *machine) openSocket(o protocol.OpenClient) (*udp.Client, error) {
	if m.block.Owns(o.Mark) && uint16(o.Mark) == o.Port {
		return udp.OpenClient(o.Local, o.Port, o.Mark)
	}
	if plain, ok := m.plainBlock(); ok && plain.Owns(o.Mark) && uint16(o.Mark) == o.Port {
		return udp.OpenPlainClient(o.Local, o.Port, o.Mark)
	}
	return nil, fmt.Errorf("open the socket of slot %d with mark 0x%08x: %w", o.Port, o.Mark, protocol.ErrNotOurs)
}

// adoptSocket takes over what openSocket and Connect have opened.
func (m *machine) adoptSocket(port uint16, open, tunnel *os.File) (*udp.Client, error) {
	if p := slot.Port(port); !m.block.Contains(p) {
		return udp.AdoptPlainClient(m.block.Mark(p), open, tunnel) // the tag is the same
	}
	return udp.AdoptClient(m.block.Mark(slot.Port(port)), open, tunnel)
}

// mayConnect refuses to connect the socket of a slot without IPsec to somebody who is not listed.
func (m *machine) mayConnect(o protocol.Connect) error {
	plain, _ := m.plainBlock()
	if !plain.Contains(slot.Port(o.Port)) || m.block.Contains(slot.Port(o.Port)) {
		return nil
	}
	if slices.ContainsFunc(m.settings().Steering.PlainPeers, func(p netip.Prefix) bool { return p.Contains(o.Remote.Addr()) }) {
		return nil
	}
	return fmt.Errorf("connect the socket of slot %d to %s, who may not do without IPsec: %w", o.Port, o.Remote, protocol.ErrNotOurs)
}

// listenPlain opens the sockets of port 1701 that a setup wants, in place of those that there are.
func (m *machine) listenPlain(s protocol.Setup) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := udp.ClosePlain(m.plain)
	m.plain = nil
	if err != nil || len(s.Steering.PlainPeers) == 0 {
		return err
	}
	if m.plain, err = udp.OpenPlain(s.Listen); err != nil {
		return fmt.Errorf("open the port of L2TP: %w", err)
	}
	return nil
}

// changePlain is listenPlain, if the sockets of setup s are others than those of old. On an error they are as they were.
func (m *machine) changePlain(old, s protocol.Setup) error {
	with, had := len(s.Steering.PlainPeers) > 0, len(old.Steering.PlainPeers) > 0
	if with == had && (!with || slices.Equal(s.Listen, old.Listen)) {
		return nil
	}
	if err := m.listenPlain(s); err != nil {
		return errors.Join(err, m.listenPlain(old))
	}
	return nil
}
