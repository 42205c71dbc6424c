// Package steering installs the static nftables table that gives every IPsec client a UDP port of its own inside the host.
//
// All L2TP/IPsec clients behind one NAT share the 4-tuple NAT:1701 -> server:1701. A client's inbound SA therefore marks what it
// decrypts with tag<<16|P, where P is the client's port, and the table rewrites the destination port of marked L2TP packets from
// 1701 to P; on the way out it rewrites the source port from P to 1701. Because the mark contains the port, the rules are the same
// for one client and for sixteen thousand, and nothing is added or removed when a client comes or goes.
//
// The table is also where the promises of the concentrator are kept even if everything else is wrong:
//
//   - L2TP that was not decrypted by IPsec is dropped ([Counters].PlainL2TP), and so is L2TP that came out of somebody else's SA
//     (ForeignSA).
//   - What a client's SA decrypts is either L2TPv2 to port 1701 or dropped (OutsideL2TP, Malformed). In particular a client cannot
//     talk to its port P directly, which the selector of its SA would allow, and so get around the next rule.
//   - An L2TP data packet carries the tunnel id P of its own client or is dropped (ForeignTunnelID): since Linux 6.10 sessions are
//     looked up per network namespace by the ids in the packet, and any client could inject into any session.
//   - A packet from one of our PPP interfaces has a source address that is routed back to the same interface or is dropped
//     (SpoofedSource).
//   - Nothing leaves a client's socket without IPsec (ClearOutput).
//
// # Plain peers
//
// L2TP without IPsec is let in from the prefixes of [Config].PlainPeers, if there are any. Their tunnels have ports in a block of their own, and the
// tunnel id of a packet becomes its destination port: an SCCRQ has none and goes to port 1701. Behind the new port there must be
// a socket of ours, which is connected to the sender; so a plain peer reaches neither the tunnel of another one nor that of a client
// (PlainForeign), nor by the way of this table a service of the machine. Its source address must be routed to the interface that the packet came in by.
//
// # Comparing two registers on kernels that cannot
//
// The nftables of Linux before 6.13 compare a register only to a constant, but the tunnel id must be compared to the mark. The rules
// let the checksum arithmetic of a payload write do it: the UDP checksum field is set to a constant, the tunnel id is overwritten
// with the low half of the mark "with checksum update", and the field still holds the constant exactly if the write changed nothing
// (RFC 1624: the update adds the difference in one's complement, where only 0 and 0xffff are alike, and P is neither). Then
// the original checksum is put back. From the first write on the packet has the tunnel id of its own client, whatever comes
// after. Should the kernel have left the checksum to hardware (CHECKSUM_PARTIAL, not seen after decryption), there is no update, and
// a foreign id is overwritten without being counted.
//
// # UDP checksum zero
//
// Each rewrite of a port exists twice, because updating an absent (zero) checksum turns it into a wrong one.
//
// All functions work on the network namespace of the calling thread and need CAP_NET_ADMIN there.
package steering

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Defaults of [Config], used by [DefaultConfig] and for fields that are zero.
const (
	DefaultTable           = "l2tpctl"
	DefaultTag      uint16 = 0x1701
	DefaultPortBase uint16 = 0x4000
	DefaultPortMask uint16 = 0xC000
	DefaultPrefix          = "l2t"

	DefaultPlainBase uint16 = 0x2000
	DefaultPlainMask uint16 = 0xE000
)

// l2tpPort is the well-known UDP port of L2TP (RFC 2661 section 8.1).
const l2tpPort = 1701

// Config names the table and says which marks, ports and interfaces are ours. A zero field means the default of that field.
type Config struct {
	// Table is the name of the table, in family inet. Whatever has this name is ours and replaced.
	Table string
	// Tag is the upper half of our marks; the lower half is the client's port.
	Tag uint16
	// PortBase and PortMask describe the block of the clients' ports: all P with P&PortMask == PortBase.
	PortBase, PortMask uint16
	// InterfacePrefix is what the names of our PPP interfaces begin with, 1 to 14 octets.
	InterfacePrefix string
	// PlainPeers may speak L2TP without IPsec; nobody if it is empty. PlainBase and PlainMask describe the block of their tunnels' ports, apart from that
	// of the clients.
	PlainPeers           []netip.Prefix
	PlainBase, PlainMask uint16
}

// DefaultConfig returns the table "l2tpctl" for the tag 0x1701, ports 16384 to 32767 and interfaces "l2t*".
func DefaultConfig() Config { return Config{}.withDefaults() }

// WithDefaults returns the configuration with the defaults in it.
func (c Config) WithDefaults() Config { return c.withDefaults() }

func (c Config) withDefaults() Config {
	if c.Table == "" {
		c.Table = DefaultTable
	}
	if c.Tag == 0 {
		c.Tag = DefaultTag
	}
	if c.PortBase == 0 && c.PortMask == 0 {
		c.PortBase, c.PortMask = DefaultPortBase, DefaultPortMask
	}
	if c.InterfacePrefix == "" {
		c.InterfacePrefix = DefaultPrefix
	}
	if c.PlainBase == 0 && c.PlainMask == 0 {
		c.PlainBase, c.PlainMask = DefaultPlainBase, DefaultPlainMask
	}
	return c
}

// Validate reports what is wrong with the configuration. A block of ports must not contain the ports of IKE (500, 4500), which
// would make the output rule catch encrypted packets, nor 1701, nor 0 and 0xffff, which the comparison of tunnel ids cannot tell apart.
func (c Config) Validate() error {
	c = c.withDefaults()
	if len(c.Table) > 64 || strings.Trim(c.Table, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return fmt.Errorf("table name %q: want 1 to 64 letters, digits, '-' or '_'", c.Table)
	}
	if n := len(c.InterfacePrefix); n > 14 || strings.ContainsAny(c.InterfacePrefix, " /:*\x00") {
		return fmt.Errorf("interface prefix %q: want 1 to 14 octets without blanks, '/', ':' and '*'", c.InterfacePrefix)
	}
	if err := validateBlock("clients", c.PortBase, c.PortMask); err != nil {
		return err
	}
	return c.validatePlain()
}

func validateBlock(whose string, base, mask uint16) error {
	if base&^mask != 0 {
		return fmt.Errorf("port base %#04x of %s has bits outside of the mask %#04x", base, whose, mask)
	}
	for _, p := range []uint16{0, 500, l2tpPort, 4500, 0xffff} {
		if p&mask == base {
			return fmt.Errorf("the block of ports of %s (base %#04x, mask %#04x) must not contain port %d", whose, base, mask, p)
		}
	}
	return nil
}

// errBigEndian is returned by Install where the mark cannot be used as a port: the lower half of a register is its end there, and
// moving it needs a shift that the netlink library cannot express.
var errBigEndian = errors.New("steering needs a little-endian machine")

func littleEndian() bool {
	return binary.NativeEndian.Uint16([]byte{1, 0}) == 1
}
