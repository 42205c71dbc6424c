package concentrator

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/config"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// Describe returns what a configuration amounts to, one line for each subject, or why it cannot be served. It has no secrets.
func Describe(cfg *config.Config) ([]string, error) {
	s, err := newSettings(cfg, zap.NewNop())
	if err != nil {
		return nil, err
	}
	k := &cfg.IKE
	phase1, phase2 := compact(names(s.ike.Phase1)), compact(names(s.ike.Phase2))
	if len(k.Proposals) > 0 {
		phase1 = strings.Join(names(s.ike.Phase1), " ")
	}
	if len(k.ESPProposals) > 0 {
		phase2 = strings.Join(names(k.ESPProposals), " ")
	}
	lines := append([]string{
		"profile: " + string(k.Profile) + overridden(k),
		"authentication: " + strings.Join(authentication(k), "; "),
		"phase 1: " + phase1,
		"phase 2: " + phase2,
		"pfs: " + cmp.Or(strings.Join(names(s.ike.PFSGroups), " "), "none"),
	}, unusual(k)...)
	if peers := s.options.Plain.Peers; len(peers) > 0 {
		lines = append(lines, fmt.Sprintf("without IPsec: %s; at most %d tunnels of one address", strings.Join(names(peers), " "), s.options.Plain.MaxTunnels))
	}
	return lines, nil
}

// unusual are the settings of ESP for which few have a use.
func unusual(k *config.IKE) (lines []string) {
	if k.SHA256Truncation != config.TruncateOff {
		lines = append(lines, "sha256_96: "+string(k.SHA256Truncation))
	}
	if k.ForceEncapsulation {
		lines = append(lines, "force_encapsulation: true")
	}
	if k.Offload != config.OffloadAuto {
		lines = append(lines, "offload: "+string(k.Offload))
	}
	return lines
}

// overridden says what of the profile does not count.
func overridden(k *config.IKE) string {
	var keys []string
	if len(k.Proposals) > 0 {
		keys = append(keys, "proposals")
	}
	if len(k.ESPProposals) > 0 {
		keys = append(keys, "esp_proposals")
	}
	if k.PFSGroups != nil {
		keys = append(keys, "pfs_groups")
	}
	if keys == nil {
		return ""
	}
	return ", but for " + strings.Join(keys, ", ")
}

func authentication(k *config.IKE) []string {
	var ways []string
	if len(k.Keys) > 0 {
		peers := make([]string, len(k.Keys))
		for i, key := range k.Keys {
			peers[i] = key.Peer.String()
		}
		ways = append(ways, "pre-shared keys of "+strings.Join(peers, " "))
	}
	for _, c := range k.Certificates {
		ways = append(ways, fmt.Sprintf("certificate %s until %s", c, c.Certificate().NotAfter.UTC().Format("2006-01-02")))
	}
	if len(k.Certificates) > 0 {
		ways = append(ways, "clients of "+strings.Join(quoted(k.Authorities, func(c *x509.Certificate) string { return c.Subject.String() }), " "))
		if len(k.Allow) > 0 {
			ways = append(ways, "allowed "+strings.Join(quoted(k.Allow, pki.Rule.String), " "))
		}
		ways = append(ways, "revocation "+string(k.Revocation.Mode))
	}
	if len(k.Groups) > 0 {
		ways = append(ways, "Aggressive Mode for "+strings.Join(quoted(k.Groups, func(g config.PSKGroup) string { return g.Name }), " "))
	}
	return ways
}

// quoted returns the names of a list, each between quotation marks, as they may have blanks.
func quoted[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = strconv.Quote(name(v))
	}
	return out
}

func names[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}

// compact writes proposals that are all combinations of some algorithms as a|b-c|d; those with a different number of algorithms stand
// apart.
func compact(proposals []string) string {
	var kinds [][][]string // for each number of algorithms, the algorithms of each place
	for _, p := range proposals {
		parts := strings.Split(p, "-")
		i := slices.IndexFunc(kinds, func(k [][]string) bool { return len(k) == len(parts) })
		if i < 0 {
			i = len(kinds)
			kinds = append(kinds, make([][]string, len(parts)))
		}
		for place, name := range parts {
			if !slices.Contains(kinds[i][place], name) {
				kinds[i][place] = append(kinds[i][place], name)
			}
		}
	}
	var out []string
	for _, kind := range kinds {
		var places []string
		for _, list := range kind {
			places = append(places, strings.Join(list, "|"))
		}
		out = append(out, strings.Join(places, "-"))
	}
	return strings.Join(out, " ")
}
