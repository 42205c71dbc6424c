package dh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
)

// modp is a group of integers modulo a safe prime with generator 2.
type modp struct {
	bits int
	// exponentBits is at least twice the group's strength after NIST SP 800-57 part 1 table 2 (112 bits for MODP-2048, 128 for 3072),
	// and never below 256. A full-length exponent costs six to eight times as much and gains nothing in a safe-prime group.
	exponentBits int
	// field and base are made on first use, and kept.
	field func() *field
	base  func() *comb
}

func newMODP(bits, exponentBits int, prime string) *modp {
	g := &modp{bits: bits, exponentBits: exponentBits}
	g.field = sync.OnceValue(func() *field {
		p, _ := new(big.Int).SetString(prime, 16) // the text is a constant, proved by TestPrimes
		return newField(p)
	})
	g.base = sync.OnceValue(func() *comb { return newComb(g.field(), 2, exponentBits) })
	return g
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
	if len(secret)*8 > g.exponentBits {
		return nil, errors.New("the exponent is too long")
	}
	return g.base().power(secret), nil
}

func (g *modp) exchange(secret, peer []byte) (public, shared []byte, err error) {
	if err := g.check(peer); err != nil {
		return nil, nil, err
	}
	if public, err = g.public(secret); err != nil {
		return nil, nil, err
	}
	return public, g.field().power(peer, secret), nil
}

// check refuses 0, 1 and p-1, which make subgroups of order one and two, and what is not below p. A safe prime has no other small
// subgroups. The value went over the wire: it is no secret.
func (g *modp) check(y []byte) error {
	one := make([]byte, g.publicLen())
	one[len(one)-1] = 1
	minusOne := toBytes(g.field().p)
	minusOne[len(minusOne)-1]-- // p is odd
	if bytes.Compare(y, one) <= 0 || bytes.Compare(y, minusOne) >= 0 {
		return fmt.Errorf("%w: not between 1 and p-1", ErrBadPublicValue)
	}
	return nil
}
