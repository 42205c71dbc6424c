package xfrm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Key is secret key material. Whatever formats it prints "(hidden)".
type Key []byte

const hidden = "(hidden)"

// Format implements fmt.Formatter for every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// String returns "(hidden)".
func (Key) String() string { return hidden }

// MarshalText returns "(hidden)", which covers JSON and structured logs.
func (Key) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Crypt is a cipher without integrity (XFRMA_ALG_CRYPT).
type Crypt struct {
	Name string // the kernel's name
	Key  Key
}

// Auth is a truncated MAC (XFRMA_ALG_AUTH_TRUNC).
type Auth struct {
	Name      string
	Key       Key
	TruncBits uint32 // length of the ICV in bits
}

// AEAD is a combined cipher (XFRMA_ALG_AEAD).
type AEAD struct {
	Name    string
	Key     Key    // for AES-GCM with the four salt octets at the end, RFC 4106 section 8.1
	ICVBits uint32 // length of the ICV in bits
}

// AESCBC is AES-CBC, RFC 3602; key of 16, 24 or 32 octets.
func AESCBC(key []byte) *Crypt { return &Crypt{Name: "cbc(aes)", Key: key} }

// TripleDESCBC is 3DES-CBC, RFC 2451; key of 24 octets.
func TripleDESCBC(key []byte) *Crypt { return &Crypt{Name: "cbc(des3_ede)", Key: key} }

// HMACSHA1 is HMAC-SHA1-96, RFC 2404; key of 20 octets.
func HMACSHA1(key []byte) *Auth { return &Auth{Name: "hmac(sha1)", Key: key, TruncBits: 96} }

// HMACSHA256 is HMAC-SHA256-128, RFC 4868; key of 32 octets. The length is explicit because the kernel's default is
// the 96 bits of an old draft.
func HMACSHA256(key []byte) *Auth { return &Auth{Name: "hmac(sha256)", Key: key, TruncBits: 128} }

// HMACSHA256Trunc96 is HMAC-SHA256 truncated to 96 bits, as an old draft had it and old Android has it still; key of 32 octets.
func HMACSHA256Trunc96(key []byte) *Auth { return &Auth{Name: "hmac(sha256)", Key: key, TruncBits: 96} }

// HMACSHA384 is HMAC-SHA384-192, RFC 4868; key of 48 octets.
func HMACSHA384(key []byte) *Auth { return &Auth{Name: "hmac(sha384)", Key: key, TruncBits: 192} }

// HMACSHA512 is HMAC-SHA512-256, RFC 4868; key of 64 octets.
func HMACSHA512(key []byte) *Auth { return &Auth{Name: "hmac(sha512)", Key: key, TruncBits: 256} }

// AESGCM8 is AES-GCM with an 8-octet ICV, RFC 4106; key of 16, 24 or 32 octets followed by four salt octets.
func AESGCM8(keyAndSalt []byte) *AEAD { return aesGCM(keyAndSalt, 64) }

// AESGCM12 is AES-GCM with a 12-octet ICV; the key is like that of AESGCM8.
func AESGCM12(keyAndSalt []byte) *AEAD { return aesGCM(keyAndSalt, 96) }

// AESGCM16 is AES-GCM with a 16-octet ICV; the key is like that of AESGCM8.
func AESGCM16(keyAndSalt []byte) *AEAD { return aesGCM(keyAndSalt, 128) }

func aesGCM(keyAndSalt []byte, icvBits uint32) *AEAD {
	return &AEAD{Name: "rfc4106(gcm(aes))", Key: keyAndSalt, ICVBits: icvBits}
}

// maxKey is more octets than any key has, and few enough for an attribute, whose length has 16 bits: what is beyond would be read as attributes.
const maxKey = 256

// validateAlgorithms finds names and keys that would not arrive as they are.
func (s *State) validateAlgorithms() error {
	check := func(name string, key Key) error {
		switch {
		case name == "" || len(name) >= sizeAlgName || strings.Contains(name, "\x00"):
			return fmt.Errorf("algorithm %.80q: want a name of 1 to %d octets", name, sizeAlgName-1)
		case len(key) > maxKey:
			return fmt.Errorf("%s with a key of %d octets is above %d", name, len(key), maxKey)
		}
		return nil
	}
	var errs []error
	if s.Crypt != nil {
		errs = append(errs, check(s.Crypt.Name, s.Crypt.Key))
	}
	if s.Auth != nil {
		errs = append(errs, check(s.Auth.Name, s.Auth.Key))
	}
	if s.AEAD != nil {
		errs = append(errs, check(s.AEAD.Name, s.AEAD.Key))
	}
	return errors.Join(errs...)
}

// appendAlgorithm appends struct xfrm_algo, or with withLength xfrm_algo_auth and xfrm_algo_aead, which have one more
// word.
func appendAlgorithm(b []byte, kind uint16, name string, key []byte, withLength bool, length uint32) []byte {
	data := make([]byte, sizeAlgName, sizeAlgName+8+len(key))
	copy(data[:sizeAlgName-1], name)
	data = native.AppendUint32(data, uint32(8*len(key)))
	if withLength {
		data = native.AppendUint32(data, length)
	}
	data = append(data, key...)
	b = appendAttribute(b, kind, data)
	clear(data)
	return b
}

// parseAlgorithm reads what appendAlgorithm writes. The key is a copy.
func parseAlgorithm(b []byte, withLength bool) (name string, key Key, length uint32, err error) {
	head := sizeAlgName + 4
	if withLength {
		head += 4
	}
	if len(b) < head {
		return "", nil, 0, fmt.Errorf("algorithm of %d octets is shorter than %d", len(b), head)
	}
	end := bytes.IndexByte(b[:sizeAlgName], 0)
	if end < 0 {
		return "", nil, 0, fmt.Errorf("algorithm name has no end")
	}
	octets := (uint64(native.Uint32(b[sizeAlgName:])) + 7) / 8
	if octets > uint64(len(b)-head) {
		return "", nil, 0, fmt.Errorf("algorithm %q: key of %d octets in %d", b[:end], octets, len(b)-head)
	}
	if withLength {
		length = native.Uint32(b[sizeAlgName+4:])
	}
	return string(b[:end]), Key(bytes.Clone(b[head : head+int(octets)])), length, nil
}
