package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// Bounds of l2tp.plain_peers. Every prefix is a rule that each packet in clear is compared with.
const (
	maxPlainPeers = 64
	minPlainBits  = 8
)

// plainPeers reads the prefixes whose addresses may speak L2TP without IPsec.
func (d *decoder) plainPeers(c *Config, path string, n ast.Node) {
	if isEmpty(n) {
		return // nobody
	}
	before := len(d.errs)
	d.list(path, n, "a list of prefixes such as 10.20.0.0/16", func(path string, n ast.Node) {
		p := d.prefix(path, n)
		switch {
		case !p.IsValid():
			return
		case p.Bits() < minPlainBits:
			d.fail(n, path, describe(n), fmt.Sprintf("a trusted network: at least %d bits", minPlainBits))
		case slices.Contains(c.L2TP.PlainPeers, p):
			d.fail(n, path, p.String()+" for the second time", "each prefix once")
		}
		c.L2TP.PlainPeers = append(c.L2TP.PlainPeers, p)
	})
	switch got := len(c.L2TP.PlainPeers); {
	case got > maxPlainPeers:
		d.fail(n, path, fmt.Sprintf("%d prefixes", got), fmt.Sprintf("at most %d", maxPlainPeers))
	case len(d.errs) == before:
		d.warn(n, path, "L2TP without IPsec is accepted: who can send in the name of such an address, or listen on the way, needs no key")
	}
}

// plain checks the block of the tunnels without IPsec, which may be anything as long as nobody needs it.
func (d *decoder) plain(c *Config, l2tp, slots ast.Node) {
	if len(c.L2TP.PlainPeers) == 0 || len(d.errs) > 0 {
		return
	}
	a, b := c.Slots, c.Slots.Plain()
	if a.PortBase <= b.Last() && b.PortBase <= a.Last() {
		d.fail(cmp.Or(slots, l2tp), "slots", fmt.Sprintf("ports %s of clients and %s of plain tunnels, which overlap", a.ports(), b.ports()), "blocks that do not (port_base, plain_base)")
	}
}
