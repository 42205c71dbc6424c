package concentrator

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
)

func ikeConfig(t *testing.T, ike string) ikev1.Config {
	t.Helper()
	c, err := config.Parse("t.yaml", []byte(strings.Replace(config.Minimal, "\npool", "\n"+ike+"\npool", 1)))
	if err != nil {
		t.Fatal(err)
	}
	s := ikeSettings(&c.IKE)
	if _, err := ikev1.New(s, rand.NewChaCha8([32]byte{})); err != nil {
		t.Fatalf("check accepts what serve refuses: %v", err)
	}
	return s
}

func stringsOf[T fmt.Stringer](list []T) string {
	var out []string
	for _, v := range list {
		out = append(out, v.String())
	}
	return strings.Join(out, " ")
}

func TestProfileSettings(t *testing.T) {
	for name, profile := range map[string]ikev1.Profile{"modern": ikev1.Modern, "compatible": ikev1.Compatible, "legacy": ikev1.Legacy} {
		s := ikeConfig(t, "  profile: "+name)
		if diff := cmp.Diff(profile.Phase1(), s.Phase1); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(profile.Phase2(), s.Phase2); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(profile.PFSGroups(), s.PFSGroups); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if s := ikeConfig(t, ""); !slices.Equal(s.Phase1, ikev1.Compatible.Phase1()) {
		t.Error("the default is not compatible")
	}
}

// Each proposal that the file can have arrives in the engine under the same name, and the engine takes it.
func TestEveryProposalArrives(t *testing.T) {
	var phase1, phase2, groups []string
	hashes := []string{"sha1", "sha256", "sha384", "sha512"}
	for _, cipher := range []string{"3des", "aes128", "aes192", "aes256"} {
		for _, hash := range hashes {
			for _, group := range []string{"modp1024", "modp1536", "modp2048", "modp3072", "modp4096", "modp6144", "modp8192", "ecp256", "ecp384", "ecp521"} {
				phase1 = append(phase1, cipher+"-"+hash+"-"+group)
				if len(phase1) <= 10 {
					groups = append(groups, group)
				}
			}
			phase2 = append(phase2, cipher+"-"+hash)
		}
		for _, icv := range []string{"gcm8", "gcm12", "gcm16"} {
			if cipher != "3des" {
				phase2 = append(phase2, cipher+icv)
			}
		}
	}
	s := ikeConfig(t, fmt.Sprintf("  proposals: [%s]\n  esp_proposals: [%s]\n  pfs_groups: [%s]", strings.Join(phase1, ", "), strings.Join(phase2, ", "), strings.Join(groups, ", ")))
	if diff := cmp.Diff(strings.Join(phase1, " "), stringsOf(s.Phase1)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(strings.Join(phase2, " "), stringsOf(s.Phase2)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(strings.Join(groups, " "), stringsOf(s.PFSGroups)); diff != "" {
		t.Error(diff)
	}
}

func TestPFSSettings(t *testing.T) {
	if s := ikeConfig(t, "  proposals: aes256-sha1-modp8192"); !slices.Contains(s.PFSGroups, dh.MODP8192) || !slices.Contains(s.PFSGroups, dh.MODP2048) {
		t.Errorf("groups of proposals and profile: %v", s.PFSGroups)
	}
	if s := ikeConfig(t, "  profile: modern\n  pfs_groups: []"); s.PFSGroups == nil || len(s.PFSGroups) != 0 {
		t.Errorf("none became %v", s.PFSGroups)
	}
}

func TestOtherSettings(t *testing.T) {
	s := ikeConfig(t, `  groups: [{name: sales, psk: 0123456789012345678901234}]
  lifetime: 1h
  esp_lifetime: 30m
  force_encapsulation: true
  sha256_96: android
  dpd_interval: 0`)
	if s.MaxLifetime != time.Hour || s.MaxChildLifetime != 30*time.Minute || !s.ForceEncapsulation || s.SHA256Truncation != ikev1.TruncateAndroid || s.DPDInterval >= 0 {
		t.Errorf("%+v", s)
	}
	if string(s.GroupPSK([]byte("sales"))) != "0123456789012345678901234" || s.GroupPSK([]byte("other")) != nil {
		t.Error("wrong keys of groups")
	}
	if s := ikeConfig(t, "  esp_proposals: aes128-sha256_96"); s.SHA256Truncation != ikev1.TruncateAlways || s.Phase2[0].Integrity != ikev1.HMACSHA256_128 {
		t.Errorf("%+v", s)
	}
	s = ikeConfig(t, "")
	if s.GroupPSK != nil || s.Trust != nil || s.Credentials != nil || s.SHA256Truncation != ikev1.TruncateNever || s.ForceEncapsulation {
		t.Errorf("%+v", s)
	}
	if psk := s.PSK(netip.Addr{}, netip.MustParseAddr("192.0.2.1")); string(psk) != "replace-this-by-a-long-random-string" {
		t.Errorf("%q", psk)
	}
	c, err := config.Parse("t.yaml", []byte("ike: {groups: [{name: a, psk: 0123456789012345678901234}]}\npool: 10.0.0.0/24\nusers: [{name: a, password: b}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s = ikeSettings(&c.IKE); s.PSK != nil || s.GroupPSK == nil {
		t.Errorf("without pre-shared key: %+v", s)
	}
}
