package keymat

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
)

// BlockSize is the octets of an AES block and so of every IV.
const BlockSize = aes.BlockSize

// ErrBlockLength means that an IV or a ciphertext is not made of whole AES blocks.
var ErrBlockLength = errors.New("not a whole number of cipher blocks")

// CBC encrypts ISAKMP messages with AES-CBC (RFC 2409 Appendix B, RFC 3602 section 3). It holds no IV: the IV of each message is an
// argument and the next one a result, so that the caller decides when a message counts. A retransmission must not advance the chain.
type CBC struct {
	block cipher.Block
}

// NewCBC returns the cipher for a key of 16, 24 or 32 octets.
func NewCBC(key []byte) (CBC, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return CBC{}, fmt.Errorf("making the ISAKMP cipher: AES has no keys of %d octets", len(key))
	}
	return CBC{block: block}, nil
}

// Phase1IV returns the IV of the first encrypted Main Mode message: the first block of hash(g^xi | g^xr).
func Phase1IV(h Hash, gxi, gxr []byte) []byte { return digest(h, gxi, gxr)[:BlockSize] }

// Phase2IV returns the IV of the first message of an exchange after phase 1: the first block of hash(last phase 1 CBC output
// block | M-ID).
func Phase2IV(h Hash, lastBlock []byte, messageID uint32) []byte {
	return digest(h, lastBlock, id(messageID))[:BlockSize]
}

// Encrypt returns plaintext, padded with zero octets to whole blocks, in a new slice, and the IV of the next message: the last block
// of the ciphertext, or iv itself if there is none.
func (c CBC) Encrypt(iv, plaintext []byte) (ciphertext, next []byte, err error) {
	if len(iv) != BlockSize {
		return nil, nil, fmt.Errorf("encrypting an ISAKMP message: IV of %d octets: %w", len(iv), ErrBlockLength)
	}
	ciphertext = make([]byte, (len(plaintext)+BlockSize-1)/BlockSize*BlockSize)
	copy(ciphertext, plaintext)
	cipher.NewCBCEncrypter(c.block, iv).CryptBlocks(ciphertext, ciphertext)
	return ciphertext, lastBlock(iv, ciphertext), nil
}

// Decrypt returns the plaintext with its padding in a new slice, and the IV of the next message. The error wraps [ErrBlockLength].
func (c CBC) Decrypt(iv, ciphertext []byte) (plaintext, next []byte, err error) {
	if len(iv) != BlockSize || len(ciphertext)%BlockSize != 0 {
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
	return slices.Clone(ciphertext[len(ciphertext)-BlockSize:])
}
