package config

import (
	"fmt"
	"slices"
	"strings"
)

// Cipher is an encryption algorithm.
type Cipher string

// The ciphers.
const (
	AESCBC   Cipher = "aes"    // AES-CBC, RFC 3602
	AESGCM16 Cipher = "aesgcm" // AES-GCM with a 16-octet ICV, RFC 4106; for ESP only
)

// Hash numbers are those of IANA's "Hash Algorithms" of IKEv1.
type Hash uint16

// The hashes.
const (
	SHA1   Hash = 2
	SHA256 Hash = 4
	SHA384 Hash = 5
	SHA512 Hash = 6
)

// IKEProposal is a Phase 1 transform that we accept.
type IKEProposal struct {
	Encryption Cipher
	KeyBits    int    // 128, 192 or 256
	Hash       Hash   // IANA number
	Group      uint16 // IANA number
}

// String returns the proposal as it is written in the file, such as aes256-sha256-modp2048.
func (p IKEProposal) String() string {
	return fmt.Sprintf("%s%d-%s-%s", p.Encryption, p.KeyBits, p.Hash, groupName(p.Group))
}

// ESPProposal is a Phase 2 transform that we accept. Perfect forward secrecy is up to the client.
type ESPProposal struct {
	Encryption Cipher
	KeyBits    int  // 128, 192 or 256, without the salt of GCM
	Hash       Hash // of the HMAC; 0 with GCM
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
}{{"sha1", SHA1}, {"sha256", SHA256}, {"sha384", SHA384}, {"sha512", SHA512}}

var groupNames = []struct {
	name   string
	number uint16
}{
	{"modp1024", 2}, {"modp1536", 5}, {"modp2048", 14}, {"modp3072", 15}, {"modp4096", 16}, {"modp6144", 17}, {"modp8192", 18},
	{"ecp256", 19}, {"ecp384", 20}, {"ecp521", 21},
}

func groupName(number uint16) string {
	for _, g := range groupNames {
		if g.number == number {
			return g.name
		}
	}
	return fmt.Sprintf("group%d", number)
}

var cipherNames = map[string]struct {
	cipher Cipher
	bits   int
}{
	"aes128": {AESCBC, 128}, "aes192": {AESCBC, 192}, "aes256": {AESCBC, 256},
	"aes128gcm16": {AESGCM16, 128}, "aes192gcm16": {AESGCM16, 192}, "aes256gcm16": {AESGCM16, 256},
}

// The texts that tell the operator what a proposal looks like.
const (
	ikeProposalForm = "cipher-hash-group such as aes256-sha256-modp2048, of aes128|aes192|aes256, sha1|sha256|sha384|sha512, modp1024|modp1536|modp2048|modp3072|modp4096|modp6144|modp8192|ecp256|ecp384|ecp521"
	espProposalForm = "cipher-hash such as aes256-sha1, or aes128gcm16, of aes128|aes192|aes256|aes128gcm16|aes192gcm16|aes256gcm16, sha1|sha256|sha384|sha512"
)

// ParseIKEProposal reads the form of IKEProposal.String.
func ParseIKEProposal(s string) (IKEProposal, error) {
	parts := strings.Split(strings.ToLower(s), "-")
	if len(parts) != 3 {
		return IKEProposal{}, fmt.Errorf("%q is not %s", s, ikeProposalForm)
	}
	c, cOK := cipherNames[parts[0]]
	h, hOK := parseHash(parts[1])
	g := slices.IndexFunc(groupNames, func(n struct {
		name   string
		number uint16
	}) bool {
		return n.name == parts[2]
	})
	if !cOK || c.cipher != AESCBC || !hOK || g < 0 {
		return IKEProposal{}, fmt.Errorf("%q is not %s", s, ikeProposalForm)
	}
	return IKEProposal{Encryption: c.cipher, KeyBits: c.bits, Hash: h, Group: groupNames[g].number}, nil
}

// ParseESPProposal reads a cipher and a hash such as aes256-sha1, or a combined mode cipher such as aes128gcm16.
func ParseESPProposal(s string) (ESPProposal, error) {
	name, hash, withHash := strings.Cut(strings.ToLower(s), "-")
	c, ok := cipherNames[name]
	var h Hash
	if ok && withHash {
		h, ok = parseHash(hash)
	}
	if !ok || withHash == (c.cipher == AESGCM16) {
		return ESPProposal{}, fmt.Errorf("%q is not %s", s, espProposalForm)
	}
	return ESPProposal{Encryption: c.cipher, KeyBits: c.bits, Hash: h}, nil
}

func parseHash(s string) (Hash, bool) {
	for _, n := range hashNames {
		if n.name == s {
			return n.hash, true
		}
	}
	return 0, false
}
