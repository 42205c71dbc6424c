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

// nonce returns the nonce, of which there has to be exactly one.
func (p payloads) nonce() ([]byte, bool) {
	body, ok := p.only(wire.PayloadNonce)
	nonce, err := wire.ParseNonce(body)
	return nonce, ok && err == nil
}

// keyExchange returns the public value and the nonce of a message of phase 1, which has to have one of each.
func (p payloads) keyExchange() (ke, nonce []byte, ok bool) {
	ke, haveKE := p.only(wire.PayloadKE)
	nonce, haveNonce := p.nonce()
	return ke, nonce, haveKE && haveNonce
}

// readClear returns the payloads of a message in the clear; false: they cannot be read.
func readClear(d Datagram, h wire.Header) (payloads, bool) {
	list, _, err := wire.ParseChain(h.NextPayload, d.Payload[wire.HeaderLen:])
	return list, err == nil
}

// opened is a decrypted message.
type opened struct {
	payloads

	// octets are those of all payloads, without the padding.
	octets []byte

	// iv is that of the next message of the exchange.
	iv []byte
}

// decrypt decrypts a message. false: it is not made of payloads.
func (sa *isakmpSA) decrypt(h wire.Header, message, iv []byte) (opened, bool) {
	body := message[wire.HeaderLen:]
	if len(body) == 0 {
		return opened{}, false
	}
	plain, next, err := sa.cbc.Decrypt(iv, body)
	if err != nil {
		return opened{}, false
	}
	list, n, err := wire.ParseChain(h.NextPayload, plain)
	return opened{payloads: list, octets: plain[:n], iv: next}, err == nil
}

// hashed is a decrypted message of an exchange after phase 1.
type hashed struct {
	opened

	// hash is the body of the HASH payload, which is the first; rest are the octets of the payloads after it, which it covers.
	hash, rest []byte
}

// open decrypts a message of an exchange after phase 1. false: it is not made of payloads, the first of them a HASH.
func (sa *isakmpSA) open(h wire.Header, message, iv []byte) (hashed, bool) {
	if h.NextPayload != wire.PayloadHash {
		return hashed{}, false
	}
	m, ok := sa.decrypt(h, message, iv)
	if !ok {
		return hashed{}, false
	}
	hash := m.payloads[0].Body
	// The generic header of a payload has 4 octets.
	return hashed{opened: m, hash: hash, rest: m.octets[4+len(hash):]}, true
}

// openFirst decrypts the first message of an exchange after phase 1, and checks its HASH(1). false: it does not come from the peer.
func (sa *isakmpSA) openFirst(h wire.Header, message []byte) (hashed, bool) {
	m, ok := sa.open(h, message, sa.iv2(h.MessageID))
	return m, ok && equalHash(m.hash, keymat.Hash1(sa.proposal.Hash, sa.keys.SKEYIDa, h.MessageID, m.rest))
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
