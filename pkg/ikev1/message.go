package ikev1

import (
	"crypto/hmac"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// payloads are those of one message.
type payloads []wire.Raw

// only returns the body of the payload of a kind that has to be there exactly once.
func (p payloads) only(kind wire.PayloadType) ([]byte, bool) {
	all := p.all(kind)
	if len(all) != 1 {
		return nil, false
	}
	return all[0], true
}

// all returns the bodies of all payloads of a kind.
func (p payloads) all(kind wire.PayloadType) [][]byte {
	var bodies [][]byte
	for _, raw := range p {
		if raw.Kind == kind {
			bodies = append(bodies, raw.Body)
		}
	}
	return bodies
}

// has says whether there is a payload of a kind.
func (p payloads) has(kind wire.PayloadType) bool { return len(p.all(kind)) > 0 }

// opened is a decrypted message of an exchange after phase 1.
type opened struct {
	payloads

	// hash is the body of the HASH payload, which is the first; rest are the octets of the payloads after it, which it covers.
	hash, rest []byte

	// iv is that of the next message of the exchange.
	iv []byte
}

// open decrypts a message of an exchange after phase 1. false: it is not made of payloads, the first of them a HASH.
func (sa *isakmpSA) open(h wire.Header, message, iv []byte) (opened, bool) {
	body := message[wire.HeaderLen:]
	if len(body) == 0 || h.NextPayload != wire.PayloadHash {
		return opened{}, false
	}
	plain, next, err := sa.cbc.Decrypt(iv, body)
	if err != nil {
		return opened{}, false
	}
	all, n, err := wire.ParseChain(h.NextPayload, plain)
	if err != nil {
		return opened{}, false
	}
	hash := all[0].Body
	// The generic header of a payload has 4 octets.
	return opened{payloads: all, hash: hash, rest: plain[4+len(hash) : n], iv: next}, true
}

// seal returns an encrypted message: a HASH payload computed by hash over the other payloads, which follow it.
func (sa *isakmpSA) seal(exchange wire.ExchangeType, id uint32, iv []byte, hash func(rest []byte) []byte, rest ...wire.Payload) (message, next []byte) {
	sum := hash(wire.AppendChain(nil, rest...))
	plain := wire.AppendChain(nil, append([]wire.Payload{wire.Hash(sum)}, rest...)...)
	return sa.encrypt(wire.Header{Exchange: exchange, MessageID: id}, wire.PayloadHash, iv, plain)
}

// encrypt returns an encrypted message of sa and the IV of the next one.
func (sa *isakmpSA) encrypt(h wire.Header, first wire.PayloadType, iv, plain []byte) (message, next []byte) {
	h.InitiatorCookie, h.ResponderCookie = sa.name.i, sa.name.r
	sealed, next, err := sa.cbc.Encrypt(iv, plain)
	if err != nil {
		// The IV has always one block: it comes from keymat. An empty message is what is left to say.
		return nil, iv
	}
	return wire.Sealed(h, first, sealed), next
}

// iv2 returns the IV of the first message of an exchange after phase 1.
func (sa *isakmpSA) iv2(id uint32) []byte {
	return keymat.Phase2IV(sa.proposal.Hash, sa.cbc.BlockSize(), sa.iv, id)
}

// equalHash compares in constant time.
func equalHash(a, b []byte) bool { return hmac.Equal(a, b) }
