package ikev1

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// phase1Offer is one transform of an offer, read.
type phase1Offer struct {
	proposal Phase1Proposal
	method   pki.Method
	life     life

	cipher, keyBits, hash, auth, group uint64

	// acceptable says that we know each attribute; whether it is allowed is another question.
	acceptable bool
}

// readPhase1 reads a transform. Attributes come in any order and either form; one that we do not know makes this transform
// unacceptable, and no other.
func readPhase1(p wire.Proposal, t wire.Transform) phase1Offer {
	var o phase1Offer
	var life lifeReader
	ok := p.Protocol == wire.ProtocolISAKMP && t.ID == wire.TransformKeyIKE
	for _, a := range t.Attributes {
		var field *uint64
		switch a.Type {
		case wire.AttrEncryption:
			field = &o.cipher
		case wire.AttrKeyLength:
			field = &o.keyBits
		case wire.AttrHash:
			field = &o.hash
		case wire.AttrAuthMethod:
			field = &o.auth
		case wire.AttrGroup:
			field = &o.group
		case wire.AttrLifeType:
			ok = life.lifeType(a) && ok
			continue
		case wire.AttrLifeDuration:
			ok = life.duration(a) && ok
			continue
		default:
			ok = false
			continue
		}
		n, valid := a.Uint()
		ok = ok && valid && n <= 0xffff && *field == 0
		*field = n
	}
	o.proposal = Phase1Proposal{
		Cipher: keymat.Cipher(o.cipher), KeyBits: int(o.keyBits & 0xffff), Hash: keymat.Hash(o.hash), Group: dh.Group(o.group),
	}
	o.method = pki.Method(o.auth)
	lifetime, complete := life.result()
	o.life, o.acceptable = lifetime, ok && complete
	return o
}

// String names the offer in the words of our configuration, as far as they go.
func (o phase1Offer) String() string {
	s := fmt.Sprintf("%s-%s-%s", cipherName(o.cipher, o.keyBits), hashName(o.hash), dh.Group(o.group&0xffff))
	if o.method != pki.PSK {
		s += "-" + authMethodName(o.auth)
	}
	return s
}

// phase1Choice is what was chosen of an offer.
type phase1Choice struct {
	proposal Phase1Proposal
	method   pki.Method
	life     life
	answer   *wire.SA
}

// choosePhase1 finds the first allowed proposal that is anywhere in the offer with one of methods. The answer repeats the client's proposal and transform
// with their numbers and every attribute octet for octet (RFC 2408 section 4.2).
func choosePhase1(allowed ranking[Phase1Proposal], methods []pki.Method, offer *wire.SA) (phase1Choice, bool) {
	var from wire.Proposal
	var transform wire.Transform
	var choice phase1Choice
	best := math.MaxInt
	for _, p := range offer.Proposals {
		for _, t := range p.Transforms {
			o := readPhase1(p, t)
			if n, ok := allowed[o.proposal]; ok && o.acceptable && n < best && slices.Contains(methods, o.method) {
				best, from, transform = n, p, t
				choice.proposal, choice.method, choice.life = o.proposal, o.method, o.life
			}
		}
	}
	if best == math.MaxInt {
		return phase1Choice{}, false
	}
	choice.answer = answerSA(offer, from, nil, transform)
	return choice, true
}

// answerSA returns the SA payload that says which transform was chosen.
func answerSA(offer *wire.SA, p wire.Proposal, spi []byte, t wire.Transform) *wire.SA {
	return &wire.SA{
		DOI: offer.DOI, Situation: offer.Situation,
		Proposals: []wire.Proposal{{Number: p.Number, Protocol: p.Protocol, SPI: spi, Transforms: []wire.Transform{t}}},
	}
}

// explainPhase1 says why an offer was refused. Of what the client offers and could have, the cure names what is best: one more proposal
// of the usual profile, one that is in no profile, or one that only the legacy profile has.
func explainPhase1(offer *wire.SA, allowed []Phase1Proposal, methods []pki.Method, kind string) diagnosis {
	x := diagnosis{cause: CauseNoProposal, facts: Facts{Kind: kind}, allowed: names(allowed)}
	var otherAuth uint64
	var usual, other, weak string
	for _, p := range offer.Proposals {
		for _, t := range p.Transforms {
			o := readPhase1(p, t)
			x.offered = appendName(x.offered, o.String())
			switch {
			case !slices.Contains(methods, o.method):
				otherAuth = cmp.Or(otherAuth, o.auth)
			case !o.acceptable || o.proposal.validate() != nil:
			case slices.Contains(Compatible.Phase1(), o.proposal):
				usual = cmp.Or(usual, o.String())
			case slices.Contains(Legacy.Phase1(), o.proposal):
				weak = cmp.Or(weak, o.String())
			default:
				other = cmp.Or(other, o.String())
			}
		}
	}
	modern, compatible := slices.Equal(allowed, Modern.Phase1()), slices.Equal(allowed, Compatible.Phase1())
	switch {
	case usual != "" && modern:
		x.facts.Proposal, x.facts.Profile = usual, string(Compatible)
	case usual+other != "":
		x.facts.Proposal = cmp.Or(usual, other)
	case weak != "":
		x.cause, x.facts.Proposal = CauseLegacyProposal, weak
		if kind == kindAndroid {
			x.cause = CauseAndroidMODP1024
		}
		if !modern && !compatible {
			x.facts.Setting = "ike.proposals" // where there is a list, a profile would change nothing
		}
	case otherAuth != 0:
		x.cause, x.facts.Detail, x.facts.Setting = CauseAuthMethod, authMethodName(otherAuth), authSetting(pki.Method(otherAuth))
	}
	return x
}

// authSetting is what has to be configured for a way to authenticate, empty if we have no such way.
func authSetting(method pki.Method) string {
	switch method {
	case pki.PSK:
		return "ike.psk or ike.keys"
	case pki.RSASignature:
		return "ike.certificates with an RSA key"
	case pki.ECDSA256:
		return "ike.certificates with an ECDSA key on P-256"
	case pki.ECDSA384:
		return "ike.certificates with an ECDSA key on P-384"
	case pki.ECDSA521:
		return "ike.certificates with an ECDSA key on P-521"
	}
	return ""
}

// names returns the strings of a list of proposals.
func names[T fmt.Stringer](list []T) []string {
	s := make([]string, 0, len(list))
	for _, p := range list {
		s = append(s, p.String())
	}
	return s
}

// maxNames bounds a list that a stranger wrote.
const maxNames = 40

// appendName adds a name that is not in the list yet.
func appendName(list []string, name string) []string {
	if len(list) >= maxNames || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

func cipherName(cipher, keyBits uint64) string {
	switch cipher {
	case 1:
		return "des"
	case 3:
		return "blowfish"
	case 5:
		return "3des"
	case uint64(keymat.AES):
		return fmt.Sprintf("aes%d", keyBits)
	case 8:
		return fmt.Sprintf("camellia%d", keyBits)
	}
	return fmt.Sprintf("cipher%d", cipher)
}

func hashName(hash uint64) string {
	if hash == 1 {
		return "md5"
	}
	return keymat.Hash(hash & 0xffff).String()
}

func authMethodName(method uint64) string {
	switch method {
	case uint64(pki.PSK):
		return "pre-shared key"
	case 2:
		return "dss signature"
	case uint64(pki.RSASignature):
		return "rsa signature"
	case uint64(pki.ECDSA256), uint64(pki.ECDSA384), uint64(pki.ECDSA521):
		return pki.Method(method).String() + " signature"
	case 4, 5:
		return "rsa encryption"
	case 65001:
		return "xauth with a pre-shared key"
	case 65005:
		return "xauth with rsa signature"
	}
	return fmt.Sprintf("method %d", method)
}
