package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"filippo.io/bigmod"
)

// The RSA keys that may sign, ours and the peers'.
const (
	minRSABits     = 2048
	maxRSABits     = 4096
	minRSAExponent = 65537
	maxRSAExponent = 1<<31 - 1
)

// hashSizes are the octets of the hashes that IKEv1 may negotiate here: SHA-1, SHA-256, SHA-384, SHA-512.
var hashSizes = []int{20, 32, 48, 64}

// curve is what an ECDSA method is made of.
type curve struct {
	elliptic.Curve
	hash crypto.Hash
}

// size returns the octets of r and of s.
func (c *curve) size() int { return (c.Params().BitSize + 7) / 8 }

var (
	p256 = &curve{elliptic.P256(), crypto.SHA256}
	p384 = &curve{elliptic.P384(), crypto.SHA384}
	p521 = &curve{elliptic.P521(), crypto.SHA512}
)

// ecdsa returns the curve of the method; nil if it is not an ECDSA method.
func (m Method) ecdsa() *curve {
	switch m {
	case ECDSA256:
		return p256
	case ECDSA384:
		return p384
	case ECDSA521:
		return p521
	}
	return nil
}

// Verify checks the content of a SIG payload: that the owner of pub signed hash, which is HASH_I or HASH_R computed with the hash of
// [Method.Hash], of exactly that length.
//
//   - rsa: signature is as long as the modulus, and stands for 00 01 FF ... FF 00 hash, with no DigestInfo (RFC 2409 section 5.1). The
//     key has 2048 to 4096 bits, and an odd exponent of at least 65537.
//   - ecdsa: signature is r | s, each as long as the order of the curve (RFC 4754 section 7).
//
// The error is an [*Error] with [Untrusted] if the key is not fit for the method, and with [BadSignature] otherwise.
func Verify(m Method, pub crypto.PublicKey, hash, signature []byte) error {
	if err := checkKey(m, pub); err != nil {
		return err
	}
	if m == RSASignature {
		return verifyRSA(pub.(*rsa.PublicKey), hash, signature)
	}
	return verifyECDSA(m, pub.(*ecdsa.PublicKey), hash, signature)
}

// checkKey tells whether a key may sign with a method.
func checkKey(m Method, pub crypto.PublicKey) error {
	switch key := pub.(type) {
	case *rsa.PublicKey:
		if m != RSASignature {
			break
		}
		return checkRSA(key)
	case *ecdsa.PublicKey:
		if c := m.ecdsa(); c != nil && key.Curve == c.Curve {
			return nil
		}
	}
	return fail(Untrusted, "a key of kind %s cannot authenticate with method %s", keyKind(pub), m)
}

func checkRSA(key *rsa.PublicKey) error {
	bits := 0
	if key.N != nil {
		bits = key.N.BitLen()
	}
	if bits < minRSABits || bits > maxRSABits || key.N.Bit(0) == 0 {
		return fail(Untrusted, "RSA key of %d bits: %d to %d are wanted", bits, minRSABits, maxRSABits)
	}
	if key.E < minRSAExponent || key.E > maxRSAExponent || key.E&1 == 0 {
		return fail(Untrusted, "RSA key with exponent %d: an odd one of at least %d is wanted", key.E, minRSAExponent)
	}
	return nil
}

// keyKind names the kind of a public key for messages.
func keyKind(pub crypto.PublicKey) string {
	switch key := pub.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		if key.Curve != nil {
			return "ECDSA " + key.Curve.Params().Name
		}
	case nil:
		return "unknown"
	}
	return fmt.Sprintf("%T", pub)
}

func verifyRSA(key *rsa.PublicKey, hash, signature []byte) error {
	if !slices.Contains(hashSizes, len(hash)) {
		return fail(BadSignature, "hash of %d octets", len(hash))
	}
	if len(signature) != key.Size() {
		return fail(BadSignature, "RSA signature of %d octets, the modulus has %d", len(signature), key.Size())
	}
	n, err := bigmod.NewModulus(key.N.Bytes())
	if err != nil {
		return fail(Untrusted, "RSA modulus: %w", err)
	}
	s, err := bigmod.NewNat().SetBytes(signature, n)
	if err != nil {
		return fail(BadSignature, "RSA signature is not less than the modulus")
	}
	block := bigmod.NewNat().ExpShortVarTime(s, uint(key.E), n).Bytes(n)
	if subtle.ConstantTimeCompare(block, paddedBlock(key.Size(), hash)) != 1 {
		return fail(BadSignature, "RSA signature is not of this hash")
	}
	return nil
}

// paddedBlock returns the block that an RSA signature of a hash stands for: 00 01 FF ... FF 00 hash (RFC 8017 section 9.2 without
// DigestInfo).
func paddedBlock(size int, hash []byte) []byte {
	block := make([]byte, size)
	block[1] = 1
	separator := size - len(hash) - 1
	for i := 2; i < separator; i++ {
		block[i] = 0xff
	}
	copy(block[separator+1:], hash)
	return block
}

func verifyECDSA(m Method, key *ecdsa.PublicKey, hash, signature []byte) error {
	c := m.ecdsa()
	if len(hash) != c.hash.Size() {
		return fail(BadSignature, "hash of %d octets, %s signs %d", len(hash), m, c.hash.Size())
	}
	size := c.size()
	if len(signature) != 2*size {
		return fail(BadSignature, "ECDSA signature of %d octets, %s has %d", len(signature), m, 2*size)
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	for _, v := range []*big.Int{r, s} {
		if v.Sign() == 0 || v.Cmp(c.Params().N) >= 0 {
			return fail(BadSignature, "ECDSA signature with a number out of range")
		}
	}
	if !ecdsa.Verify(key, hash, r, s) {
		return fail(BadSignature, "ECDSA signature is not of this hash")
	}
	return nil
}

// fixedECDSA turns the DER form of an ECDSA signature into r | s.
func fixedECDSA(c *curve, der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, fmt.Errorf("the key gave no DER signature: %w", err)
	} else if len(rest) != 0 {
		return nil, fmt.Errorf("the key gave %d octets after the signature", len(rest))
	}
	size := c.size()
	if sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.BitLen() > 8*size || sig.S.BitLen() > 8*size {
		return nil, errors.New("the key gave a signature out of range")
	}
	out := make([]byte, 2*size)
	sig.R.FillBytes(out[:size])
	sig.S.FillBytes(out[size:])
	return out, nil
}
