package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpctl/l2tpctl/internal/steering"
)

func TestPlainPeers(t *testing.T) {
	c := parse(t, Minimal+"l2tp: {plain_peers: [10.20.0.0/16, 192.0.2.7, \"fd00::/8\"], plain_max_tunnels: 8}\nslots: {plain_base: 0xA000}\n")
	want := []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fd00::/8")}
	if diff := cmp.Diff(want, c.L2TP.PlainPeers, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if c.L2TP.PlainMaxTunnels != 8 || c.Slots.Plain() != (Slots{Tag: 0x1701, PortBase: 0xA000, PortMask: 0xE000}) {
		t.Errorf("%+v %+v", c.L2TP, c.Slots)
	}
	if len(c.Warnings) != 2 || !strings.HasPrefix(c.Warnings[0], "t.yaml:7:21: l2tp.plain_peers: L2TP without IPsec is accepted") || !strings.Contains(c.Warnings[1], "ephemeral") {
		t.Errorf("warnings %q", c.Warnings)
	}
	for _, text := range []string{"", "l2tp: {plain_peers: []}\n", "slots: {port_base: 0x2000, port_mask: 0xE000}\n"} {
		if c := parse(t, Minimal+text); len(c.L2TP.PlainPeers) != 0 || len(c.Warnings) != 0 {
			t.Errorf("%q: %v, %q", text, c.L2TP.PlainPeers, c.Warnings)
		}
	}
}

func TestPlainPeersRefused(t *testing.T) {
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprintf("10.%d.0.0/16", i))
	}
	for text, want := range map[string]string{
		"l2tp: {plain_peers: 0.0.0.0/0}\n":                                                 `t.yaml:7:21: l2tp.plain_peers: found "0.0.0.0/0", expected a trusted network: at least 8 bits`,
		"l2tp: {plain_peers: 10.0.0.1/8}\n":                                                `t.yaml:7:21: l2tp.plain_peers: found "10.0.0.1/8", expected a prefix without host bits; did you mean 10.0.0.0/8?`,
		"l2tp: {plain_peers: lac.example.net}\n":                                           `t.yaml:7:21: l2tp.plain_peers: found "lac.example.net", expected a prefix or address`,
		"l2tp: {plain_peers: [10.0.0.0/8, 10.0.0.0/8]}\n":                                  `t.yaml:7:34: l2tp.plain_peers[1]: found 10.0.0.0/8 for the second time`,
		"l2tp: {plain_peers: [" + strings.Join(many, ", ") + "]}\n":                        `t.yaml:7:21: l2tp.plain_peers: found 65 prefixes, expected at most 64`,
		"l2tp: {plain_peers: 10.0.0.0/8}\nslots: {port_base: 0x2000, port_mask: 0xE000}\n": `t.yaml:8:9: slots: found ports 8192-16383 of clients and 8192-16383 of plain tunnels, which overlap`,
		"l2tp: {plain_peers: 10.0.0.0/8}\nslots: {plain_base: 0x6000}\n":                   `t.yaml:8:9: slots: found ports 16384-32767 of clients and 24576-32767 of plain tunnels, which overlap`,
		"slots: {plain_mask: 0xA000}\n":                                                    `t.yaml:7:21: slots.plain_mask: found 0xA000, expected a mask whose ones are its leading bits`,
		"slots: {plain_base: 0x2001}\n":                                                    `t.yaml:7:21: slots.plain_base: found 0x2001, expected a port that is a multiple of 8192`,
		"slots: {plain_base: 0x1000, plain_mask: 0xF000}\n":                                `t.yaml:7:21: slots: found ports 4096-8191 overlapping with 4500`,
	} {
		_, err := Parse("t.yaml", []byte(Minimal+text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// What check lets pass, the steering table takes.
func TestAcceptedPlainBlocksServe(t *testing.T) {
	accepted := 0
	for ones := range 17 {
		mask := 0xffff << (16 - ones) & 0xffff
		for base := 0; base <= 0xffff; base += max(0x10000>>ones, 256) {
			c, err := Parse("t.yaml", []byte(fmt.Sprintf("%sslots: {plain_base: %d, plain_mask: %d}\nl2tp: {plain_peers: [10.0.0.0/8, \"fd00::/8\"]}\n", Minimal, base, mask)))
			if err != nil {
				continue
			}
			accepted++
			s := steering.Config{
				PortBase: c.Slots.PortBase, PortMask: c.Slots.PortMask,
				PlainPeers: c.L2TP.PlainPeers, PlainBase: c.Slots.PlainBase, PlainMask: c.Slots.PlainMask,
			}
			if err := s.Validate(); err != nil {
				t.Errorf("base %#x, mask %#x: %v", base, mask, err)
			}
		}
	}
	if accepted == 0 {
		t.Error("no block was accepted")
	}
}

func TestComparePlain(t *testing.T) {
	old := parse(t, Minimal)
	new := parse(t, Minimal+"l2tp: {plain_peers: 10.0.0.0/8, plain_max_tunnels: 2}\nslots: {plain_base: 0xA000}\n")
	want := []Change{
		{"l2tp.plain_max_tunnels", "64", "2", EffectReconnect},
		{"slots.plain_base", "8192", "40960", EffectRestart},
		{"l2tp.plain_peers", "nobody", "10.0.0.0/8", EffectRestart},
	}
	if diff := cmp.Diff(want, Compare(old, new)); diff != "" {
		t.Error(diff)
	}
	if c := WithoutRestart(old, new); len(c.L2TP.PlainPeers) != 0 || c.Slots != old.Slots || c.L2TP.PlainMaxTunnels != 2 {
		t.Errorf("%+v %+v", c.L2TP, c.Slots)
	}
}
