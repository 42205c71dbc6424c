package ikev1

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// causes are the constants of cause.go.
func causes(t *testing.T) (list []Cause) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "cause.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Cause" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, Cause(value))
		}
		return true
	})
	return list
}

// TestEveryCauseIsExplained: whatever is known or not, there are words and a cure, and no blank is left open.
func TestEveryCauseIsExplained(t *testing.T) {
	all := causes(t)
	if set := Causes(); len(all) != len(set) || len(all) < 30 {
		t.Errorf("%d causes %v, %d explanations %v", len(all), all, len(set), set)
	}
	known := Facts{Client: netip.MustParseAddr("198.51.100.7"), Identity: "CN=alice", Proposal: "aes256-sha1-modp1024", Setting: "ike.half_open_max", Profile: "legacy", Limit: 9, Detail: "so it is"}
	for _, c := range all {
		if strings.ContainsFunc(string(c), func(r rune) bool { return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
			t.Errorf("%q is not in snake case", c)
		}
		for _, kind := range []string{"", kindWindows, kindAndroid, "apple", "strongswan"} {
			for _, f := range []Facts{known, {Client: known.Client}} {
				f.Kind = kind
				if text, hint := c.Explain(f); text == "" || hint == "" || strings.ContainsAny(text+hint, "{}") {
					t.Errorf("%s for %+v: %q, %q", c, f, text, hint)
				}
			}
		}
		if text, _ := c.Explain(known); !strings.Contains(text, known.Detail) && !strings.Contains(text, known.Proposal) {
			t.Errorf("%s hides what is known: %q", c, text)
		}
	}
}

func TestExplain(t *testing.T) {
	alice := netip.MustParseAddr("198.51.100.7")
	for _, c := range []struct {
		cause      Cause
		facts      Facts
		text, hint string // parts
	}{
		{CausePSKMismatch, Facts{Client: alice}, "probable PSK mismatch", "configured for 198.51.100.7"},
		{CauseWindowsBehindNAT, Facts{Detail: "message 5 did not arrive"}, "error 809", `PolicyAgent\AssumeUDPEncapsulationContextOnSendRule to 2`},
		{CauseAndroidMODP1024, Facts{}, "modp1024", "set ike.profile to legacy"},
		{CauseSHA256Truncation, Facts{Kind: kindAndroid}, "96 bits", "set ike.sha256_96 to android"},
		{CauseSHA256Truncation, Facts{Kind: "apple"}, "96 bits", "remove sha256 from ike.esp_proposals"},
		{CauseUnknownIdentity, Facts{Identity: "CN=alice, O=Example"}, "no rule allows", `add "CN=alice, O=Example" to ike.allow`},
		{CauseUnknownIdentity, Facts{}, "no rule allows", "add a rule for it"},
		{CauseUnknownIdentity, Facts{Identity: "{client}", Client: alice}, "", `add "{client}" to`}, // a peer cannot use blanks
		{CauseAggressiveMode, Facts{Kind: "apple"}, "Aggressive Mode", "clear the group name"},
		{CauseAggressiveMode, Facts{Kind: kindAndroid}, "Aggressive Mode", "clear the IPSec identifier"},
		{CauseCertificateExpired, Facts{Identity: "bob", Detail: "on 1 May"}, "has expired: on 1 May", "certificate for bob"},
		{CauseNoQuickMode, Facts{Setting: "ike.certificates", Detail: "it left"}, "after phase 1: it left", "refused the certificate of this server (ike.certificates)"},
		{CauseTooManyClients, Facts{Limit: 7}, "there are 7 clients already", "this server is full"},
	} {
		if text, hint := c.cause.Explain(c.facts); !strings.Contains(text, c.text) || !strings.Contains(hint, c.hint) {
			t.Errorf("%s for %+v: %q, %q", c.cause, c.facts, text, hint)
		}
	}
	if text, hint := Cause("news").Explain(Facts{Detail: "x"}); text != "news: x" || hint != "" {
		t.Errorf("%q, %q", text, hint)
	}
}

// TestKinds: who a client is, by its vendor IDs and, where others have the same, by its offer.
func TestKinds(t *testing.T) {
	const rfc3947, draft02, draft02n, draft03 = "\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f", "\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48",
		"\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f", "\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56"
	const appleDraft, windows8 = "\x4d\xf3\x79\x28\xe9\xfc\x4f\xd1\xb3\x26\x21\x70\xd5\x15\xc6\x62", "\x1e\x2b\x51\x69\x05\x99\x1c\x7d\x7c\x96\xfc\xbf\xb5\x87\xe4\x61\x00\x00\x00\x09"
	for _, c := range []struct {
		kind   string
		offer  []suite
		vendor []string
	}{
		{"windows", windowsPhase1, []string{windows8, rfc3947, draft02n}},
		{"apple", applePhase1, []string{rfc3947, appleDraft, draft03, draft02, draft02n}},
		{"android", androidPhase1, []string{rfc3947, draft02, draft02n, vendorDraft00}},
		{"", windowsPhase1, []string{rfc3947, draft02, draft02n, vendorDraft00}}, // an old Openswan has this vendor ID too
		{"strongswan", networkManagerPhase1, []string{vendorXAUTH, rfc3947, draft02n}},
		{"chromeos", chromeOSPhase1, []string{vendorXAUTH, rfc3947, draft02n}},
		{"libreswan", networkManagerPhase1, []string{rfc3947, draft03, draft02n, draft02}},
		{"", networkManagerPhase1, []string{rfc3947, draft02n}},
		{"", androidPhase1, nil},
	} {
		var ids [][]byte
		for _, v := range c.vendor {
			ids = append(ids, []byte(v))
		}
		if got := recognise(ids, offer1(1, c.offer...)); got.kind != c.kind {
			t.Errorf("%q: got %q", c.kind, got.kind)
		}
	}
}
