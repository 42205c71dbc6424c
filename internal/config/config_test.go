package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("t.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMinimalHasDefaults(t *testing.T) {
	got := parse(t, Minimal)
	psk := Secret("replace-this-by-a-long-random-string")
	want := &Config{
		Path: "t.yaml",
		IKE: IKE{
			Keys:        []Key{{netip.MustParsePrefix("0.0.0.0/0"), psk}, {netip.MustParsePrefix("::/0"), psk}},
			DPDInterval: 30 * time.Second, DPDTimeout: 2 * time.Minute,
			Profile: ProfileCompatible, Lifetime: 24 * time.Hour, ESPLifetime: 24 * time.Hour, SHA256Truncation: TruncateOff, Offload: OffloadAuto,
			Revocation:  Revocation{Mode: RevocationSoft, CertificateURLs: true},
			HalfOpenMax: 1000, HalfOpenUnproved: 32768, HalfOpenPerAddr: 64, HalfOpenTimeout: 30 * time.Second, MaxChildren: 8,
			MaxClientsPerAddr: 1024,
		},
		L2TP: L2TP{HelloInterval: time.Minute, MaxSessions: 4, PlainMaxTunnels: 64},
		PPP: PPP{
			LocalAddress: netip.MustParseAddr("10.99.0.1"), MTU: 1400, Auth: []AuthMethod{MSCHAPv2},
			EchoInterval: 30 * time.Second, EchoFailures: 4,
		},
		Users:           []User{{Name: "alice", Password: "replace-this-too"}},
		Pool:            ranges(t, "10.99.0.2-10.99.0.254"),
		Listen:          []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()},
		Slots:           Slots{Tag: 0x1701, PortBase: 16384, PortMask: 0xC000, PlainBase: 8192, PlainMask: 0xE000},
		InterfacePrefix: "l2t",
		Control:         Control{Socket: "/run/l2tpctl/control.sock"},
		Log:             Log{Level: "info", Format: "console"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.IgnoreFields(L2TP{}, "HostName")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got.L2TP.HostName == "" {
		t.Error("no host name")
	}
}

func TestReferenceFile(t *testing.T) {
	data, err := os.ReadFile("../../configs/l2tpctl.reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, string(data))
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
	if want := ranges(t, "10.99.0.2-10.99.0.9", "10.99.0.11-10.99.0.254", "10.99.4.10-10.99.4.99"); !slices.Equal(c.Pool, want) {
		t.Errorf("pool %v, want %v", c.Pool, want)
	}
	for peer, want := range map[string]string{"203.0.113.9": "Hq6J", "::ffff:203.0.113.9": "Hq6J", "198.51.100.1": "tPwZ", "2001:db8:77::1": "uE3g", "2001:db8::1": "tPwZ"} {
		if got := string(c.IKE.PSK(netip.Addr{}, netip.MustParseAddr(peer))); !strings.HasPrefix(got, want) {
			t.Errorf("the key of %s begins with %.4s, want %s", peer, got, want)
		}
	}
}

func TestNoKeyForPeer(t *testing.T) {
	c := parse(t, "ike: {keys: [{peer: 203.0.113.0/24, psk: 0123456789012345678901}]}\npool: 10.0.0.0/24\nusers: [{name: a, password: 0012}]\n")
	if got := c.IKE.PSK(netip.Addr{}, netip.MustParseAddr("192.0.2.1")); got != nil {
		t.Errorf("%q", got)
	}
	if got := c.Users[0].Password.Reveal(); got != "0012" {
		t.Errorf("password %q lost its form", got)
	}
}

func TestForms(t *testing.T) {
	for name, text := range map[string]string{
		"byte order mark": "\ufeff" + Minimal,
		"CRLF":            strings.ReplaceAll(Minimal, "\n", "\r\n"),
		"document marks":  "# comment\n---\n" + Minimal + "...\n",
		"empty sections":  Minimal + "log:\nppp: {}\nl2tp: # later\n  # hello_interval: 1m\n",
		"block scalar":    strings.Replace(Minimal, `"replace-this-by-a-long-random-string"`, "|\n    replace-this-by-a-long-random-string", 1),
	} {
		if got := parse(t, text).IKE.Keys[0].PSK.Reveal(); got != "replace-this-by-a-long-random-string" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestErrors(t *testing.T) {
	const rest = "pool: 10.99.0.0/24\nusers: [{name: a, password: b}]\n"
	const psk = "ike: {psk: 0123456789012345678901234}\n"
	for name, test := range map[string]struct{ text, want string }{
		"empty file": {"", `t.yaml:1:1: ike: found no such key, expected a section ike with psk, psk_file, keys, groups or certificates
t.yaml:1:1: users: found no such key, expected a list of users with name and password
t.yaml:1:1: pool: found no such key, expected ` + poolForm},
		"not yaml":         {"ike: [", `t.yaml:1:6: found a syntax error (sequence end token ']' not found), expected valid YAML (is a quote missing, or a value with ':' unquoted, here or above?)`},
		"not a mapping":    {"- a\n", `t.yaml:1:1: found a list, expected a mapping with the keys ike, users,`},
		"twice the key":    {psk + rest + "pool: 10.0.0.0/24\n", `t.yaml:4:1: found a key for the second time (mapping key "pool" already defined at [2:1]), expected each key once`},
		"unknown key":      {psk + rest + "log: {levle: info}\n", `t.yaml:4:7: log: found the unknown key "levle", expected one of level, format`},
		"merge key":        {psk + rest + "<<: {a: b}\n", `t.yaml:4:1: found the unknown key "<<", expected one of ike,`},
		"unknown section":  {psk + rest + "\nlogs: 1\n", `t.yaml:5:1: found the unknown key "logs", expected one of ike, users,`},
		"empty psk":        {"ike:\n  psk: \"\"\n" + rest, `t.yaml:2:8: ike.psk: found an empty string, expected at least one character`},
		"null psk":         {"ike:\n  psk:\n" + rest, `t.yaml:2:7: ike.psk: found nothing, expected a string`},
		"no psk":           {"ike: {dpd_interval: 10s}\n" + rest, `t.yaml:1:7: ike: found no way to authenticate, expected psk, psk_file, keys, groups or certificates`},
		"two psks":         {"ike: {psk: 0123456789012345678901234, psk_file: doc.go}\n" + rest, `t.yaml:1:49: ike.psk_file: found both psk and psk_file, expected one of them`},
		"no psk file":      {"ike: {psk_file: /nonexistent/psk}\n" + rest, `t.yaml:1:17: ike.psk_file: found "/nonexistent/psk", which cannot be read (no such file or directory), expected the path of a file that can be read`},
		"bad peer":         {"ike: {keys: [{peer: 203.0.113.0/33, psk: x}]}\n" + rest, `t.yaml:1:21: ike.keys[0].peer: found "203.0.113.0/33", expected a prefix or address such as 203.0.113.0/24`},
		"host bits":        {"ike: {keys: [{peer: 203.0.113.1/24, psk: x}]}\n" + rest, `t.yaml:1:21: ike.keys[0].peer: found "203.0.113.1/24", expected a prefix without host bits; did you mean 203.0.113.0/24?`},
		"same peer":        {"ike: {keys: [{peer: 192.0.2.1, psk: x}, {peer: 192.0.2.1/32, psk: x}]}\n" + rest, `t.yaml:1:48: ike.keys[1].peer: found 192.0.2.1/32 for the second time, expected one key for each prefix`},
		"bad proposal":     {"ike: {psk: 0123456789012345678901234, proposals: [3des-sha1-modp768]}\n" + rest, `t.yaml:1:51: ike.proposals[0]: found "3des-sha1-modp768", expected ` + ikeProposalForm},
		"bad esp proposal": {"ike: {psk: 0123456789012345678901234, esp_proposals: aes128gcm16-sha1}\n" + rest, `t.yaml:1:54: ike.esp_proposals: found "aes128gcm16-sha1", expected ` + espProposalForm},
		"md5":              {"ike: {psk: 0123456789012345678901234, proposals: aes256-md5-modp2048}\n" + rest, `t.yaml:1:50: ike.proposals: found "aes256-md5-modp2048", expected something else: DES, MD5 and NULL are never accepted, in no profile and by no list`},
		"null":             {"ike: {psk: 0123456789012345678901234, esp_proposals: [aes256-sha1, null-sha1]}\n" + rest, `t.yaml:1:68: ike.esp_proposals[1]: found "null-sha1", expected something else: DES, MD5 and NULL are never accepted`},
		"profile":          {"ike: {psk: 0123456789012345678901234, profile: strong}\n" + rest, `t.yaml:1:48: ike.profile: found "strong", expected one of modern, compatible, legacy`},
		"pfs group":        {"ike: {psk: 0123456789012345678901234, pfs_groups: [modp768]}\n" + rest, `t.yaml:1:52: ike.pfs_groups[0]: found "modp768", expected a group, of modp2048|`},
		"pfs group twice":  {"ike: {psk: 0123456789012345678901234, pfs_groups: [ecp256, ECP256]}\n" + rest, `t.yaml:1:60: ike.pfs_groups[1]: found "ECP256" for the second time, expected each group once`},
		"short lifetime":   {"ike: {psk: 0123456789012345678901234, lifetime: 4m}\n" + rest, `t.yaml:1:49: ike.lifetime: found "4m", expected a duration with its unit, such as 30s, from 5m0s to 24h0m0s`},
		"long lifetime":    {"ike: {psk: 0123456789012345678901234, esp_lifetime: 25h}\n" + rest, `t.yaml:1:53: ike.esp_lifetime: found "25h", expected a duration`},
		"force":            {"ike: {psk: 0123456789012345678901234, force_encapsulation: 1}\n" + rest, `t.yaml:1:60: ike.force_encapsulation: found "1", expected true or false`},
		"sha256_96":        {"ike: {psk: 0123456789012345678901234, sha256_96: true}\n" + rest, `t.yaml:1:50: ike.sha256_96: found "true", expected one of off, android, all`},
		"groups":           {"ike: {groups: {}}\n" + rest, `t.yaml:1:15: ike.groups: found a mapping, expected a list of groups with name and psk or psk_file`},
		"group without":    {"ike: {groups: [{name: sales}]}\n" + rest, `t.yaml:1:17: ike.groups[0]: found neither or both of psk and psk_file, expected one of them`},
		"group no name":    {"ike: {groups: [{psk: 0123456789012345678901234}]}\n" + rest, `t.yaml:1:17: ike.groups[0]: found no name, expected name: the group name that the clients are set to`},
		"group empty name": {"ike: {groups: [{name: \"\", psk: x}]}\n" + rest, `t.yaml:1:23: ike.groups[0].name: found "", expected a name of 1 to 64 octets of UTF-8`},
		"group twice":      {"ike: {groups: [{name: a, psk: x}, {name: a, psk: y}]}\n" + rest, `t.yaml:1:42: ike.groups[1].name: found "a" for the second time, expected one entry for each name`},
		"group two psks":   {"ike: {groups: [{name: a, psk: x, psk_file: /nonexistent/psk}]}\n" + rest, `t.yaml:1:17: ike.groups[0]: found neither or both of psk and psk_file, expected one of them`},
		"duration":         {"ike: {psk: 0123456789012345678901234, dpd_interval: 30}\n" + rest, `t.yaml:1:53: ike.dpd_interval: found "30", expected a duration with its unit, such as 30s, from 1s to 1h0m0s, or 0 to switch it off`},
		"dpd order":        {"ike: {psk: 0123456789012345678901234, dpd_interval: 3m}\n" + rest, `t.yaml:1:53: ike.dpd_timeout: found 2m0s, expected more than dpd_interval, which is 3m0s`},
		"duplicate user":   {psk + "pool: 10.9.0.0/24\nusers:\n  - {name: a, password: b}\n  - {name: a, password: c}\n", `t.yaml:5:12: users[1].name: found "a" for the second time, expected one entry for each name`},
		"same address":     {psk + "pool: 10.9.0.0/24\nusers:\n  - {name: a, password: b, address: 10.9.0.5}\n  - {name: c, password: c, address: 10.9.0.5}\n", `t.yaml:5:37: users[1].address: found 10.9.0.5, the address of "a", expected an address of its own`},
		"our address":      {psk + "pool: 10.9.0.0/24\nusers:\n  - {name: a, password: b, address: 10.9.0.1}\n", `t.yaml:4:37: users: found 10.9.0.1, our own address (ppp.local_address), for "a", expected another address`},
		"no password":      {psk + "pool: 10.9.0.0/24\nusers:\n  - name: a\n", `t.yaml:4:5: users[0]: found neither or both of password and password_file, expected one of them`},
		"no name":          {psk + "pool: 10.9.0.0/24\nusers:\n  - password: a\n", `t.yaml:4:5: users[0]: found no name, expected name: the name that the user logs in with`},
		"users mapping":    {psk + "pool: 10.9.0.0/24\nusers: {a: b}\n", `t.yaml:3:9: users: found a mapping, expected a list of users with name and password`},
		"pool nothing":     {psk + "pool: []\nusers: [{name: a, password: b}]\n", `t.yaml:2:7: pool: found an empty list, expected ` + poolForm},
		"pool of us":       {psk + "pool: 10.9.0.1/32\nusers: [{name: a, password: b}]\n", `t.yaml:2:7: pool: found no address besides 10.9.0.1, which is our own, expected ` + poolForm},
		"pool prefix":      {psk + "pool: 10.9.0.0/240\nusers: [{name: a, password: b}]\n", `t.yaml:2:7: pool: found "10.9.0.0/240", expected ` + poolForm},
		"pool overlap":     {psk + "pool: [10.9.0.0/24, 10.9.0.9-10.9.0.10]\nusers: [{name: a, password: b}]\n", `t.yaml:2:7: pool: found 10.9.0.1-10.9.0.254 and 10.9.0.9-10.9.0.10, which overlap, expected ranges that do not overlap`},
		"pool too large":   {psk + "pool: 10.0.0.0/7\nusers: [{name: a, password: b}]\n", `t.yaml:2:7: pool: found "10.0.0.0/7", expected at most 16777216 addresses, a /8`},
		"range too large":  {psk + "pool: [10.0.0.0-12.0.0.0]\nusers: [{name: a, password: b}]\n", `t.yaml:2:8: pool[0]: found "10.0.0.0-12.0.0.0", expected at most 16777216 addresses, a /8`},
		"pool of ipv6":     {psk + "pool: \"2001:db8::/120\"\nusers: [{name: a, password: b}]\n", `t.yaml:2:7: pool: found "2001:db8::/120", expected an IPv4 prefix`},
		"no users":         {psk + "pool: 10.9.0.0/24\nusers: []\n", `t.yaml:3:8: users: found an empty list, expected a list of users with name and password`},
		"no keys":          {"ike: {keys: []}\n" + rest, `t.yaml:1:13: ike.keys: found an empty list, expected a list of keys with peer and psk or psk_file`},
		"no listen":        {psk + rest + "listen: []\n", `t.yaml:4:9: listen: found an empty list, expected a list of addresses`},
		"no proposals":     {"ike: {psk: 0123456789012345678901234, proposals: []}\n" + rest, `t.yaml:1:50: ike.proposals: found an empty list, expected a list of ` + ikeProposalForm},
		"no ESP proposals": {"ike: {psk: 0123456789012345678901234, esp_proposals: []}\n" + rest, `t.yaml:1:54: ike.esp_proposals: found an empty list, expected a list of ` + espProposalForm},
		"no auth":          {psk + rest + "ppp: {auth: []}\n", `t.yaml:4:13: ppp.auth: found an empty list, expected one or more of mschapv2, chap, pap`},
		"not UTF-8":        {"ike:\n  psk: \"é\xff\xfe0123456789012345678901234\"\n" + rest, `t.yaml:2:10: found an octet that is not UTF-8, expected text in UTF-8`},
		"UTF-16":           {"\xff\xfei\x00k\x00e\x00", `t.yaml:1:1: found an octet that is not UTF-8`},
		"open quote":       {"ike:\n  psk: \"0123456789012345678901234\n" + rest + "log: {level: \"info\"}\n", `t.yaml:5:15: found a syntax error (value is not allowed in this context. map key-value is pre-defined), expected valid YAML (is a quote missing, or a value with ':' unquoted, here or above?)`},
		"colon in a value": {"ike:\n  psk: my secret: x\n" + rest, `t.yaml:2:8: found a syntax error (mapping value is not allowed in this context), expected valid YAML (is a quote missing, or a value with ':' unquoted`},
		"bare colons":      {psk + rest + "listen: ::\n", `t.yaml:4:9: found a syntax error (mapping value is not allowed in this context), expected valid YAML (is a quote missing, or a value with ':' unquoted`},
		"dpd timeout":      {"ike: {psk: 0123456789012345678901234, dpd_interval: 300, dpd_timeout: 20s}\n" + rest, `t.yaml:1:53: ike.dpd_interval: found "300", expected a duration`},
		"two psks, one no": {"ike: {psk: 0123456789012345678901234, psk_file: /nonexistent/psk}\n" + rest, `t.yaml:1:49: ike.psk_file: found both psk and psk_file, expected one of them`},
		"key with two":     {"ike: {keys: [{peer: 192.0.2.1, psk: x, psk_file: /nonexistent/psk}]}\n" + rest, `t.yaml:1:15: ike.keys[0]: found neither or both of psk and psk_file, expected one of them`},
		"two passwords":    {psk + "pool: 10.9.0.0/24\nusers: [{name: a, password: b, password_file: /nonexistent/psk}]\n", `t.yaml:3:10: users[0]: found neither or both of password and password_file, expected one of them`},
		"slots number":     {psk + rest + "slots: {port_base: 40000, port_mask: x}\n", `t.yaml:4:38: slots.port_mask: found "x", expected a number`},
		"auth method":      {psk + rest + "ppp: {auth: [eap]}\n", `t.yaml:4:14: ppp.auth[0]: found "eap", expected one or more of mschapv2, chap, pap`},
		"three dns":        {psk + rest + "ppp: {dns: [10.0.0.1, 10.0.0.2, 10.0.0.3]}\n", `t.yaml:4:12: ppp.dns: found 3 addresses, expected at most two`},
		"dns of ipv6":      {psk + rest + "ppp: {dns: [\"2001:db8::1\"]}\n", `t.yaml:4:13: ppp.dns[0]: found "2001:db8::1", expected an IPv4 address such as 10.99.0.1`},
		"mtu":              {psk + rest + "ppp: {mtu: 9000}\n", `t.yaml:4:12: ppp.mtu: found "9000", expected a number from 576 to 1500`},
		"listen":           {psk + rest + "listen: [eth0]\n", `t.yaml:4:10: listen[0]: found "eth0", expected an address`},
		"listen overlap":   {psk + rest + "listen: [0.0.0.0, 192.0.2.1]\n", `t.yaml:4:19: listen[1]: found "192.0.2.1" besides 0.0.0.0, expected addresses whose ports do not overlap`},
		"mask with hole":   {psk + rest + "slots: {port_mask: 0xA000}\n", `t.yaml:4:20: slots.port_mask: found 0xA000, expected a mask whose ones are its leading bits, such as 0xC000`},
		"base off mask":    {psk + rest + "slots: {port_base: 20000}\n", `t.yaml:4:20: slots.port_base: found 0x4E20, expected a port that is a multiple of 16384`},
		"ports overlap":    {psk + rest + "slots: {port_base: 4096, port_mask: 0xF000}\n", `t.yaml:4:20: slots: found ports 4096-8191 overlapping with 4500, expected a block without 1701, 4500 and 65535`},
		"prefix":           {psk + rest + "interface_prefix: much-too-long\n", `t.yaml:4:19: interface_prefix: found "much-too-long", expected a lower case letter`},
		"prefix of seven":  {psk + rest + "interface_prefix: sevenxx\n", `t.yaml:4:19: interface_prefix: found "sevenxx", expected a lower case letter and up to 5 letters or digits`},
		"last port":        {psk + rest + "slots: {port_base: 0xC000}\n", `t.yaml:4:20: slots: found ports 49152-65535 overlapping with 65535, expected a block without 1701, 4500 and 65535`},
		"long name":        {psk + "pool: 10.9.0.0/24\nusers:\n  - {name: " + strings.Repeat("n", 65) + ", password: b}\n", `t.yaml:4:12: users[0].name: found "` + strings.Repeat("n", 65) + `", expected 1 to 64 octets of UTF-8 without control characters`},
		"alike names":      {psk + "pool: 10.9.0.0/24\nusers:\n  - {name: é, password: b}\n  - {name: M-CM-), password: c}\n", `t.yaml:5:12: users[1].name: found "M-CM-)", expected a name that differs from "é" in the log format of pppd`},
		"long password":    {psk + "pool: 10.9.0.0/24\nusers:\n  - {name: a, password: " + strings.Repeat("p", 129) + "}\n", `t.yaml:4:25: users[0].password: found 129 octets, expected 1 to 128 octets of UTF-8 without control characters`},
		"control password": {psk + "pool: 10.9.0.0/24\nusers:\n  - {name: a, password: \"p\\tq\"}\n", `t.yaml:4:25: users[0].password: found a control character, expected 1 to 128 octets`},
		"socket":           {psk + rest + "control: {socket: here}\n", `t.yaml:4:19: control.socket: found "here", expected an absolute path`},
		"anchor":           {psk + rest + "ppp: &x {mtu: 1400}\n", `t.yaml:4:6: ppp: found an anchor or alias, expected a mapping`},
		"second document":  {psk + rest + "---\na: b\n", `t.yaml:5:1: found a second YAML document, expected one document`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("t.yaml", []byte(test.text))
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("%v", err)
			}
			if got := err.Error(); !strings.HasPrefix(got, test.want) {
				t.Errorf("\ngot  %s\nwant %s", got, test.want)
			}
			if name != "empty file" && len(errs) != 1 {
				t.Errorf("%d errors:\n%v", len(errs), err)
			}
		})
	}
}

// What is accepted must be good enough for those who get it: `check` may not pass what `serve` then refuses.
func TestAcceptedSlotsServe(t *testing.T) {
	accepted := 0
	for ones := range 17 {
		mask := 0xffff << (16 - ones) & 0xffff
		for base := 0; base <= 0xffff; base += max(0x10000>>ones, 16) {
			text := fmt.Sprintf("%sslots: {port_base: %d, port_mask: %d}\ninterface_prefix: sixsix\n", Minimal, base, mask)
			c, err := Parse("t.yaml", []byte(text))
			if err != nil {
				continue
			}
			accepted++
			s := steering.Config{Tag: c.Slots.Tag, PortBase: c.Slots.PortBase, PortMask: c.Slots.PortMask, InterfacePrefix: c.InterfacePrefix}
			if err := s.Validate(); err != nil {
				t.Errorf("base %#x, mask %#x: %v", base, mask, err)
			}
			if err := (slot.Block{Tag: c.Slots.Tag, Base: c.Slots.PortBase, Mask: c.Slots.PortMask}).Validate(); err != nil {
				t.Errorf("base %#x, mask %#x: %v", base, mask, err)
			}
			if name := fmt.Sprintf("%s%d-999", c.InterfacePrefix, c.Slots.Last()); len(name) > 15 {
				t.Errorf("no interface can be called %s", name)
			}
		}
	}
	if accepted == 0 {
		t.Error("no block was accepted")
	}
}

func TestNoEcho(t *testing.T) {
	for value, want := range map[string]time.Duration{"0": -1, "0s": -1, "1s": time.Second} {
		if got := parse(t, Minimal+"ppp: {echo_interval: "+value+"}\n").PPP.EchoInterval; got != want {
			t.Errorf("%s: %d, want %d", value, got, want)
		}
	}
}

func TestErrorsAreCollectedInOrder(t *testing.T) {
	_, err := Parse("t.yaml", []byte("pool: x\nike: {psk: \"\"}\nlog: {level: loud}\nusers: [{name: a}]\n"))
	var places []string
	for _, line := range strings.Split(fmt.Sprint(err), "\n") {
		place, _, _ := strings.Cut(line, ": ")
		places = append(places, place)
	}
	if diff := cmp.Diff([]string{"t.yaml:1:7", "t.yaml:2:12", "t.yaml:3:14", "t.yaml:4:10"}, places); diff != "" {
		t.Errorf("%s\n%v", diff, err)
	}
	var one *Error
	if !errors.As(err, &one) || one.Line != 1 {
		t.Errorf("%#v", one)
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("psk", "a pre-shared key with a newline\n", 0o600)
	write("password", "pass \r\n", 0o644)
	write("config.yaml", "ike: {psk_file: psk}\npool: 10.0.0.0/24\nusers: [{name: a, password_file: "+dir+"/password}]\n", 0o640)
	c, err := Load(filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.IKE.Keys[0].PSK.Reveal(); got != "a pre-shared key with a newline" {
		t.Errorf("psk %q", got)
	}
	if got := c.Users[0].Password.Reveal(); got != "pass " {
		t.Errorf("password %q", got)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "config.yaml:3:34: users[0].password_file: every user of this machine can read") {
		t.Errorf("warnings %q", c.Warnings)
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestWarnings(t *testing.T) {
	c := parse(t, "ike: {psk: short, proposals: aes128-sha1-modp1024}\npool: 10.0.0.0/24\nusers: [{name: a, password: b}]\nslots: {port_base: 0x8000}\ncontrol: {group: no-such-group}\n")
	want := []string{
		"t.yaml:1:30: ike.proposals: aes128-sha1-modp1024: groups below modp2048 can be broken by a well-funded attacker",
		"t.yaml:1:12: ike.psk: the pre-shared key has 5 characters; below 20 it can be guessed offline by whoever intercepts one connection (try: openssl rand -base64 24)",
		"t.yaml:4:20: slots: ports 32768-49151 overlap with the kernel's usual range of ephemeral ports (32768-60999)",
		`t.yaml:5:18: control.group: there is no group "no-such-group": create it (groupadd --system no-such-group), or serve will refuse to start`,
	}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Error(diff)
	}
}

// A secret must not be seen in errors, warnings or any formatting of the configuration.
func TestSecretsStayHidden(t *testing.T) {
	const canary = "canary"
	c := parse(t, "ike: {psk: canary}\npool: 10.0.0.0/24\nusers: [{name: a, password: canary}]\n")
	js, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(js), strings.Join(c.Warnings, " ")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, *c), fmt.Sprintf(verb, c.IKE.Keys), fmt.Sprintf(verb, c.Users[0].Password))
	}
	for _, bad := range []string{
		"ike: {psk: [canary]}\n", "ike: {psk: canary, psk: canary}\n", "ike: {psk: \"canary}\n", "ike:\n  psk: canary\n bad: - x\n",
		"ike: {psk: canary: canary}\n", "users: [{name: a, password: {canary: canary}}]\n", "ike: {psk: *canary}\n", "ike: {psk: !!int canary}\n",
	} {
		_, err := Parse("t.yaml", []byte(bad))
		texts = append(texts, fmt.Sprint(err), fmt.Sprintf("%+v", err))
	}
	for _, text := range texts {
		if strings.Contains(text, canary) || strings.Contains(text, "63616e617279") {
			t.Errorf("shows the secret: %s", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Minimal))
	f.Add([]byte("ike: {keys: [{peer: ::/0, psk: x}]}\npool: [10.0.0.0/8, 1.2.3.4]\nusers: [{name: a, password: b, address: 10.0.0.1}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Parse("t.yaml", data); err == nil && (len(c.IKE.Keys)+len(c.IKE.Groups)+len(c.IKE.Certificates) == 0 || len(c.Users) == 0 || len(c.Listen) == 0) {
			t.Errorf("accepted without keys, users or addresses: %+v", c)
		}
	})
}
