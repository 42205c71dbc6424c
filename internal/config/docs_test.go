package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// knownKeys asks the decoder itself: it names the keys of a section when it finds another.
func knownKeys(t *testing.T, text string) []string {
	t.Helper()
	_, err := Parse("t.yaml", []byte(text))
	if err == nil {
		t.Fatalf("accepted %q", text)
	}
	m := regexp.MustCompile(`found the unknown key "zz", expected one of (.*)`).FindStringSubmatch(err.Error())
	if m == nil {
		t.Fatalf("%q: %v", text, err)
	}
	return strings.Split(m[1], ", ")
}

func TestEveryKeyIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	reference, err := os.ReadFile("../../configs/l2tpctl.reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"zz: 1", "ike: {zz: 1}", "ike: {keys: [{zz: 1}]}", "ike: {groups: [{zz: 1}]}", "ike: {certificates: [{zz: 1}]}", "users: [{zz: 1}]", "ppp: {zz: 1}", "l2tp: {zz: 1}", "slots: {zz: 1}", "control: {zz: 1}", "log: {zz: 1}",
	} {
		for _, key := range knownKeys(t, text) {
			if !regexp.MustCompile("(`(\\w+\\.)?" + key + "`|### (.*, )?" + key + "\\b)").Match(doc) {
				t.Errorf("docs/configuration.md has no %s (of %s)", key, text)
			}
			if !regexp.MustCompile(`(?m)^[\s#-]*` + key + `:`).Match(reference) {
				t.Errorf("the reference file has no %s (of %s)", key, text)
			}
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(Minimal), "\n") {
		if !strings.Contains(string(doc), "\n"+line) {
			t.Errorf("docs/configuration.md: the minimal file lacks %q", line)
		}
	}
}
