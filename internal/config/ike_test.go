package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAlgorithmsAndGroups(t *testing.T) {
	c := parse(t, `ike:
  groups: [{name: sales, psk: 0123456789012345678901234}, {name: "Außendienst", psk: short}]
  profile: legacy
  proposals: [3des-sha1-modp1024, aes256-sha512-ecp521]
  esp_proposals: [3des-sha1, aes256gcm8, aes256-sha256_96]
  pfs_groups: [modp1536, modp8192]
  lifetime: 5m
  esp_lifetime: 1h
  force_encapsulation: true
  sha256_96: all
  offload: crypto
pool: 10.0.0.0/24
users: [{name: a, password: b}]
`)
	got := c.IKE
	for name, want := range map[string]string{"sales": "0123456789012345678901234", "Außendienst": "short", "sale": "", "": "", "SALES": ""} {
		if psk := string(got.GroupPSK([]byte(name))); psk != want {
			t.Errorf("the key of %q is %q", name, psk)
		}
	}
	if psk := got.GroupPSK([]byte("none")); psk != nil {
		t.Errorf("%q", psk)
	}
	want := IKE{
		Groups:             got.Groups,
		Profile:            ProfileLegacy,
		Proposals:          []IKEProposal{{TripleDES, 0, SHA1, 2}, {AESCBC, 256, SHA512, 21}},
		ESPProposals:       []ESPProposal{{TripleDES, 0, SHA1}, {AESGCM8, 256, 0}, {AESCBC, 256, SHA256Truncated}},
		PFSGroups:          []Group{5, 18},
		Lifetime:           5 * time.Minute,
		ESPLifetime:        time.Hour,
		ForceEncapsulation: true,
		SHA256Truncation:   TruncateAll,
		Offload:            OffloadCrypto,
	}
	ignored := cmpopts.IgnoreFields(IKE{}, "Revocation", "DPDInterval", "DPDTimeout", "HalfOpenMax", "HalfOpenUnproved", "HalfOpenPerAddr", "MaxClientsPerAddr", "HalfOpenTimeout", "MaxChildren")
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var warned []string
	for _, w := range c.Warnings {
		_, text, _ := strings.Cut(w, ": ")
		warned = append(warned, text[:min(len(text), 60)])
	}
	if diff := cmp.Diff([]string{
		`ike.groups[0]: Aggressive Mode is on for "sales": whoever kn`,
		`ike.groups[1].psk: the pre-shared key has 5 characters; below`[:60],
		`ike.groups[1]: Aggressive Mode is on for "Außendienst": whoever`[:60],
		`ike.profile: this profile accepts 3des, modp1024 and modp1536`[:60],
		`ike.proposals: 3des-sha1-modp1024: 3des is broken by its bloc`[:60],
		`ike.proposals: 3des-sha1-modp1024: groups below modp2048 can be`[:60],
		`ike.esp_proposals: 3des-sha1: 3des is broken by its blocks of`[:60],
		`ike.pfs_groups[0]: modp1536: groups below modp2048 can be bro`[:60],
		`ike.sha256_96: all: clients that keep to RFC 4868 and choose SHA`[:60],
	}, warned); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
	if none := parse(t, strings.Replace(Minimal, "ike:\n", "ike:\n  pfs_groups: []\n  sha256_96: off\n  revocation: off\n", 1)).IKE.PFSGroups; none == nil || len(none) != 0 {
		t.Errorf("%#v instead of no group", none)
	}
}

func TestTruncation(t *testing.T) {
	for ike, want := range map[string]string{
		"":                   "off",
		"sha256_96: android": "android",
		"sha256_96: all":     "all",
		"esp_proposals: [aes256-sha256_96, aes256-sha1]":             "all",
		"esp_proposals: aes256-sha256_96\n  sha256_96: all":          "all",
		"esp_proposals: [aes256-sha256]\n  sha256_96: android":       "android",
		"esp_proposals: [aes256-sha256, aes128-sha256_96]":           `t.yaml:3:18: ike.esp_proposals: found both sha256 and sha256_96, expected one of them`,
		"esp_proposals: aes128-sha256_96\n  sha256_96: off":          `t.yaml:4:14: ike.sha256_96: found "off" besides esp_proposals with sha256_96, expected all or no such key`,
		"sha256_96: android\n  esp_proposals: [aes128-sha256_96]":    `t.yaml:3:14: ike.sha256_96: found "android" besides esp_proposals with sha256_96, expected all or no such key`,
		"esp_proposals: [3des-sha256_96, aes192-sha256, aes128gcm8]": `t.yaml:3:18: ike.esp_proposals: found both sha256 and sha256_96, expected one of them`,
	} {
		c, err := Parse("t.yaml", []byte(strings.Replace(Minimal, "\npool", "\n  "+ike+"\npool", 1)))
		switch {
		case err != nil:
			if !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s:\n%v", ike, err)
			}
		case string(c.IKE.SHA256Truncation) != want || len(c.Warnings) != map[string]int{"all": 1}[want]:
			t.Errorf("%s: %s, warnings %q", ike, c.IKE.SHA256Truncation, c.Warnings)
		}
	}
}
