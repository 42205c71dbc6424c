package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Cipher is an encryption algorithm.
type Cipher string

// The ciphers.
const (
	TripleDES Cipher = "3des"     // 3DES-CBC, RFC 2451; weak
	AESCBC    Cipher = "aes"      // AES-CBC, RFC 3602
	AESGCM8   Cipher = "aesgcm8"  // AES-GCM with an ICV of 8 octets, RFC 4106; for ESP only, as those below
	AESGCM12  Cipher = "aesgcm12" // of 12 octets
	AESGCM16  Cipher = "aesgcm16" // of 16 octets
)

// combined says whether the cipher protects integrity by itself.
func (c Cipher) combined() bool { return c == AESGCM8 || c == AESGCM12 || c == AESGCM16 }

// named returns the cipher with the length of its key, as in proposals.
func (c Cipher) named(keyBits int) string {
	if c == TripleDES {
		return string(c)
	}
	icv, _ := strings.CutPrefix(string(c), "aes")
	return fmt.Sprintf("aes%d%s", keyBits, icv)
}

// Hash numbers are those of IANA's "Hash Algorithms" of IKEv1, but SHA256Truncated.
type Hash uint16

// The hashes.
const (
	SHA1   Hash = 2
	SHA256 Hash = 4
	SHA384 Hash = 5
	SHA512 Hash = 6
	// SHA256Truncated is HMAC-SHA-256 of ESP cut to 96 bits, as kernels did before RFC 4868. The number is ours.
	SHA256Truncated Hash = 0x104
)

// Group is a Diffie-Hellman group by its IANA number.
type Group uint16

// Weak says whether the group is below MODP-2048.
func (g Group) Weak() bool { return g == 2 || g == 5 }

// IKEProposal is a Phase 1 transform that we accept.
type IKEProposal struct {
	Encryption Cipher
	KeyBits    int  // 128, 192 or 256; 0 with 3DES
	Hash       Hash // IANA number
	Group      Group
}

// String returns the proposal as it is written in the file, such as aes256-sha256-modp2048.
func (p IKEProposal) String() string {
	return fmt.Sprintf("%s-%s-%s", p.Encryption.named(p.KeyBits), p.Hash, p.Group)
}

// ESPProposal is a Phase 2 transform that we accept. Perfect forward secrecy is up to the client.
type ESPProposal struct {
	Encryption Cipher
	KeyBits    int  // 128, 192 or 256, without the salt of GCM; 0 with 3DES
	Hash       Hash // of the HMAC; 0 with GCM
}

// String returns the proposal as it is written in the file, such as aes256-sha1 or aes128gcm16.
func (p ESPProposal) String() string {
	if p.Encryption.combined() {
		return p.Encryption.named(p.KeyBits)
	}
	return fmt.Sprintf("%s-%s", p.Encryption.named(p.KeyBits), p.Hash)
}

// String returns the name used in proposals.
func (h Hash) String() string {
	for _, n := range hashNames {
		if n.hash == h {
			return n.name
		}
	}
	return fmt.Sprintf("hash%d", uint16(h))
}

var hashNames = []struct {
	name string
	hash Hash
}{{"sha1", SHA1}, {"sha256", SHA256}, {"sha384", SHA384}, {"sha512", SHA512}, {"sha256_96", SHA256Truncated}}

var groupNames = []struct {
	name  string
	group Group
}{
	{"modp1024", 2}, {"modp1536", 5}, {"modp2048", 14}, {"modp3072", 15}, {"modp4096", 16}, {"modp6144", 17}, {"modp8192", 18},
	{"ecp256", 19}, {"ecp384", 20}, {"ecp521", 21},
}

// String returns the name used in proposals.
func (g Group) String() string {
	for _, n := range groupNames {
		if n.group == g {
			return n.name
		}
	}
	return fmt.Sprintf("group%d", uint16(g))
}

var cipherNames = map[string]struct {
	cipher Cipher
	bits   int
}{
	"3des":   {TripleDES, 0},
	"aes128": {AESCBC, 128}, "aes192": {AESCBC, 192}, "aes256": {AESCBC, 256},
	"aes128gcm8": {AESGCM8, 128}, "aes192gcm8": {AESGCM8, 192}, "aes256gcm8": {AESGCM8, 256},
	"aes128gcm12": {AESGCM12, 128}, "aes192gcm12": {AESGCM12, 192}, "aes256gcm12": {AESGCM12, 256},
	"aes128gcm16": {AESGCM16, 128}, "aes192gcm16": {AESGCM16, 192}, "aes256gcm16": {AESGCM16, 256},
}

// The texts that tell the operator what a proposal looks like.
const (
	groupForm       = "modp2048|modp3072|modp4096|modp6144|modp8192|ecp256|ecp384|ecp521, or the weak modp1024|modp1536"
	ikeProposalForm = "cipher-hash-group such as aes256-sha256-modp2048, of aes128|aes192|aes256 (or the weak 3des), sha1|sha256|sha384|sha512, " + groupForm
	espProposalForm = "cipher-hash such as aes256-sha1, or aes128gcm16, of aes128|aes192|aes256 (or the weak 3des), sha1|sha256|sha384|sha512|sha256_96, and aes128|aes192|aes256 with gcm8|gcm12|gcm16"
)

// ErrNever says that a proposal has an algorithm that is accepted in no profile and by no list.
var ErrNever = errors.New("DES, MD5 and NULL are never accepted")

// never are the names under which they are known.
var never = []string{"des", "md5", "null", "none"}

// ParseIKEProposal reads the form of IKEProposal.String. The error wraps ErrNever for what no list can allow.
func ParseIKEProposal(s string) (IKEProposal, error) {
	parts := strings.Split(strings.ToLower(s), "-")
	if slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(never, p) }) {
		return IKEProposal{}, fmt.Errorf("%q: %w", s, ErrNever)
	}
	if len(parts) != 3 {
		return IKEProposal{}, fmt.Errorf("%q is not %s", s, ikeProposalForm)
	}
	c, cOK := cipherNames[parts[0]]
	h, hOK := parseHash(parts[1])
	g, gOK := ParseGroup(parts[2])
	if !cOK || c.cipher.combined() || !hOK || h == SHA256Truncated || !gOK {
		return IKEProposal{}, fmt.Errorf("%q is not %s", s, ikeProposalForm)
	}
	return IKEProposal{Encryption: c.cipher, KeyBits: c.bits, Hash: h, Group: g}, nil
}

// ParseESPProposal reads a cipher and a hash such as aes256-sha1, or a combined mode cipher such as aes128gcm16. The error
// wraps ErrNever for what no list can allow.
func ParseESPProposal(s string) (ESPProposal, error) {
	name, hash, withHash := strings.Cut(strings.ToLower(s), "-")
	if slices.Contains(never, name) || slices.Contains(never, hash) {
		return ESPProposal{}, fmt.Errorf("%q: %w", s, ErrNever)
	}
	c, ok := cipherNames[name]
	var h Hash
	if ok && withHash {
		h, ok = parseHash(hash)
	}
	if !ok || withHash == c.cipher.combined() {
		return ESPProposal{}, fmt.Errorf("%q is not %s", s, espProposalForm)
	}
	return ESPProposal{Encryption: c.cipher, KeyBits: c.bits, Hash: h}, nil
}

// ParseGroup reads the name of a group, such as modp2048.
func ParseGroup(s string) (Group, bool) {
	for _, n := range groupNames {
		if n.name == strings.ToLower(s) {
			return n.group, true
		}
	}
	return 0, false
}

func parseHash(s string) (Hash, bool) {
	for _, n := range hashNames {
		if n.name == s {
			return n.hash, true
		}
	}
	return 0, false
}
