package config

import (
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpctl/l2tpctl/internal/pool"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

func TestCompare(t *testing.T) {
	const base = `ike:
  psk: 0123456789012345678901234
  keys: [{peer: 203.0.113.0/24, psk: 1123456789012345678901234}]
  groups: [{name: sales, psk: 2123456789012345678901234}]
pool: 10.9.0.0/24
users:
  - {name: alice, password: canary-one, address: 10.9.0.9}
  - {name: bob, password: canary-two}
`
	for name, c := range map[string]struct {
		old, new string // replaced in base
		want     []Change
	}{
		"nothing":  {"", "", nil},
		"psk":      {"psk: 012", "psk: 912", []Change{{"ike.psk", "", "changed", EffectNow}}},
		"key":      {"psk: 112", "psk: 912", []Change{{"ike.keys[203.0.113.0/24].psk", "", "changed", EffectNow}}},
		"peer":     {"203.0.113.0/24", "203.0.113.0/25", []Change{{"ike.keys[203.0.113.0/24].psk", "", "removed", EffectNow}, {"ike.keys[203.0.113.0/25].psk", "", "added", EffectNow}}},
		"group":    {"name: sales", "name: office", []Change{{"ike.groups[office].psk", "", "added", EffectNow}, {"ike.groups[sales].psk", "", "removed", EffectNow}}},
		"password": {"canary-two", "canary-three", []Change{{"users[bob].password", "", "changed", EffectNow}}},
		"renamed":  {"name: bob", "name: eve", []Change{{"users[eve]", "", "added", EffectNow}, {"users[bob]", "", "removed", EffectNow}}},
		// What an address of a user's own takes from the pool is no change of the pool.
		"own address": {"address: 10.9.0.9", "address: 10.9.0.7", []Change{{"users[alice].address", "10.9.0.9", "10.9.0.7", EffectNow}}},
		"of the pool": {", address: 10.9.0.9", "", []Change{{"users[alice].address", "10.9.0.9", "of the pool", EffectNow}}},
		"pool": {"10.9.0.0/24", "10.8.0.0/29", []Change{
			{"pool", "10.9.0.2-10.9.0.8, 10.9.0.10-10.9.0.254", "10.8.0.2-10.8.0.6", EffectNow},
			{"ppp.local_address", "10.9.0.1", "10.8.0.1", EffectReconnect},
		}},
		"wider pool": {"10.9.0.0/24", "[10.9.0.0/24, 10.8.0.4]", []Change{
			{"pool", "10.9.0.2-10.9.0.8, 10.9.0.10-10.9.0.254", "10.9.0.1-10.9.0.8, 10.9.0.10-10.9.0.254", EffectNow},
			{"ppp.local_address", "10.9.0.1", "10.8.0.4", EffectReconnect},
		}},
		"several": {"ike:\n", "log: {level: debug, format: json}\nlisten: 192.0.2.1\nike:\n  esp_proposals: [aes256-sha256, aes128-sha1]\n  pfs_groups: []\n  dpd_interval: 0\n", []Change{
			{"ike.esp_proposals", "those of the profile", "aes256-sha256, aes128-sha1", EffectReconnect},
			{"ike.pfs_groups", "those of the profile", "none", EffectReconnect},
			{"ike.dpd_interval", "30s", "never", EffectNow},
			{"log.level", "info", "debug", EffectNow},
			{"listen", "0.0.0.0, ::", "192.0.2.1", EffectRestart},
			{"log.format", "console", "json", EffectRestart},
		}},
	} {
		a, b := parse(t, base), parse(t, strings.Replace(base, c.old, c.new, 1))
		got := Compare(a, b)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if strings.Contains(fmt.Sprint(got), "canary") {
			t.Errorf("%s: a secret is shown: %v", name, got)
		}
		merged := WithoutRestart(a, b)
		for _, change := range Compare(a, merged) {
			if change.Effect == EffectRestart {
				t.Errorf("%s: %s counts without a restart", name, change.Key)
			}
		}
		for _, change := range Compare(merged, b) {
			if change.Effect != EffectRestart {
				t.Errorf("%s: %s does not count", name, change.Key)
			}
		}
	}
}

// TestCompareEverything changes each field of a configuration and wants to be told.
func TestCompareEverything(t *testing.T) {
	fields := 0
	var walk func(path string, index []int, kind reflect.Type)
	walk = func(path string, index []int, kind reflect.Type) {
		if kind.Kind() == reflect.Struct && kind != reflect.TypeFor[netip.Addr]() {
			for i := range kind.NumField() {
				walk(path+"."+kind.Field(i).Name, append(index[:len(index):len(index)], i), kind.Field(i).Type)
			}
			return
		}
		if path == ".Path" || path == ".Files" || path == ".Warnings" {
			return
		}
		fields++
		a, b := parse(t, Minimal), parse(t, Minimal)
		alter(t, path, reflect.ValueOf(b).Elem().FieldByIndex(index))
		if len(Compare(a, b)) == 0 {
			t.Errorf("%s: a change is not noticed", path)
		}
		if len(Compare(a, a)) != 0 {
			t.Errorf("%s: differs from itself", path)
		}
	}
	walk("", nil, reflect.TypeFor[Config]())
	if fields < 45 {
		t.Errorf("only %d fields were looked at", fields)
	}
}

// alter gives a field another value.
func alter(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch f := v.Addr().Interface().(type) {
	case *time.Duration:
		*f += time.Second
	case *netip.Addr:
		*f = netip.MustParseAddr("10.1.2.3")
	case *[]netip.Addr:
		*f = append(*f, netip.MustParseAddr("10.1.2.3"))
	case *[]netip.Prefix:
		*f = append(*f, netip.MustParsePrefix("10.0.0.0/8"))
	case *[]pool.Range:
		*f = (*f)[:0:0]
	case *[]Key:
		(*f)[1].PSK += "x"
	case *[]PSKGroup:
		*f = []PSKGroup{{Name: "x"}}
	case *[]User:
		(*f)[0].Password += "x"
	case *[]*pki.Credential:
		*f = testCertificates(t).IKE.Certificates
	case *[]*x509.Certificate:
		*f = testCertificates(t).IKE.Authorities
	case *[]pki.Rule:
		*f = make([]pki.Rule, 1)
	case *[]IKEProposal:
		*f = make([]IKEProposal, 1)
	case *[]ESPProposal:
		*f = make([]ESPProposal, 1)
	case *[]Group:
		*f = []Group{14}
	case *[]AuthMethod:
		*f = []AuthMethod{PAP}
	case *[]string:
		*f = []string{"/x.crl"}
	default:
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int:
			v.SetInt(v.Int() + 7)
		case reflect.Uint16:
			v.SetUint(v.Uint() + 1)
		default:
			t.Fatalf("%s: %s: how is that altered?", path, v.Type())
		}
	}
}

func testCertificates(t *testing.T) *Config {
	t.Helper()
	a := newAuthority(t, nil)
	key := ecKey(t, elliptic.P256())
	a.pem("own.pem", 0o644, a.leaf(key.Public(), year))
	a.pem("own.key", 0o600, pkcs8(t, key))
	c, errs := a.load(both)
	if c == nil {
		t.Fatal(errs)
	}
	return c
}

// TestCompareFiles: a certificate that was renewed in place is a change, though the text of the configuration is the same.
func TestCompareFiles(t *testing.T) {
	a := newAuthority(t, nil)
	key := ecKey(t, elliptic.P256())
	a.pem("own.pem", 0o644, a.leaf(key.Public(), year))
	a.pem("own.key", 0o600, pkcs8(t, key))
	load := func() *Config {
		t.Helper()
		c, errs := a.load(both)
		if c == nil {
			t.Fatal(errs)
		}
		return c
	}
	before := load()
	if changes := Compare(before, load()); len(changes) > 0 {
		t.Errorf("nothing was done: %v", changes)
	}
	a.pem("own.pem", 0o644, a.leaf(key.Public(), 2*year))
	changes := Compare(before, load())
	if len(changes) != 1 || changes[0].Key != "ike.certificates" || changes[0].Effect != EffectNow {
		t.Fatalf("renewed: %v", changes)
	}
	for _, text := range []string{changes[0].Old, changes[0].New} {
		if !strings.Contains(text, "CN=vpn.example.com") {
			t.Errorf("%q does not name the certificate", text)
		}
	}
}
