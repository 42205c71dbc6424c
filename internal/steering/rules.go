package steering

import (
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Names of the chains. The first two are base chains, the others are reached by goto and each ends with a drop, so that a rule which a strange
// packet breaks (a field that lies behind its end, a fragment without a UDP header) leads to the drop and never to an accept.
const (
	chainPrerouting = "prerouting"
	chainOutput     = "output"
	chainClient     = "client"      // decrypted by a client's SA
	chainL2TP       = "l2tp"        // ... and UDP to port 1701
	chainData       = "data"        // ... and a data packet without length field
	chainDataLong   = "data_length" // ... and a data packet with length field
	chainDeliver    = "deliver"     // good: to the client's port
	chainReply      = "reply"       // sent by a client's socket
)

// probeChecksum is the constant with which the tunnel id is compared; any but 0 and 0xffff would do.
const probeChecksum = 0x1701

// Bits of the first two octets of an L2TP header (RFC 2661 section 3.1).
const (
	flagT   = 0x8000
	flagL   = 0x4000
	verMask = 0x000f
	ver2    = 0x0002
)

type rule struct {
	comment string
	exprs   []expr.Any
}

type chain struct {
	name  string
	rules []rule
}

// chains returns the whole table. Chains that others refer to come first.
func (c Config) chains() []chain {
	return append(c.plainChains(), []chain{
		{chainDeliver, append(
			eachChecksum("to the port of the client", func(update bool) []expr.Any {
				return join(portOfMark(), one(store(scratch, offDestPort, update)), clearMark(), one(&expr.Notrack{}), count(counterSteeredIn), accept())
			}),
			reject("could not be rewritten", counterMalformed),
		)},
		{chainData, c.compareTunnelID(offTunnelID)},
		{chainDataLong, c.compareTunnelID(offTunnelIDLong)},
		{chainL2TP, []rule{
			reject("mark outside of the block of ports", counterMalformed, mark(expr.CmpOpNeq, uint32(c.PortMask), uint32(c.PortBase))),
			{"L2TPv2 control", join(maskedField(expr.CmpOpEq, offL2TP, be16(flagT|verMask), be16(flagT|ver2)), gotoChain(chainDeliver))},
			// The loads are as long as the shortest header (6 and 8 octets): a shorter packet does not match.
			{"L2TPv2 data", join(dataHeader(0, 6), gotoChain(chainData))},
			{"L2TPv2 data with length", join(dataHeader(flagL, 8), gotoChain(chainDataLong))},
			reject("not L2TPv2, or truncated", counterMalformed),
		}},
		{chainClient, []rule{
			{"L2TP", join(to1701(), gotoChain(chainL2TP))},
			reject("a client's SA carries L2TP only", counterOutsideL2TP),
		}},
		{chainReply, append(append(
			[]rule{reject("never in clear", counterClearOutput, []expr.Any{&expr.Rt{Register: scratch, Key: rtXfrm}, cmp(expr.CmpOpEq, []byte{0})})},
			eachChecksum("from the port of L2TP", func(update bool) []expr.Any {
				return join(one(immediate(be16(l2tpPort))), one(store(scratch, offSourcePort, update)), one(&expr.Notrack{}), count(counterSteeredOut), accept())
			})...),
			reject("could not be rewritten", counterMalformed),
		)},
		{chainPrerouting, slices.Concat(
			[]rule{{"decrypted by a client's SA", join(secpath(true), c.tagged(), gotoChain(chainClient))}},
			c.plainPrerouting(),
			[]rule{
				reject("L2TP is refused without IPsec", counterPlainL2TP, to1701(), secpath(false)),
				reject("L2TP from an SA that is not ours", counterForeignSA, to1701(), secpath(true)),
				reject("source address not routed to this PPP interface", counterSpoofedSource, interfacePrefix(expr.CmpOpEq, c.InterfacePrefix), noReversePath()),
			})},
		// The encrypted packet passes here again and still has the mark; its port 4500 is outside of the block.
		{chainOutput, slices.Concat(
			[]rule{{"sent by a client's socket", join(c.tagged(), udp(), maskedField(expr.CmpOpEq, offSourcePort, be16(c.PortMask), be16(c.PortBase)), gotoChain(chainReply))}},
			c.plainOutgoing(),
			c.quotations(),
		)},
	}...)
}

// quotations drops errors of ICMP about packets to the port of a client that has no socket: as long as its SAs are there, what such an error
// quotes has come out of ESP, and would go back in the clear.
func (c Config) quotations() []rule {
	about := func(protocol, unreachable byte, offProtocol, offPort uint32) []expr.Any {
		return join(l4proto(protocol), field(expr.CmpOpEq, 0, []byte{unreachable}), field(expr.CmpOpEq, offProtocol, []byte{unix.IPPROTO_UDP}),
			maskedField(expr.CmpOpEq, offPort, be16(c.PortMask), be16(c.PortBase)))
	}
	return []rule{
		reject("not in quotations either", counterClearOutput, about(unix.IPPROTO_ICMP, icmpUnreachable, offQuotedProtocol, offQuotedPort)),
		reject("not in quotations either, IPv6", counterClearOutput, about(unix.IPPROTO_ICMPV6, icmp6Unreachable, offQuotedProtocol6, offQuotedPort6)),
	}
}

// tagged matches our marks.
func (c Config) tagged() []expr.Any { return mark(expr.CmpOpEq, 0xffff0000, uint32(c.Tag)<<16) }

func to1701() []expr.Any { return join(udp(), field(expr.CmpOpEq, offDestPort, be16(l2tpPort))) }

// reject is a rule that counts and drops.
func reject(comment, counter string, match ...[]expr.Any) rule {
	return rule{comment, join(join(match...), count(counter), drop())}
}

// eachChecksum returns a rule for packets without UDP checksum, and one for packets with.
func eachChecksum(comment string, rewrite func(update bool) []expr.Any) []rule {
	return []rule{
		{comment + ", no checksum", join(field(expr.CmpOpEq, offChecksum, be16(0)), rewrite(false))},
		{comment, join(field(expr.CmpOpNeq, offChecksum, be16(0)), rewrite(true))},
	}
}

// dataHeader matches a data packet of version 2 whose L bit is as in flags, and which has at least length octets behind its UDP header.
func dataHeader(flags uint16, length int) []expr.Any {
	mask, value := make([]byte, length), make([]byte, length)
	copy(mask, be16(flagT|flagL|verMask))
	copy(value, be16(flags|ver2))
	return maskedField(expr.CmpOpEq, offL2TP, mask, value)
}

// compareTunnelID overwrites the tunnel id with the client's and lets the packet pass if that changed nothing; see the package comment.
func (c Config) compareTunnelID(offset uint32) []rule {
	return []rule{
		{"tunnel id of this client", join(
			one(load(saved, offChecksum, 2)),
			[]expr.Any{immediate(be16(probeChecksum)), store(scratch, offChecksum, false)},
			portOfMark(), one(store(scratch, offset, true)),
			field(expr.CmpOpEq, offChecksum, be16(probeChecksum)),
			one(store(saved, offChecksum, false)),
			gotoChain(chainDeliver),
		)},
		{"tunnel id of another client", join(count(counterForeignTunnelID), drop())},
	}
}

func interfacePrefix(op expr.CmpOp, prefix string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: scratch}, cmp(op, []byte(prefix))}
}

// noReversePath is strict reverse path filtering: no route to the source address over the interface that the packet came in by.
func noReversePath() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: scratch, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true},
		cmp(expr.CmpOpEq, native32(0)),
	}
}
