package ikev1test

import (
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// The ciphers of ESP (RFC 2407 section 4.4.4, RFC 4106).
const (
	espDES  uint8 = 2
	esp3DES uint8 = 3
	espNULL uint8 = 11
	espAES  uint8 = 12
	espGCM  uint8 = 20
)

// The integrity algorithms of ESP (RFC 2407 section 4.5, RFC 4868); 0 stands for none.
const (
	espMD5    uint16 = 1
	espSHA1   uint16 = 2
	espSHA256 uint16 = 5
	espSHA384 uint16 = 6
	espSHA512 uint16 = 7
)

// espSuite is one transform of phase 2: cipher, bits of key, integrity.
type espSuite struct {
	cipher    uint8
	bits      uint16
	integrity uint16
}

// each combines every cipher with every integrity algorithm, the cipher of the former and the integrity of the latter.
func each(ciphers []espSuite, integrity ...uint16) []espSuite {
	var list []espSuite
	for _, c := range ciphers {
		for _, i := range integrity {
			list = append(list, espSuite{c.cipher, c.bits, i})
		}
	}
	return list
}

func keyLength(s espSuite) []wire.Attribute {
	if s.bits == 0 {
		return nil
	}
	return short(wire.AttrSAKeyLength, s.bits)
}

func integrity(s espSuite) []wire.Attribute {
	if s.integrity == 0 {
		return nil
	}
	return short(wire.AttrAuthAlgorithm, s.integrity)
}

func join(lists ...[]wire.Attribute) []wire.Attribute {
	var all []wire.Attribute
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// windowsESP is one proposal for each transform, with both lifetimes in the long form. That makes the octets of Quick Mode message 1
// that are known: 444 of five proposals behind a NAT, 316 of three without.
func windowsESP(suites ...espSuite) func(uint16) []wire.Proposal {
	return separate(1, suites, func(s espSuite, mode uint16) []wire.Attribute {
		return join(short(wire.AttrEncapsulation, mode), keyLength(s), integrity(s),
			short(wire.AttrSALifeType, 1), []wire.Attribute{wire.LongAttribute(wire.AttrSALifeDuration, 3600)},
			short(wire.AttrSALifeType, 2), []wire.Attribute{wire.LongAttribute(wire.AttrSALifeDuration, 250000)})
	})
}

// plutoESP is one proposal for each transform, all counted from 0.
func plutoESP(life uint32, suites ...espSuite) func(uint16) []wire.Proposal {
	return separate(0, suites, func(s espSuite, mode uint16) []wire.Attribute {
		return join(short(wire.AttrEncapsulation, mode), seconds(wire.AttrSALifeType, wire.AttrSALifeDuration, life), integrity(s), keyLength(s))
	})
}

// racoonESP is one proposal.
func racoonESP(life uint32, pfs dh.Group, suites ...espSuite) func(uint16) []wire.Proposal {
	return together(1, suites, func(s espSuite, mode uint16) []wire.Attribute {
		list := join(seconds(wire.AttrSALifeType, wire.AttrSALifeDuration, life), short(wire.AttrEncapsulation, mode), keyLength(s), integrity(s))
		if pfs != 0 {
			list = append(list, wire.ShortAttribute(wire.AttrSAGroup, uint16(pfs)))
		}
		return list
	})
}

// charonESP is one proposal, number 0, with transforms from 1.
func charonESP(life uint32, suites ...espSuite) func(uint16) []wire.Proposal {
	return together(0, suites, func(s espSuite, mode uint16) []wire.Attribute {
		return join(keyLength(s), integrity(s), short(wire.AttrEncapsulation, mode), seconds(wire.AttrSALifeType, wire.AttrSALifeDuration, life))
	})
}

// separate makes a proposal of each transform; proposals and transforms are counted from first.
func separate(first uint8, suites []espSuite, attributes func(espSuite, uint16) []wire.Attribute) func(uint16) []wire.Proposal {
	return func(mode uint16) []wire.Proposal {
		var list []wire.Proposal
		for i, s := range suites {
			list = append(list, wire.Proposal{Number: first + uint8(i), Protocol: wire.ProtocolESP,
				Transforms: []wire.Transform{{Number: first, ID: s.cipher, Attributes: attributes(s, mode)}}})
		}
		return list
	}
}

// together makes one proposal of all transforms, which are counted from 1.
func together(number uint8, suites []espSuite, attributes func(espSuite, uint16) []wire.Attribute) func(uint16) []wire.Proposal {
	return func(mode uint16) []wire.Proposal {
		p := wire.Proposal{Number: number, Protocol: wire.ProtocolESP}
		for i, s := range suites {
			p.Transforms = append(p.Transforms, wire.Transform{Number: 1 + uint8(i), ID: s.cipher, Attributes: attributes(s, mode)})
		}
		return []wire.Proposal{p}
	}
}
