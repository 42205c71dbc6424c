package dh

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"sync"

	"filippo.io/bigmod"
)

// ecp is a NIST curve with the encodings of RFC 5903 section 7: a public value is x | y, the shared secret is x.
type ecp struct {
	title string
	curve ecdh.Curve
	// size is the octets of one coordinate, and of the order.
	size int
	// topMask clears the bits of a secret's first octet that the order does not have (P-521 fills one bit of 66 octets).
	topMask byte
	order   func() *bigmod.Modulus
}

func newECP(title string, curve ecdh.Curve, params *elliptic.CurveParams) *ecp {
	size := (params.BitSize + 7) / 8
	return &ecp{
		title: title, curve: curve, size: size, topMask: 0xff >> (size*8 - params.BitSize),
		order: sync.OnceValue(func() *bigmod.Modulus {
			m, _ := bigmod.NewModulus(params.N.Bytes())
			return m
		}),
	}
}

func (g *ecp) name() string   { return g.title }
func (g *ecp) publicLen() int { return 2 * g.size }
func (g *ecp) sharedLen() int { return g.size }

// draw takes candidates until one is in [1, order-1] (FIPS 186-5 appendix A.2.2). crypto/ecdh's own GenerateKey ignores its reader,
// and computes the public key at once.
func (g *ecp) draw(rand io.Reader) ([]byte, error) {
	const tries = 64 // a good reader needs a second one once in 2^32 times
	x := make([]byte, g.size)
	for range tries {
		if _, err := io.ReadFull(rand, x); err != nil {
			return nil, err
		}
		x[0] &= g.topMask
		if n, err := bigmod.NewNat().SetBytes(x, g.order()); err == nil && n.IsZero() == 0 {
			return x, nil
		}
	}
	return nil, errors.New("the source of randomness gives no usable values")
}

func (g *ecp) public(secret []byte) ([]byte, error) {
	k, err := g.curve.NewPrivateKey(secret)
	if err != nil {
		return nil, err
	}
	return k.PublicKey().Bytes()[1:], nil // without the octet 4 that marks the uncompressed form
}

func (g *ecp) shared(secret, peer []byte) ([]byte, error) {
	k, err := g.curve.NewPrivateKey(secret)
	if err != nil {
		return nil, err
	}
	y, err := g.curve.NewPublicKey(append([]byte{4}, peer...))
	if err != nil {
		return nil, fmt.Errorf("%w: not a point of the curve", ErrBadPublicValue)
	}
	return k.ECDH(y)
}
