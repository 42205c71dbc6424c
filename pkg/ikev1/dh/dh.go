// Package dh is the Diffie-Hellman key agreement of IKEv1: the MODP groups of RFC 2409 and RFC 3526 with short exponents, and the ECP
// groups of RFC 5903.
//
// The cost is in [PrivateKey.Exchange], which an engine leaves to a worker; [GenerateKey] only draws the secret. The first public value
// in a MODP group makes a table of powers of the generator, for about as long as one exchange takes. The table stays: 16 octets for each
// bit of the prime, which is 32 KiB for MODP2048 and 128 KiB for MODP8192.
//
// Nothing takes longer or touches other memory because of the value of a secret. The exponents' lengths are fixed by the group; every
// window of an exponent costs the same squarings and one multiplication, also when it is zero; its factor is picked by reading all
// that it could be; arithmetic on limbs (math/bits, or ADX on amd64) has neither branches nor table look-ups, and each reduction ends
// with a subtraction, of which a mask keeps or drops the result. Only what goes over the wire is compared with branches. The ECP groups
// have this from crypto/ecdh. Limbs that held secrets are overwritten after use.
package dh

import (
	"errors"
	"fmt"
	"io"
)

// Group is an IKE group description of the IANA registry "Group Description (Value 4)".
type Group uint16

// The groups that this package computes. RFC 5114's groups 22 to 24 are left out on purpose: they are not safe-prime groups, so the
// range check of a public value would not be enough (RFC 8247 section 2.4).
const (
	MODP1024 Group = 2  // RFC 2409 section 6.2; weak, for old Android only
	MODP1536 Group = 5  // RFC 3526 section 2; weak
	MODP2048 Group = 14 // RFC 3526 section 3
	MODP3072 Group = 15 // RFC 3526 section 4
	MODP4096 Group = 16 // RFC 3526 section 5
	MODP6144 Group = 17 // RFC 3526 section 6
	MODP8192 Group = 18 // RFC 3526 section 7
	ECP256   Group = 19 // RFC 5903 section 3.1
	ECP384   Group = 20 // RFC 5903 section 3.2
	ECP521   Group = 21 // RFC 5903 section 3.3
)

var (
	// ErrUnsupportedGroup means that the group number is none of this package's.
	ErrUnsupportedGroup = errors.New("unsupported Diffie-Hellman group")
	// ErrBadPublicValue means that the peer's public value has the wrong length or is no element that a key may be agreed with.
	ErrBadPublicValue = errors.New("bad Diffie-Hellman public value")
	// ErrDestroyed means that a key is used after [PrivateKey.Destroy].
	ErrDestroyed = errors.New("the Diffie-Hellman secret was destroyed")
)

// agreement is one family of groups. Secrets are fixed-length big-endian octet strings.
type agreement interface {
	name() string
	publicLen() int
	sharedLen() int
	draw(rand io.Reader) ([]byte, error)
	public(secret []byte) ([]byte, error)
	// exchange looks at the peer's value, which has the right length, before it computes anything.
	exchange(secret, peer []byte) (public, shared []byte, err error)
}

// Supported reports whether g is a group of this package.
func Supported(g Group) bool { return groups[g] != nil }

// String returns the name that proposals are written with, such as "modp2048" or "ecp256"; "group24" for an unsupported number.
func (g Group) String() string {
	if a := groups[g]; a != nil {
		return a.name()
	}
	return fmt.Sprintf("group%d", uint16(g))
}

// PublicLen returns the octets of a Key Exchange payload's body: the prime's length for MODP, both coordinates for ECP; 0 if g is
// unsupported.
func (g Group) PublicLen() int {
	if a := groups[g]; a != nil {
		return a.publicLen()
	}
	return 0
}

// SharedLen returns the octets of the shared secret g^xy: the prime's length for MODP, one coordinate for ECP; 0 if g is unsupported.
func (g Group) SharedLen() int {
	if a := groups[g]; a != nil {
		return a.sharedLen()
	}
	return 0
}

// PrivateKey is one side's secret of one exchange. Use a fresh one for every exchange.
type PrivateKey struct {
	group  Group
	secret []byte
}

// GenerateKey draws a secret of the group from rand, which must be cryptographically secure. It computes nothing expensive. The
// same octets of rand give the same secret, in every group.
func GenerateKey(g Group, rand io.Reader) (*PrivateKey, error) {
	a := groups[g]
	if a == nil {
		return nil, fmt.Errorf("generating a key: %w %d", ErrUnsupportedGroup, uint16(g))
	}
	secret, err := a.draw(rand)
	if err != nil {
		return nil, fmt.Errorf("drawing a secret for %v: %w", g, err)
	}
	return &PrivateKey{group: g, secret: secret}, nil
}

// Group returns the group that the secret belongs to.
func (k *PrivateKey) Group() Group { return k.group }

// Public returns the public value as it stands in a Key Exchange payload.
func (k *PrivateKey) Public() ([]byte, error) {
	if k.destroyed() {
		return nil, fmt.Errorf("computing the public value of %v: %w", k.group, ErrDestroyed)
	}
	public, err := groups[k.group].public(k.secret)
	if err != nil {
		return nil, fmt.Errorf("computing the public value of %v: %w", k.group, err)
	}
	return public, nil
}

// Exchange returns the own public value and the secret shared with peer, the body of the peer's Key Exchange payload: g^xy padded on
// the left to the prime's length for MODP (RFC 2409 section 5), the x coordinate for ECP (RFC 5903 section 7).
//
// The error wraps [ErrBadPublicValue] if peer is not exactly [Group.PublicLen] octets, is outside 1 < y < p-1 (MODP; enough because
// every prime here is a safe prime), or is not a point of the curve (ECP).
func (k *PrivateKey) Exchange(peer []byte) (public, shared []byte, err error) {
	a := groups[k.group]
	if len(peer) != a.publicLen() {
		return nil, nil, fmt.Errorf("%w: %d octets where %v has %d", ErrBadPublicValue, len(peer), k.group, a.publicLen())
	}
	if k.destroyed() {
		return nil, nil, fmt.Errorf("agreeing on a key in %v: %w", k.group, ErrDestroyed)
	}
	public, shared, err = a.exchange(k.secret, peer)
	if err != nil {
		return nil, nil, fmt.Errorf("agreeing on a key in %v: %w", k.group, err)
	}
	return public, shared, nil
}

// Destroy overwrites the secret. The key must not be in use; afterwards it fails with [ErrDestroyed]. What crypto/ecdh copied of it, in
// the ECP groups, is left to the garbage collector.
func (k *PrivateKey) Destroy() { clear(k.secret) }

// destroyed reports whether nothing is left of the secret, which is never 0 before. As an exponent, 0 would make 1 of every peer's value:
// a shared secret that everybody knows.
func (k *PrivateKey) destroyed() bool {
	var all byte
	for _, b := range k.secret {
		all |= b
	}
	return all == 0
}

// String hides the secret from logs.
func (k *PrivateKey) String() string { return "dh.PrivateKey(" + k.group.String() + ", hidden)" }

// GoString hides the secret from %#v.
func (k *PrivateKey) GoString() string { return k.String() }
