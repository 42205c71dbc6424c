package ikev1

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// MaxLifetime is the longest life of any SA, whatever the client asked for.
const MaxLifetime = 24 * time.Hour

// defaultLifetime is the life of an SA whose client named none (RFC 2407 section 4.5.4: 8 hours).
const defaultLifetime = 8 * time.Hour

// Phase1Proposal is one allowed combination of phase 1: a cipher in CBC mode, a hash (also used as HMAC prf), a group. How the
// two sides authenticate is another matter: see [Config].
type Phase1Proposal struct {
	Cipher  keymat.Cipher
	KeyBits int // of AES: 128, 192 or 256; 0 of 3DES, whose keys have one length
	Hash    keymat.Hash
	Group   dh.Group
}

// String returns such as "aes256-sha256-modp2048" or "3des-sha1-modp1024".
func (p Phase1Proposal) String() string {
	return fmt.Sprintf("%s-%s-%s", cipherName(uint64(p.Cipher), uint64(p.KeyBits)), p.Hash, p.Group)
}

func (p Phase1Proposal) validate() error {
	switch {
	case !p.Cipher.Supported():
		return fmt.Errorf("cipher %d is not supported: use AES", p.Cipher)
	case p.Cipher.KeyLen(p.KeyBits) == 0 && p.Cipher == keymat.TripleDES:
		return errTripleDESBits
	case p.Cipher.KeyLen(p.KeyBits) == 0:
		return errKeyBits
	}
	if !p.Hash.Supported() {
		return fmt.Errorf("hash %d is not supported: use sha1, sha256, sha384 or sha512", p.Hash)
	}
	if !dh.Supported(p.Group) {
		return fmt.Errorf("group %s is not supported", p.Group)
	}
	return nil
}

// Encryption is a cipher of ESP. Its values are the ESP transform identifiers (RFC 2407 section 4.4.4, RFC 3602, RFC 4106).
type Encryption uint8

// The ciphers of ESP. AES-GCM is named with the length of its ICV in octets.
const (
	TripleDES Encryption = 3
	AESCBC    Encryption = 12
	AESGCM8   Encryption = 18
	AESGCM12  Encryption = 19
	AESGCM16  Encryption = 20
)

// AEAD says whether the cipher protects integrity by itself.
func (e Encryption) AEAD() bool { return e == AESGCM8 || e == AESGCM12 || e == AESGCM16 }

// Integrity is an integrity algorithm of ESP. Its values are those of the Authentication Algorithm attribute (RFC 2407
// section 4.5, RFC 4868).
type Integrity uint16

// The integrity algorithms of ESP, named with the length of the ICV in bits; None belongs to AES-GCM only. HMACSHA256_96 is what
// Linux before 2.6.33 and old Android make of HMACSHA256_128: it has no number of its own on the wire.
const (
	None           Integrity = 0
	HMACSHA1_96    Integrity = 2
	HMACSHA256_128 Integrity = 5
	HMACSHA384_192 Integrity = 6
	HMACSHA512_256 Integrity = 7
	HMACSHA256_96  Integrity = 0x105
)

// KeyLen returns the length of the key in octets, zero for None.
func (i Integrity) KeyLen() int {
	switch i {
	case HMACSHA1_96:
		return 20
	case HMACSHA256_128, HMACSHA256_96:
		return 32
	case HMACSHA384_192:
		return 48
	case HMACSHA512_256:
		return 64
	}
	return 0
}

// onWire returns the value of the Authentication Algorithm attribute.
func (i Integrity) onWire() uint16 { return uint16(i) & 0xff }

// String returns such as "sha256", empty for None.
func (i Integrity) String() string {
	switch i {
	case None:
		return ""
	case 1:
		return "md5" // never allowed, but offered
	case HMACSHA1_96:
		return "sha1"
	case HMACSHA256_128:
		return "sha256"
	case HMACSHA256_96:
		return "sha256_96"
	case HMACSHA384_192:
		return "sha384"
	case HMACSHA512_256:
		return "sha512"
	}
	return fmt.Sprintf("auth%d", uint16(i))
}

// Phase2Proposal is one allowed combination of phase 2: ESP in transport mode.
type Phase2Proposal struct {
	Encryption Encryption
	KeyBits    int // 128, 192 or 256
	Integrity  Integrity
}

// String returns such as "aes256-sha1" or "aes128gcm16".
func (p Phase2Proposal) String() string {
	switch p.Encryption {
	case TripleDES:
		return "3des-" + p.Integrity.String()
	case AESGCM8, AESGCM12, AESGCM16:
		return fmt.Sprintf("aes%dgcm%d", p.KeyBits, p.icvLen())
	}
	return fmt.Sprintf("aes%d-%s", p.KeyBits, p.Integrity)
}

// icvLen returns the octets of the ICV of AES-GCM.
func (p Phase2Proposal) icvLen() int { return 8 + 4*int(p.Encryption-AESGCM8) }

// encryptionKeyLen returns the octets of key material for the cipher, with the salt of AES-GCM.
func (p Phase2Proposal) encryptionKeyLen() int {
	switch {
	case p.Encryption == TripleDES:
		return 24
	case p.Encryption.AEAD():
		return p.KeyBits/8 + 4
	}
	return p.KeyBits / 8
}

func (p Phase2Proposal) validate() error {
	switch p.Encryption {
	case TripleDES:
		if p.KeyBits != 0 {
			return errTripleDESBits
		}
	case AESCBC, AESGCM8, AESGCM12, AESGCM16:
		if !validKeyBits(p.KeyBits) {
			return errKeyBits
		}
	default:
		return fmt.Errorf("cipher %d is not supported: use aes or aesgcm", p.Encryption)
	}
	switch {
	case p.Encryption.AEAD() && p.Integrity != None:
		return errors.New("AES-GCM takes no integrity algorithm")
	case !p.Encryption.AEAD() && (p.Integrity.KeyLen() == 0 || p.Integrity == HMACSHA256_96):
		return errors.New("a cipher in CBC mode needs an integrity algorithm: use sha1, sha256, sha384 or sha512")
	}
	return nil
}

// ranking is a list of allowed proposals, to be asked which of two is preferred: that with the lower number.
type ranking[T comparable] map[T]int

func rank[T comparable](list []T) ranking[T] {
	r := make(ranking[T], len(list))
	for i, p := range slices.Backward(list) {
		r[p] = i
	}
	return r
}

var (
	errKeyBits       = errors.New("the AES key has to have 128, 192 or 256 bits")
	errTripleDESBits = errors.New("3DES has keys of one length: leave it out")
)

func validKeyBits(n int) bool { return n == 128 || n == 192 || n == 256 }
