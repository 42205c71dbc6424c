// Package keymat computes the key material of IKEv1: SKEYID and what follows from it, the authenticating hashes of Main Mode, Quick
// Mode and Informational exchanges, the keys of ESP, the NAT discovery hash, and the CBC chaining of ISAKMP messages (RFC 2409 section 5 and
// appendix B, RFC 3947 section 3.2).
//
// Every function is pure. The prf is the HMAC form of the negotiated hash (RFC 2409 section 4). A [Hash] must be [Hash.Supported].
package keymat

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
)

// Hash is a hash algorithm of the IANA registry "Hash Algorithm (Value 2)" of IPsec phase 1.
type Hash uint16

// The hashes that this package computes. MD5 (1) and Tiger (3) are left out on purpose.
const (
	SHA1   Hash = 2 // RFC 2409
	SHA256 Hash = 4 // RFC 4868
	SHA384 Hash = 5 // RFC 4868
	SHA512 Hash = 6 // RFC 4868
)

// Supported reports whether h is a hash of this package.
func (h Hash) Supported() bool { return h.new() != nil }

// New returns a fresh hash state; nil if h is unsupported.
func (h Hash) New() hash.Hash {
	if f := h.new(); f != nil {
		return f()
	}
	return nil
}

func (h Hash) new() func() hash.Hash {
	switch h {
	case SHA1:
		return sha1.New
	case SHA256:
		return sha256.New
	case SHA384:
		return sha512.New384
	case SHA512:
		return sha512.New
	}
	return nil
}

// Size returns the octets of a digest, which are also the octets of the prf; 0 if h is unsupported.
func (h Hash) Size() int {
	switch h {
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return 0
}

// String returns the name that proposals are written with, such as "sha256"; "hash1" for an unsupported number.
func (h Hash) String() string {
	switch h {
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	case SHA384:
		return "sha384"
	case SHA512:
		return "sha512"
	}
	return fmt.Sprintf("hash%d", uint16(h))
}

// prf is prf(key, msg) of RFC 2409 section 3.2 over the concatenated parts.
func prf(h Hash, key []byte, parts ...[]byte) []byte { return mac(h.new(), key, parts...) }

func mac(newHash func() hash.Hash, key []byte, parts ...[]byte) []byte {
	m := hmac.New(newHash, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func digest(h Hash, parts ...[]byte) []byte {
	d := h.New()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(nil)
}

// Zero overwrites secrets that are no longer needed.
func Zero(b ...[]byte) {
	for _, s := range b {
		clear(s)
	}
}
