package keymat

import (
	"crypto/aes"
	"crypto/des"
	"fmt"
)

// Cipher is an encryption algorithm of phase 1, from the IANA registry "Encryption Algorithm (Value 1)" (RFC 2409 appendix A).
type Cipher uint16

// The ciphers that this package computes, both in CBC mode. DES (1), IDEA (2), Blowfish (3), RC5 (4) and CAST (6) are left out on
// purpose.
const (
	TripleDES Cipher = 5 // RFC 2409; weak, for old clients only
	AES       Cipher = 7 // RFC 3602
)

// Supported reports whether c is a cipher of this package.
func (c Cipher) Supported() bool { return c.BlockSize() != 0 }

// BlockSize returns the octets of a block, which are also those of every IV; 0 if c is unsupported.
func (c Cipher) BlockSize() int {
	switch c {
	case TripleDES:
		return des.BlockSize
	case AES:
		return aes.BlockSize
	}
	return 0
}

// KeyLen returns the octets of a key, for the value that the Key Length attribute of a proposal has in bits: 128, 192 or 256 for AES;
// 0, which means that there is no attribute, for 3DES (RFC 2409 appendix A). It returns 0 if c has no keys of that length.
func (c Cipher) KeyLen(keyBits int) int {
	switch {
	case c == TripleDES && keyBits == 0:
		return 24
	case c == AES && (keyBits == 128 || keyBits == 192 || keyBits == 256):
		return keyBits / 8
	}
	return 0
}

// String returns the name that proposals are written with: "3des" or "aes"; "cipher1" for an unsupported number.
func (c Cipher) String() string {
	switch c {
	case TripleDES:
		return "3des"
	case AES:
		return "aes"
	}
	return fmt.Sprintf("cipher%d", uint16(c))
}
