package steering

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Kernel constants that the libraries do not name (include/uapi/linux/netfilter/nf_tables.h).
const (
	metaSecpath expr.MetaKey = 25 // NFT_META_SECPATH: the packet was decrypted by IPsec
	rtXfrm      expr.RtKey   = 4  // NFT_RT_XFRM: the route encrypts
)

// Registers of 16 octets. scratch is overwritten by every load, saved keeps the UDP checksum while the tunnel id is compared.
const (
	scratch = unix.NFT_REG_1
	saved   = unix.NFT_REG_2
)

// Offsets from the UDP header: RFC 768, and RFC 2661 section 3.1 behind its 8 octets. The tunnel id follows the flags, or the
// length field if the L bit says that there is one.
const (
	offSourcePort   = 0
	offDestPort     = 2
	offChecksum     = 6
	offL2TP         = 8
	offTunnelID     = offL2TP + 2
	offTunnelIDLong = offL2TP + 4
)

// Types of ICMP errors (RFC 792, RFC 4443), and offsets from the ICMP header: it has 8 octets, and then comes what the error is about.
const (
	icmpUnreachable  = 3
	icmp6Unreachable = 1

	offQuotedProtocol  = 8 + 9
	offQuotedPort      = 8 + 20 + offDestPort // without IP options
	offQuotedProtocol6 = 8 + 6
	offQuotedPort6     = 8 + 40 + offDestPort // without extension headers
)

func be16(v uint16) []byte     { return binary.BigEndian.AppendUint16(nil, v) }
func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// join concatenates the parts of a rule.
func join(parts ...[]expr.Any) []expr.Any {
	var out []expr.Any
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func one(e expr.Any) []expr.Any { return []expr.Any{e} }

func cmp(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: scratch, Data: data}
}

func and(mask []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: scratch, DestRegister: scratch, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))}
}

// udp matches UDP over IPv4 and IPv6.
func udp() []expr.Any { return l4proto(unix.IPPROTO_UDP) }

func l4proto(number byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: scratch}, cmp(expr.CmpOpEq, []byte{number})}
}

// secpath matches packets that were decrypted by IPsec, or those that were not.
func secpath(decrypted bool) []expr.Any {
	want := byte(0)
	if decrypted {
		want = 1
	}
	return []expr.Any{&expr.Meta{Key: metaSecpath, Register: scratch}, cmp(expr.CmpOpEq, []byte{want})}
}

// mark compares the masked packet mark.
func mark(op expr.CmpOp, mask, value uint32) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: scratch}, and(native32(mask)), cmp(op, native32(value))}
}

// load reads octets behind the start of the UDP header. The rule ends without a match if the packet has not got them.
func load(register uint32, offset, length uint32) expr.Any {
	return &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

func field(op expr.CmpOp, offset uint32, value []byte) []expr.Any {
	return []expr.Any{load(scratch, offset, uint32(len(value))), cmp(op, value)}
}

func maskedField(op expr.CmpOp, offset uint32, mask, value []byte) []expr.Any {
	return []expr.Any{load(scratch, offset, uint32(len(mask))), and(mask), cmp(op, value)}
}

// store writes a 16-bit field behind the start of the UDP header, and brings the UDP checksum up to date if asked to.
func store(register uint32, offset uint32, updateChecksum bool) expr.Any {
	p := &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}
	if updateChecksum {
		p.CsumType, p.CsumOffset = expr.CsumTypeInet, offChecksum
	}
	return p
}

func immediate(data []byte) expr.Any { return &expr.Immediate{Register: scratch, Data: data} }

// portOfMark loads the lower half of the mark in network order into the first two octets of scratch (little-endian machines only).
func portOfMark() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: scratch},
		and(native32(0xffff)),
		&expr.Byteorder{SourceRegister: scratch, DestRegister: scratch, Op: expr.ByteorderHton, Len: 2, Size: 2},
	}
}

// clearMark sets the mark, all of which is ours, to zero: PPP interfaces would hand it on to what they receive.
func clearMark() []expr.Any {
	return []expr.Any{immediate(native32(0)), &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: scratch}}
}

func count(name string) []expr.Any {
	return one(&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: name})
}

func drop() []expr.Any   { return one(&expr.Verdict{Kind: expr.VerdictDrop}) }
func accept() []expr.Any { return one(&expr.Verdict{Kind: expr.VerdictAccept}) }
func gotoChain(name string) []expr.Any {
	return one(&expr.Verdict{Kind: expr.VerdictGoto, Chain: name})
}
