package concentrator

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

func TestDescribe(t *testing.T) {
	for ike, want := range map[string]string{
		"": `profile: compatible
authentication: pre-shared keys of 0.0.0.0/0 ::/0
phase 1: aes256|aes128|aes192-sha256|sha1|sha384|sha512-modp2048|modp3072|ecp384|ecp256|ecp521|modp4096
phase 2: aes256gcm16|aes192gcm16|aes128gcm16|aes256gcm12|aes192gcm12|aes128gcm12|aes256gcm8|aes192gcm8|aes128gcm8 aes256|aes192|aes128-sha512|sha256|sha384|sha1
pfs: ecp384 ecp256 ecp521 modp2048 modp3072 modp4096 modp1536 modp1024`,
		`  profile: modern
  groups: [{name: "a b", psk: 0123456789012345678901234}, {name: c, psk: 0123456789012345678901234}]
  keys: [{peer: 192.0.2.0/24, psk: 0123456789012345678901234}]
  proposals: [aes256-sha1-modp2048, 3des-sha1-modp1024]
  pfs_groups: []
  esp_proposals: [aes256-sha256_96, aes128gcm16]
  force_encapsulation: true
  offload: crypto`: `profile: modern, but for proposals, esp_proposals, pfs_groups
authentication: pre-shared keys of 192.0.2.0/24 0.0.0.0/0 ::/0; Aggressive Mode for "a b" "c"
phase 1: aes256-sha1-modp2048 3des-sha1-modp1024
phase 2: aes256-sha256_96 aes128gcm16
pfs: none
sha256_96: all
force_encapsulation: true
offload: crypto`,
	} {
		c, err := config.Parse("t.yaml", []byte(strings.Replace(config.Minimal, "\npool", "\n"+ike+"\npool", 1)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Describe(c)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDescribePlainPeers(t *testing.T) {
	c, err := config.Parse("t.yaml", []byte(config.Minimal+"l2tp: {plain_peers: [10.20.0.0/16, 192.0.2.1], plain_max_tunnels: 8}\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Describe(c)
	if err != nil || got[len(got)-1] != "without IPsec: 10.20.0.0/16 192.0.2.1/32; at most 8 tunnels of one address" {
		t.Errorf("%q, %v", got, err)
	}
}

// The short form of a profile must not promise what it does not have.
func TestProfilesAreCombinations(t *testing.T) {
	for _, profile := range []ikev1.Profile{ikev1.Modern, ikev1.Compatible, ikev1.Legacy} {
		for _, list := range [][]string{names(profile.Phase1()), names(profile.Phase2())} {
			n := 0
			for _, kind := range strings.Fields(compact(list)) {
				combinations := 1
				for _, place := range strings.Split(kind, "-") {
					combinations *= 1 + strings.Count(place, "|")
				}
				n += combinations
			}
			if n != len(list) {
				t.Errorf("%s: %d proposals, %d in %s", profile, len(list), n, compact(list))
			}
		}
	}
}
