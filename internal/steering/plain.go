package steering

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Plain L2TP, without IPsec, for peers in a trusted network. Each of their tunnels has a port of its own, too, which is its tunnel id;
// but here it is the tunnel id of the packet, and not a mark, that says which. What is left of the promise is kept by the sockets: that
// of a tunnel is connected to its peer, so that UDP hands it what comes from there and nothing else.

// maxPlainPeers bounds the prefixes: each is a rule that is tried for every plain packet.
const maxPlainPeers = 64

// errSpecific says which prefixes are refused.
var errSpecific = errors.New("want a masked prefix of at least 8 bits, of IPv4 or IPv6")

// CheckPlainPeer reports whether a prefix can be one of Config.PlainPeers: nobody trusts a larger part of the Internet than a /8.
func CheckPlainPeer(p netip.Prefix) error {
	if !p.IsValid() || p.Bits() < 8 || p.Addr().Is4In6() || p != p.Masked() {
		return fmt.Errorf("%s: %w", p, errSpecific)
	}
	return nil
}

func (c Config) validatePlain() error {
	if len(c.PlainPeers) == 0 {
		return nil
	}
	if len(c.PlainPeers) > maxPlainPeers {
		return fmt.Errorf("%d prefixes of plain peers: want at most %d", len(c.PlainPeers), maxPlainPeers)
	}
	for _, p := range c.PlainPeers {
		if err := CheckPlainPeer(p); err != nil {
			return fmt.Errorf("plain peers: %w", err)
		}
	}
	if err := validateBlock("plain tunnels", c.PlainBase, c.PlainMask); err != nil {
		return err
	}
	if common := c.PortMask & c.PlainMask; c.PortBase&common == c.PlainBase&common {
		return fmt.Errorf("the blocks of ports of clients (base %#04x, mask %#04x) and of plain tunnels (base %#04x, mask %#04x) overlap",
			c.PortBase, c.PortMask, c.PlainBase, c.PlainMask)
	}
	return nil
}

// Chains of plain peers. They are in the table only if there are such peers.
const (
	chainPlainGate   = "plain_gate"        // L2TP in clear: from whom?
	chainPlain       = "plain"             // ... from a plain peer
	chainPlainShort  = "plain_data"        // ... a data packet without length field for a plain tunnel
	chainPlainLong   = "plain_data_length" // ... anything with length field for a plain tunnel
	chainPlainOutput = "plain_output"      // sent by the socket of a plain tunnel
	chainPlainReply  = "plain_reply"       // ... to a plain peer
)

// plainChains are in front of the base chains, which go to chainPlainGate and chainPlainOutput.
func (c Config) plainChains() []chain {
	if len(c.PlainPeers) == 0 {
		return nil
	}
	gate := chain{name: chainPlainGate}
	output := chain{name: chainPlainOutput}
	for _, p := range c.PlainPeers {
		gate.rules = append(gate.rules, rule{"from " + p.String(), join(source(p), gotoChain(chainPlain))})
		output.rules = append(output.rules, rule{"to " + p.String(), join(destination(p), gotoChain(chainPlainReply))})
	}
	gate.rules = append(gate.rules, reject("L2TP is refused without IPsec", counterPlainL2TP))
	output.rules = append(output.rules, reject("to nobody else", counterClearOutput))
	return []chain{
		{chainPlainShort, c.plainDelivery(offTunnelID)},
		{chainPlainLong, c.plainDelivery(offTunnelIDLong)},
		{chainPlain, []rule{
			reject("source address not routed to this interface", counterSpoofedSource, noReversePath()),
			// 12 octets, the length of a control header.
			{"control message without tunnel", join(
				maskedField(expr.CmpOpEq, offL2TP, header(12, flagL, flagT|flagL|verMask, 0xffff), header(12, flagL, flagT|flagL|ver2, 0)),
				one(&expr.Notrack{}), count(counterPlainSetup), accept())},
			{"for a plain tunnel, with length", join(c.plainHeader(flagL, flagL, 8), gotoChain(chainPlainLong))},
			{"data for a plain tunnel", join(c.plainHeader(flagT|flagL, 0, 6), gotoChain(chainPlainShort))},
			reject("for no plain tunnel, with length", counterPlainForeign, maskedField(expr.CmpOpEq, offL2TP, header(8, flagL, flagL|verMask, 0), header(8, flagL, flagL|ver2, 0))),
			reject("data for no plain tunnel", counterPlainForeign, dataHeader(0, 6)),
			reject("not L2TPv2, or truncated", counterMalformed),
		}},
		gate,
		{chainPlainReply, append(
			eachChecksum("from the port of L2TP", func(update bool) []expr.Any {
				return join(one(immediate(be16(l2tpPort))), one(store(scratch, offSourcePort, update)), one(&expr.Notrack{}), count(counterPlainOut), accept())
			}),
			reject("could not be rewritten", counterMalformed),
		)},
		output,
	}
}

// plainPrerouting are the rules of the base chain. A plain peer's socket gets packets by way of port 1701 only: what is sent to its port
// could name the tunnel of another, which Linux looks up in the whole namespace since 6.10. What comes out of a PPP interface of ours is
// no peer's of a trusted network, whatever its address.
func (c Config) plainPrerouting() []rule {
	if len(c.PlainPeers) == 0 {
		return nil
	}
	return []rule{
		reject("to the port of a plain tunnel", counterPlainForeign, udp(), maskedField(expr.CmpOpEq, offDestPort, be16(c.PlainMask), be16(c.PlainBase)), c.ourSocket()),
		{"L2TP in clear", join(to1701(), secpath(false), interfacePrefix(expr.CmpOpNeq, c.InterfacePrefix), gotoChain(chainPlainGate))},
	}
}

func (c Config) plainOutgoing() []rule {
	if len(c.PlainPeers) == 0 {
		return nil
	}
	return []rule{{"sent by the socket of a plain tunnel", join(c.tagged(), udp(), maskedField(expr.CmpOpEq, offSourcePort, be16(c.PlainMask), be16(c.PlainBase)), gotoChain(chainPlainOutput))}}
}

// plainDelivery makes the tunnel id the destination port, and lets pass what has a socket of ours there that is connected to the sender.
func (c Config) plainDelivery(offset uint32) []rule {
	return append(
		eachChecksum("to the port of the tunnel", func(update bool) []expr.Any {
			return join(one(load(scratch, offset, 2)), one(store(scratch, offDestPort, update)), c.ourSocket(), one(&expr.Notrack{}), count(counterPlainIn), accept())
		}),
		reject("not the sender's tunnel", counterPlainForeign),
	)
}

// plainHeader matches a header of version 2 with certain flags, the tunnel id of a plain tunnel, and at least length octets.
func (c Config) plainHeader(mask, flags uint16, length int) []expr.Any {
	return maskedField(expr.CmpOpEq, offL2TP, header(length, flags, mask|verMask, c.PlainMask), header(length, flags, flags|ver2, c.PlainBase))
}

// header is the beginning of an L2TP header, with the tunnel id where it is if flags are set.
func header(length int, flags, first, tunnel uint16) []byte {
	b := make([]byte, length)
	copy(b, be16(first))
	at := offTunnelID - offL2TP
	if flags&flagL != 0 {
		at = offTunnelIDLong - offL2TP
	}
	copy(b[at:], be16(tunnel))
	return b
}

// ourSocket matches if a socket with a mark of ours will get the packet.
func (c Config) ourSocket() []expr.Any {
	return []expr.Any{
		&expr.Socket{Key: expr.SocketKeyMark, Register: scratch},
		and(native32(0xffff0000)), cmp(expr.CmpOpEq, native32(uint32(c.Tag)<<16)),
	}
}

func source(p netip.Prefix) []expr.Any      { return address(p, 12, 8) }
func destination(p netip.Prefix) []expr.Any { return address(p, 16, 24) }

// address matches an address of the network header, whose offset depends on the family.
func address(p netip.Prefix, offset4, offset6 uint32) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), offset4
	if p.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, offset6
	}
	value := p.Addr().AsSlice()
	mask := make([]byte, len(value))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: scratch}, cmp(expr.CmpOpEq, []byte{family}),
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: scratch, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(value))},
		and(mask), cmp(expr.CmpOpEq, value),
	}
}
