package dh

import (
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"filippo.io/bigmod"
)

// modp is a group of integers modulo a safe prime with generator 2, all arithmetic in constant time.
type modp struct {
	bits int
	// exponentBits is at least twice the group's strength after NIST SP 800-57 part 1 table 2 (112 bits for MODP-2048, 128 for 3072),
	// and never below 256. A full-length exponent costs six to eight times as much and gains nothing in a safe-prime group.
	exponentBits int
	modulus      func() *bigmod.Modulus
}

func newMODP(bits, exponentBits int, prime string) *modp {
	return &modp{bits: bits, exponentBits: exponentBits, modulus: sync.OnceValue(func() *bigmod.Modulus {
		// Both results are proved by TestPrimes: the text is a constant.
		b, _ := hex.DecodeString(prime)
		m, _ := bigmod.NewModulus(b)
		return m
	})}
}

func (g *modp) name() string   { return fmt.Sprintf("modp%d", g.bits) }
func (g *modp) publicLen() int { return g.bits / 8 }
func (g *modp) sharedLen() int { return g.bits / 8 }

func (g *modp) draw(rand io.Reader) ([]byte, error) {
	x := make([]byte, g.exponentBits/8)
	if _, err := io.ReadFull(rand, x); err != nil {
		return nil, err
	}
	// Exactly exponentBits long: never 0 or so small that g^x does not wrap around the prime.
	x[0] |= 0x80
	return x, nil
}

func (g *modp) public(secret []byte) ([]byte, error) {
	m := g.modulus()
	base := bigmod.NewNat().SetUint(2).ExpandFor(m)
	return bigmod.NewNat().Exp(base, secret, m).Bytes(m), nil
}

func (g *modp) exchange(secret, peer []byte) (public, shared []byte, err error) {
	m := g.modulus()
	y, err := bigmod.NewNat().SetBytes(peer, m)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: not below the prime", ErrBadPublicValue)
	}
	// 0, 1 and p-1 generate the subgroups of order one and two; a safe prime has no other small ones.
	if y.IsZero()|y.IsOne()|y.IsMinusOne(m) != 0 {
		return nil, nil, fmt.Errorf("%w: 0, 1 or p-1", ErrBadPublicValue)
	}
	if public, err = g.public(secret); err != nil {
		return nil, nil, err
	}
	return public, bigmod.NewNat().Exp(y, secret, m).Bytes(m), nil
}
