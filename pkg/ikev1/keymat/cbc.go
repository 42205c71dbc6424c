package keymat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"errors"
	"fmt"
	"slices"
)

// ErrBlockLength means that an IV or a ciphertext is not made of whole cipher blocks.
var ErrBlockLength = errors.New("not a whole number of cipher blocks")

// CBC encrypts ISAKMP messages (RFC 2409 appendix B). It holds no IV: the IV of each message is an argument and the next one a result,
// so that the caller decides when a message counts. A retransmission must not advance the chain.
//
// CBC holds the key schedule, which the standard library gives no means to overwrite. Erasing what a key was made from and dropping the
// CBC is all that can be done; the schedule stays in memory until the garbage collector reuses it.
type CBC struct {
	block cipher.Block
}

// NewCBC returns the cipher c with a key of 16, 24 or 32 octets for AES, 24 for 3DES. The parity bits of a 3DES key are not looked at,
// and need no setting.
func NewCBC(c Cipher, key []byte) (CBC, error) {
	var block cipher.Block
	var err error
	switch c {
	case AES:
		block, err = aes.NewCipher(key)
	case TripleDES:
		block, err = des.NewTripleDESCipher(key)
	default:
		return CBC{}, fmt.Errorf("making the ISAKMP cipher: %v is not supported", c)
	}
	if err != nil {
		return CBC{}, fmt.Errorf("making the ISAKMP cipher: %v has no keys of %d octets", c, len(key))
	}
	return CBC{block: block}, nil
}

// Phase1IV returns the IV of the first encrypted Main Mode message: the first blockSize octets of hash(g^xi | g^xr). blockSize is
// [Cipher.BlockSize].
func Phase1IV(h Hash, blockSize int, gxi, gxr []byte) []byte {
	return digest(h, gxi, gxr)[:blockSize:blockSize]
}

// Phase2IV returns the IV of the first message of an exchange after phase 1: the first blockSize octets of hash(last phase 1 CBC output
// block | M-ID).
func Phase2IV(h Hash, blockSize int, lastBlock []byte, messageID uint32) []byte {
	return digest(h, lastBlock, id(messageID))[:blockSize:blockSize]
}

// BlockSize returns the octets of a block and of an IV; 0 for the zero CBC, which has no key and with which nothing can be encrypted.
func (c CBC) BlockSize() int {
	if c.block == nil {
		return 0
	}
	return c.block.BlockSize()
}

// Encrypt returns plaintext, padded with zero octets to whole blocks, in a new slice, and the IV of the next message: the last block
// of the ciphertext, or iv itself if there is none.
func (c CBC) Encrypt(iv, plaintext []byte) (ciphertext, next []byte, err error) {
	n := c.BlockSize()
	if n == 0 || len(iv) != n {
		return nil, nil, fmt.Errorf("encrypting an ISAKMP message: IV of %d octets: %w", len(iv), ErrBlockLength)
	}
	ciphertext = make([]byte, (len(plaintext)+n-1)/n*n)
	copy(ciphertext, plaintext)
	cipher.NewCBCEncrypter(c.block, iv).CryptBlocks(ciphertext, ciphertext)
	return ciphertext, lastBlock(iv, ciphertext), nil
}

// Decrypt returns the plaintext with its padding in a new slice, and the IV of the next message. The error wraps [ErrBlockLength].
func (c CBC) Decrypt(iv, ciphertext []byte) (plaintext, next []byte, err error) {
	if n := c.BlockSize(); n == 0 || len(iv) != n || len(ciphertext)%n != 0 {
		return nil, nil, fmt.Errorf("decrypting an ISAKMP message: IV of %d octets, ciphertext of %d: %w",
			len(iv), len(ciphertext), ErrBlockLength)
	}
	plaintext = make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(c.block, iv).CryptBlocks(plaintext, ciphertext)
	return plaintext, lastBlock(iv, ciphertext), nil
}

func lastBlock(iv, ciphertext []byte) []byte {
	if len(ciphertext) == 0 {
		return slices.Clone(iv)
	}
	return slices.Clone(ciphertext[len(ciphertext)-len(iv):])
}
