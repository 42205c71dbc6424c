package steering

import (
	"slices"
	"strings"
	"testing"
)

// Without plain peers there is nothing in the table that could let one in.
func TestNothingPlainWithoutPlainPeers(t *testing.T) {
	for _, ch := range DefaultConfig().chains() {
		if strings.HasPrefix(ch.name, "plain") {
			t.Errorf("there is a chain %s", ch.name)
		}
		for _, r := range ch.rules {
			if strings.Contains(r.comment, "plain") {
				t.Errorf("%s: %s", ch.name, r.comment)
			}
		}
	}
}

func TestEachPlainPeerHasItsRules(t *testing.T) {
	peers := []string{"10.0.0.0/8", "192.0.2.1/32", "fd00::/8"}
	var from, to []string
	for _, ch := range plainConfig(peers...).chains() {
		for _, r := range ch.rules {
			if p, ok := strings.CutPrefix(r.comment, "from "); ok && ch.name == chainPlainGate {
				from = append(from, p)
			}
			if p, ok := strings.CutPrefix(r.comment, "to "); ok && ch.name == chainPlainOutput && p != "nobody else" {
				to = append(to, p)
			}
		}
	}
	if !slices.Equal(from, peers) || !slices.Equal(to, peers) {
		t.Errorf("rules from %v and to %v, want %v", from, to, peers)
	}
}
