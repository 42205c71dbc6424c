package keymat

import (
	"hash"
	"slices"
)

// SKEYIDFromPSK returns SKEYID = prf(pre-shared-key, Ni_b | Nr_b) (RFC 2409 section 5). ni and nr are nonce bodies, without the
// generic payload header.
func SKEYIDFromPSK(h Hash, psk, ni, nr []byte) []byte { return prf(h, psk, ni, nr) }

// SKEYIDFromSignature returns SKEYID = prf(Ni_b | Nr_b, g^xy) (RFC 2409 section 5), for authentication with signatures.
func SKEYIDFromSignature(h Hash, ni, nr, gxy []byte) []byte {
	return prf(h, slices.Concat(ni, nr), gxy)
}

// Keys is the key material of one ISAKMP SA, each as long as the prf.
type Keys struct {
	SKEYID  []byte // authenticates Main Mode
	SKEYIDd []byte // derives the keys of other SAs
	SKEYIDa []byte // authenticates messages
	SKEYIDe []byte // encrypts messages, through CipherKey
}

// Derive returns the key material that follows from SKEYID and g^xy (RFC 2409 section 5). SKEYID is copied, so that
// [Keys.Zero] leaves the caller's alone.
func Derive(h Hash, skeyid, gxy []byte, ckyI, ckyR [8]byte) Keys {
	return derive(h.new(), skeyid, gxy, ckyI, ckyR)
}

func derive(newHash func() hash.Hash, skeyid, gxy []byte, ckyI, ckyR [8]byte) Keys {
	d := mac(newHash, skeyid, gxy, ckyI[:], ckyR[:], []byte{0})
	a := mac(newHash, skeyid, d, gxy, ckyI[:], ckyR[:], []byte{1})
	e := mac(newHash, skeyid, a, gxy, ckyI[:], ckyR[:], []byte{2})
	return Keys{SKEYID: slices.Clone(skeyid), SKEYIDd: d, SKEYIDa: a, SKEYIDe: e}
}

// Zero overwrites all keys.
func (k Keys) Zero() { Zero(k.SKEYID, k.SKEYIDd, k.SKEYIDa, k.SKEYIDe) }

// String hides the keys from logs.
func (Keys) String() string { return "keymat.Keys(hidden)" }

// GoString hides the keys from %#v.
func (k Keys) GoString() string { return k.String() }

// CipherKey returns the first keyLen octets of the key that encrypts ISAKMP messages: SKEYID_e itself, or if that is too short, as the
// 20 octets of SHA-1 are for 3DES and for AES beyond 128 bits, Ka = K1 | K2 | ... with K1 = prf(SKEYID_e, 0) and
// Kn = prf(SKEYID_e, Kn-1) (RFC 2409 appendix B). keyLen is [Cipher.KeyLen].
func CipherKey(h Hash, skeyidE []byte, keyLen int) []byte {
	if keyLen <= len(skeyidE) {
		return slices.Clone(skeyidE[:keyLen])
	}
	return expand(keyLen, func(previous []byte) []byte {
		if previous == nil {
			previous = []byte{0}
		}
		return prf(h, skeyidE, previous)
	})
}

// ESPKeymat returns the first length octets of the key material of one direction's SA (RFC 2409 section 5.5):
// K1 = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b), Kn = prf(SKEYID_d, Kn-1 | ...).
// gxyPFS is nil without perfect forward secrecy. spi is the one chosen by the receiver of that direction.
func ESPKeymat(h Hash, skeyidD, gxyPFS []byte, proto byte, spi uint32, ni, nr []byte, length int) []byte {
	spiOctets := [4]byte{byte(spi >> 24), byte(spi >> 16), byte(spi >> 8), byte(spi)}
	return expand(length, func(previous []byte) []byte {
		return prf(h, skeyidD, previous, gxyPFS, []byte{proto}, spiOctets[:], ni, nr)
	})
}

// expand concatenates what next makes, each time of the block before, nil at first, and leaves no other copy of it.
func expand(length int, next func(previous []byte) []byte) []byte {
	key := make([]byte, length)
	var block []byte
	for n := 0; n < length; {
		previous := block
		block = next(previous)
		Zero(previous)
		n += copy(key[n:], block)
	}
	Zero(block)
	return key
}
