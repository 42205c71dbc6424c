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

// Phase1Proposal is one allowed combination of phase 1: AES-CBC, a hash (also used as HMAC prf), a group. Authentication is
// by pre-shared key.
type Phase1Proposal struct {
	KeyBits int // 128, 192 or 256
	Hash    keymat.Hash
	Group   dh.Group
}

// String returns such as "aes256-sha256-modp2048".
func (p Phase1Proposal) String() string {
	return fmt.Sprintf("aes%d-%s-%s", p.KeyBits, p.Hash, p.Group)
}

func (p Phase1Proposal) validate() error {
	if !validKeyBits(p.KeyBits) {
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

// Encryption is a cipher of ESP. Its values are the ESP transform identifiers (RFC 3602, RFC 4106).
type Encryption uint8

// The ciphers of ESP.
const (
	AESCBC   Encryption = 12
	AESGCM16 Encryption = 20
)

// Integrity is an integrity algorithm of ESP. Its values are those of the Authentication Algorithm attribute (RFC 2407
// section 4.5, RFC 4868).
type Integrity uint16

// The integrity algorithms of ESP, named with the length of the ICV in bits; None belongs to AESGCM16 only.
const (
	None           Integrity = 0
	HMACSHA1_96    Integrity = 2
	HMACSHA256_128 Integrity = 5
	HMACSHA384_192 Integrity = 6
	HMACSHA512_256 Integrity = 7
)

// KeyLen returns the length of the key in octets, zero for None.
func (i Integrity) KeyLen() int {
	switch i {
	case HMACSHA1_96:
		return 20
	case HMACSHA256_128:
		return 32
	case HMACSHA384_192:
		return 48
	case HMACSHA512_256:
		return 64
	}
	return 0
}

// String returns such as "sha256", empty for None.
func (i Integrity) String() string {
	switch i {
	case None:
		return ""
	case HMACSHA1_96:
		return "sha1"
	case HMACSHA256_128:
		return "sha256"
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
	if p.Encryption == AESGCM16 {
		return fmt.Sprintf("aes%dgcm16", p.KeyBits)
	}
	return fmt.Sprintf("aes%d-%s", p.KeyBits, p.Integrity)
}

// encryptionKeyLen returns the octets of key material for the cipher, with the salt of AES-GCM.
func (p Phase2Proposal) encryptionKeyLen() int {
	if p.Encryption == AESGCM16 {
		return p.KeyBits/8 + 4
	}
	return p.KeyBits / 8
}

func (p Phase2Proposal) validate() error {
	if !validKeyBits(p.KeyBits) {
		return errKeyBits
	}
	switch p.Encryption {
	case AESCBC:
		if p.Integrity.KeyLen() == 0 {
			return errors.New("AES-CBC needs an integrity algorithm: use sha1, sha256, sha384 or sha512")
		}
	case AESGCM16:
		if p.Integrity != None {
			return errors.New("AES-GCM takes no integrity algorithm")
		}
	default:
		return fmt.Errorf("cipher %d is not supported: use aes or aesgcm16", p.Encryption)
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

var errKeyBits = errors.New("the AES key has to have 128, 192 or 256 bits")

func validKeyBits(n int) bool { return n == 128 || n == 192 || n == 256 }

// DefaultPhase1 returns what is allowed in phase 1 by default: first what the clients of this world have in common with a
// strict server, then every other combination of what is strong enough.
func DefaultPhase1() []Phase1Proposal {
	list := []Phase1Proposal{
		{256, keymat.SHA256, dh.MODP2048},
		{256, keymat.SHA1, dh.MODP2048},
		{128, keymat.SHA256, dh.MODP3072},
		{128, keymat.SHA256, dh.MODP2048},
		{256, keymat.SHA1, dh.ECP384},
		{128, keymat.SHA1, dh.ECP256},
	}
	for _, bits := range []int{256, 192, 128} {
		for _, h := range []keymat.Hash{keymat.SHA256, keymat.SHA384, keymat.SHA512, keymat.SHA1} {
			for _, g := range []dh.Group{dh.ECP384, dh.ECP256, dh.MODP2048, dh.MODP3072, dh.MODP4096} {
				if p := (Phase1Proposal{bits, h, g}); !slices.Contains(list, p) {
					list = append(list, p)
				}
			}
		}
	}
	return list
}

// DefaultPhase2 returns what is allowed in phase 2 by default, in order of preference.
func DefaultPhase2() []Phase2Proposal {
	var list []Phase2Proposal
	for _, bits := range []int{256, 192, 128} {
		list = append(list, Phase2Proposal{AESGCM16, bits, None})
	}
	for _, bits := range []int{256, 192, 128} {
		for _, i := range []Integrity{HMACSHA512_256, HMACSHA256_128, HMACSHA384_192, HMACSHA1_96} {
			list = append(list, Phase2Proposal{AESCBC, bits, i})
		}
	}
	return list
}
