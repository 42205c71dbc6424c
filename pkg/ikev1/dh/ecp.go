package dh

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
)

// ecp is a NIST curve with the encodings of RFC 5903 section 7: a public value is x | y, the shared secret is x.
type ecp struct {
	title string
	curve ecdh.Curve
	// order is of the base point, with as many octets as a coordinate.
	order []byte
	// topMask clears the bits of a secret's first octet that the order does not have (P-521 fills one bit of 66 octets).
	topMask byte
}

func newECP(title string, curve ecdh.Curve, params *elliptic.CurveParams) *ecp {
	size := (params.BitSize + 7) / 8
	return &ecp{
		title: title, curve: curve, order: params.N.FillBytes(make([]byte, size)), topMask: 0xff >> (size*8 - params.BitSize),
	}
}

func (g *ecp) name() string   { return g.title }
func (g *ecp) publicLen() int { return 2 * len(g.order) }
func (g *ecp) sharedLen() int { return len(g.order) }

// draw takes candidates until one is in [1, order-1] (FIPS 186-5 appendix A.2.2). crypto/ecdh's own GenerateKey ignores its reader,
// and computes the public key at once.
func (g *ecp) draw(rand io.Reader) ([]byte, error) {
	const tries = 64 // a good reader needs a second one once in 2^32 times
	x := make([]byte, len(g.order))
	for range tries {
		if _, err := io.ReadFull(rand, x); err != nil {
			return nil, err
		}
		x[0] &= g.topMask
		if positiveBelow(x, g.order) {
			return x, nil
		}
	}
	return nil, errors.New("the source of randomness gives no usable values")
}

// positiveBelow reports whether 0 < x < limit, big-endian numbers of the same length. Its duration depends on the length alone.
func positiveBelow(x, limit []byte) bool {
	var all byte
	var borrow uint
	for i := len(x) - 1; i >= 0; i-- {
		all |= x[i]
		borrow = (uint(x[i]) - uint(limit[i]) - borrow) >> 8 & 1
	}
	return all != 0 && borrow == 1
}

func (g *ecp) public(secret []byte) ([]byte, error) {
	k, err := g.curve.NewPrivateKey(secret)
	if err != nil {
		return nil, err
	}
	return encode(k), nil
}

// encode leaves out the octet 4 that marks the uncompressed form.
func encode(k *ecdh.PrivateKey) []byte { return k.PublicKey().Bytes()[1:] }

func (g *ecp) exchange(secret, peer []byte) (public, shared []byte, err error) {
	y, err := g.curve.NewPublicKey(append([]byte{4}, peer...))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: not a point of the curve", ErrBadPublicValue)
	}
	// Making the key computes the public value, too.
	k, err := g.curve.NewPrivateKey(secret)
	if err != nil {
		return nil, nil, err
	}
	if shared, err = k.ECDH(y); err != nil {
		return nil, nil, err
	}
	return encode(k), shared, nil
}
