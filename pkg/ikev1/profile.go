package ikev1

import (
	"slices"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// Profile is a named set of allowed proposals.
type Profile string

// The profiles. None has MD5, DES or NULL. MODP6144 and MODP8192 are in none either, for a stranger may choose the group, and these
// cost ten and twenty times as much as MODP2048: name them in a list of your own where you need them.
const (
	// Modern is without SHA-1 and everything weaker. Windows as delivered offers nothing of it.
	Modern Profile = "modern"

	// Compatible is what every client of today has something in common with, without what is known to be breakable.
	Compatible Profile = "compatible"

	// Legacy adds 3DES, MODP1536 and MODP1024, for Android before 12 and old routers. A group of 1024 bits is within reach of
	// those who can pay for it.
	Legacy Profile = "legacy"
)

// Phase1 returns what the profile allows in phase 1, in order of preference; nil for an unknown profile.
func (p Profile) Phase1() []Phase1Proposal {
	switch p {
	case Modern:
		return combine(nil, []keymat.Hash{keymat.SHA256, keymat.SHA384, keymat.SHA512}, strongGroups)
	case Compatible:
		return compatiblePhase1()
	case Legacy:
		list := combine(compatiblePhase1(), allHashes, weakGroups)
		for _, g := range slices.Concat(strongGroups, weakGroups) {
			for _, h := range allHashes {
				list = append(list, Phase1Proposal{keymat.TripleDES, 0, h, g})
			}
		}
		return list
	}
	return nil
}

var (
	allHashes    = []keymat.Hash{keymat.SHA256, keymat.SHA384, keymat.SHA512, keymat.SHA1}
	strongGroups = []dh.Group{dh.ECP384, dh.ECP256, dh.ECP521, dh.MODP2048, dh.MODP3072, dh.MODP4096}
	weakGroups   = []dh.Group{dh.MODP1536, dh.MODP1024}
)

// compatiblePhase1 begins with what the clients of this world have in common with a strict server, and continues with every other
// combination of what is strong enough.
func compatiblePhase1() []Phase1Proposal {
	return combine([]Phase1Proposal{
		{keymat.AES, 256, keymat.SHA256, dh.MODP2048},
		{keymat.AES, 256, keymat.SHA1, dh.MODP2048},
		{keymat.AES, 128, keymat.SHA256, dh.MODP3072},
		{keymat.AES, 128, keymat.SHA256, dh.MODP2048},
		{keymat.AES, 256, keymat.SHA1, dh.ECP384},
		{keymat.AES, 128, keymat.SHA1, dh.ECP256},
	}, allHashes, strongGroups)
}

// combine appends AES with each of hashes and groups, unless it is in the list.
func combine(list []Phase1Proposal, hashes []keymat.Hash, groups []dh.Group) []Phase1Proposal {
	for _, bits := range []int{256, 192, 128} {
		for _, h := range hashes {
			for _, g := range groups {
				if p := (Phase1Proposal{keymat.AES, bits, h, g}); !slices.Contains(list, p) {
					list = append(list, p)
				}
			}
		}
	}
	return list
}

// Phase2 returns what the profile allows in phase 2, in order of preference; nil for an unknown profile.
func (p Profile) Phase2() []Phase2Proposal {
	integrity := []Integrity{HMACSHA512_256, HMACSHA256_128, HMACSHA384_192, HMACSHA1_96}
	switch p {
	case Modern:
		integrity = integrity[:3]
	case Compatible, Legacy:
	default:
		return nil
	}
	var list []Phase2Proposal
	for _, cipher := range []Encryption{AESGCM16, AESGCM12, AESGCM8} {
		if cipher == AESGCM8 && p == Modern {
			continue
		}
		for _, bits := range []int{256, 192, 128} {
			list = append(list, Phase2Proposal{cipher, bits, None})
		}
	}
	for _, bits := range []int{256, 192, 128} {
		for _, i := range integrity {
			list = append(list, Phase2Proposal{AESCBC, bits, i})
		}
	}
	if p == Legacy {
		for _, i := range integrity {
			list = append(list, Phase2Proposal{TripleDES, 0, i})
		}
	}
	return list
}

// PFSGroups returns the groups that the profile allows for perfect forward secrecy in Quick Mode. Compatible takes weak ones here
// too, which MikroTik asks for: what they add to the keys of phase 1 cannot make these weaker.
func (p Profile) PFSGroups() []dh.Group {
	switch p {
	case Modern:
		return slices.Clone(strongGroups)
	case Compatible, Legacy:
		return slices.Concat(strongGroups, weakGroups)
	}
	return nil
}
