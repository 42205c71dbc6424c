package ikev1

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Encapsulation modes (RFC 2407 section 4.5, RFC 3947 section 5.1, draft-ietf-ipsec-nat-t-ike-03).
const (
	modeTransport         = 2
	modeUDPTransport      = 4
	modeUDPTransportDraft = 61444
)

// extendedSequence asks for sequence numbers of 64 bits (RFC 4304).
const extendedSequence = 1

// minSPI is the smallest SPI that is not reserved (RFC 4303 section 2.1).
const minSPI = 256

// phase2Offer is one transform of an offer, read.
type phase2Offer struct {
	proposal Phase2Proposal
	life     life
	esn      bool
	spi      uint32

	protocol                             wire.Protocol
	cipher                               uint8
	keyBits, integrity, mode, group, seq uint64

	// acceptable says that it is ESP and that we know each attribute; whether it is allowed is another question.
	acceptable bool
}

// readPhase2 reads a transform by the same rules as readPhase1.
func readPhase2(p wire.Proposal, t wire.Transform) phase2Offer {
	o := phase2Offer{protocol: p.Protocol, cipher: t.ID}
	var life lifeReader
	ok := p.Protocol == wire.ProtocolESP && len(p.SPI) == 4
	if ok {
		o.spi = binary.BigEndian.Uint32(p.SPI)
		ok = o.spi >= minSPI
	}
	for _, a := range t.Attributes {
		var field *uint64
		switch a.Type {
		case wire.AttrSAKeyLength:
			field = &o.keyBits
		case wire.AttrAuthAlgorithm:
			field = &o.integrity
		case wire.AttrEncapsulation:
			field = &o.mode
		case wire.AttrSAGroup:
			field = &o.group
		case wire.AttrSAExtendedSequence:
			field = &o.seq
		case wire.AttrSALifeType:
			ok = life.lifeType(a) && ok
			continue
		case wire.AttrSALifeDuration:
			ok = life.duration(a) && ok
			continue
		default:
			ok = false
			continue
		}
		n, valid := a.Uint()
		ok = ok && valid && n != 0 && n <= 0xffff && *field == 0
		*field = n
	}
	o.esn = o.seq == extendedSequence
	o.proposal = Phase2Proposal{Encryption: Encryption(o.cipher), KeyBits: int(o.keyBits & 0xffff), Integrity: Integrity(o.integrity)}
	if o.proposal.Encryption == AESCBC && o.keyBits == 0 {
		o.proposal.KeyBits = 128 // RFC 3602 section 5.3: the default
	}
	lifetime, complete := life.result()
	o.life, o.acceptable = lifetime, ok && complete && (o.seq == 0 || o.esn)
	return o
}

// String names the offer in the words of our configuration, as far as they go.
func (o phase2Offer) String() string {
	if o.protocol != wire.ProtocolESP {
		return fmt.Sprintf("protocol%d", o.protocol)
	}
	var s string
	switch o.cipher {
	case uint8(TripleDES), uint8(AESCBC), uint8(AESGCM8), uint8(AESGCM12), uint8(AESGCM16):
		s = Phase2Proposal{Encryption(o.cipher), o.proposal.KeyBits, Integrity(o.integrity & 0xffff)}.String()
	default:
		s = fmt.Sprintf("%s-%s", espName(o.cipher), integrityName(o.integrity))
	}
	if o.group != 0 {
		s += "-" + dh.Group(o.group&0xffff).String()
	}
	if o.esn {
		s += "-esn"
	}
	return s
}

// fits says whether the encapsulation mode is right for the path. On port 4500 ESP is in UDP, and some clients that have floated still
// call that transport mode; elsewhere it is plain.
func (o phase2Offer) fits(encapsulated bool) bool {
	return o.mode == modeTransport || encapsulated && (o.mode == modeUDPTransport || o.mode == modeUDPTransportDraft)
}

// phase2Terms are what an offer has to agree with besides the allowed list.
type phase2Terms struct {
	encapsulated bool
	groups       []dh.Group // allowed for PFS
	keLen        int        // octets of the client's public value, 0 if it sent none
	sha256       sha256Use
}

// pfs says whether group and public value go together and are allowed.
func (terms phase2Terms) pfs(o phase2Offer) bool {
	if o.group == 0 {
		return terms.keLen == 0
	}
	g := dh.Group(o.group)
	return slices.Contains(terms.groups, g) && terms.keLen == g.PublicLen()
}

// phase2Choice is what was chosen of an offer.
type phase2Choice struct {
	phase2Offer
	from      wire.Proposal
	transform wire.Transform
}

// choosePhase2 finds the first allowed proposal that is anywhere in the offer.
func choosePhase2(allowed ranking[Phase2Proposal], offer *wire.SA, terms phase2Terms) (phase2Choice, bool) {
	var choice phase2Choice
	best := math.MaxInt
	truncated := terms.sha256.truncated(offer)
	for _, p := range offer.Proposals {
		if bundled(offer, p.Number) {
			continue
		}
		for _, t := range p.Transforms {
			o := readPhase2(p, t)
			n, ok := allowed[o.proposal]
			if o.proposal.Integrity == HMACSHA256_128 && truncated {
				ok = ok && terms.sha256.allowed
				o.proposal.Integrity = HMACSHA256_96
			}
			if ok && n < best && o.acceptable && o.fits(terms.encapsulated) && terms.pfs(o) {
				best, choice = n, phase2Choice{o, p, t}
			}
		}
	}
	return choice, best != math.MaxInt
}

// bundled says whether several proposals have this number: they would have to be accepted all together (RFC 2408 section 4.2).
func bundled(offer *wire.SA, number uint8) bool {
	n := 0
	for _, p := range offer.Proposals {
		if p.Number == number {
			n++
		}
	}
	return n > 1
}

// explainPhase2 says why an offer was refused.
func explainPhase2(offer *wire.SA, allowed []Phase2Proposal, terms phase2Terms) diagnosis {
	x := diagnosis{cause: CauseNoESPProposal, allowed: names(allowed)}
	var wrongMode, usual, other, weak string
	var wrongGroup *phase2Offer
	for _, p := range offer.Proposals {
		for _, t := range p.Transforms {
			o := readPhase2(p, t)
			x.offered = appendName(x.offered, o.String())
			switch permitted := slices.Contains(allowed, o.proposal); {
			case !o.acceptable:
			case permitted && !o.fits(terms.encapsulated):
				wrongMode = modeName(o.mode)
			case permitted && !terms.pfs(o):
				wrongGroup = &o
			case permitted || o.proposal.validate() != nil:
			case slices.Contains(Compatible.Phase2(), o.proposal):
				usual = cmp.Or(usual, o.proposal.String())
			case slices.Contains(Legacy.Phase2(), o.proposal):
				weak = cmp.Or(weak, o.proposal.String())
			default:
				other = cmp.Or(other, o.proposal.String())
			}
		}
	}
	modern, compatible := slices.Equal(allowed, Modern.Phase2()), slices.Equal(allowed, Compatible.Phase2())
	switch {
	case wrongMode != "":
		x.cause, x.facts.Detail = CauseEncapsulationMode, wrongMode
	case wrongGroup != nil:
		x.cause = CausePFSGroup
		x.facts.Proposal, x.facts.Detail = terms.explainPFS(*wrongGroup)
		if g := dh.Group(wrongGroup.group); slices.Equal(terms.groups, Modern.PFSGroups()) && slices.Contains(Compatible.PFSGroups(), g) {
			x.facts.Profile = string(Compatible)
		}
	case usual != "" && modern:
		x.facts.Proposal, x.facts.Profile = usual, string(Compatible)
	case usual+other == "" && weak != "" && (modern || compatible):
		x.facts.Proposal, x.facts.Profile = weak, string(Legacy)
	default:
		x.facts.Proposal = cmp.Or(usual, other, weak)
	}
	return x
}

// explainPFS says what is wrong with the group of an offer, and which group would have to be allowed, if that is it.
func (terms phase2Terms) explainPFS(o phase2Offer) (allow, detail string) {
	g := dh.Group(o.group)
	switch {
	case o.group == 0:
		return "", "there is a public value for PFS, but no group"
	case !dh.Supported(g):
		return "", fmt.Sprintf("PFS with %s is not supported", g)
	case terms.keLen != g.PublicLen():
		return "", fmt.Sprintf("PFS with %s goes with a public value of %d octets, not of %d", g, g.PublicLen(), terms.keLen)
	}
	return g.String(), fmt.Sprintf("PFS with %s is not allowed", g)
}

// modeName names an encapsulation mode.
func modeName(mode uint64) string {
	switch mode {
	case 0:
		return "no encapsulation mode"
	case 1:
		return "tunnel mode"
	case modeTransport:
		return "transport mode"
	case 3, 61443:
		return "tunnel mode in UDP"
	case modeUDPTransport, modeUDPTransportDraft:
		return "transport mode in UDP"
	}
	return fmt.Sprintf("encapsulation mode %d", mode)
}

func espName(id uint8) string {
	switch id {
	case 2:
		return "des"
	case 7:
		return "blowfish"
	case 11:
		return "null"
	case 13:
		return "aesctr"
	}
	return fmt.Sprintf("esp%d", id)
}

func integrityName(n uint64) string {
	if n == 0 {
		return "noauth"
	}
	return Integrity(n & 0xffff).String()
}
