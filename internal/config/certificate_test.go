package config

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

const (
	year = 365 * 24 * time.Hour
	own  = "  certificates: [{certificate: own.pem, key: own.key}]\n"
	both = own + "  authorities: ca.pem\n"
)

func TestCertificates(t *testing.T) {
	a := newAuthority(t, nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec := ecKey(t, elliptic.P384()).(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key   crypto.Signer
		block *pem.Block
	}{
		"PKCS#8, RSA":   {rsaKey, pkcs8(t, rsaKey)},
		"PKCS#1":        {rsaKey, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		"PKCS#8, ECDSA": {ec, pkcs8(t, ec)},
		"SEC 1":         {ec, block("EC PRIVATE KEY", sec1)},
	} {
		leaf := a.leaf(test.key.Public(), year)
		a.pem("own.pem", 0o644, leaf, block("CERTIFICATE", a.cert.Raw))
		a.pem("own.key", 0o600, block("EC PARAMETERS", []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22}), test.block)
		c, errs := a.load(both)
		if c == nil {
			t.Errorf("%s: %s", name, errs)
			continue
		}
		if len(c.Warnings) > 0 {
			t.Errorf("%s: warnings %q", name, c.Warnings)
		}
		own := c.IKE.Certificates[0]
		if chain := own.Chain(); len(chain) != 1 || !bytes.Equal(chain[0], leaf.Bytes) || len(c.IKE.Authorities) != 1 || !c.IKE.Authorities[0].Equal(a.cert) {
			t.Errorf("%s: %d certificates, %d authorities", name, len(chain), len(c.IKE.Authorities))
		}
		hash := make([]byte, 20)
		if h := own.Method().Hash(); h != 0 {
			hash = make([]byte, h.Size())
		}
		signature, err := own.Sign(rand.Reader, hash)
		if err == nil {
			err = pki.Verify(own.Method(), test.key.Public(), hash, signature)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(c.IKE.Keys) != 0 {
			t.Errorf("%s: has a pre-shared key", name)
		}
	}
}

func TestCertificateErrors(t *testing.T) {
	a := newAuthority(t, nil)
	key, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	expired := func(c *x509.Certificate) {
		c.NotAfter = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
		c.NotBefore = c.NotAfter.Add(-year)
	}
	a.pem("own.pem", 0o644, a.leaf(key.Public(), year))
	a.pem("own.key", 0o600, pkcs8(t, key))
	a.pem("other.key", 0o600, pkcs8(t, other))
	a.pem("expired.pem", 0o644, a.leaf(key.Public(), year, expired))
	a.pem("mixed.pem", 0o644, a.leaf(key.Public(), year), a.leaf(other.Public(), year))
	a.pem("ed.pem", 0o644, a.leaf(edKey.Public(), year))
	a.pem("ed.key", 0o600, pkcs8(t, edKey))
	a.pem("small.pem", 0o644, a.leaf(small.Public(), year))
	a.pem("small.key", 0o600, pkcs8(t, small))
	a.pem("encrypted.key", 0o600, block("ENCRYPTED PRIVATE KEY", []byte{0x30, 0}))
	a.pem("old.key", 0o600, &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{0}})
	a.pem("garbage.key", 0o600, block("PRIVATE KEY", []byte("canary")))
	a.pem("garbage.pem", 0o644, block("CERTIFICATE", []byte{0x30, 0}))
	a.file("empty", 0o600, nil)
	a.file("leaf.der", 0o644, a.leaf(key.Public(), year).Bytes)
	a.file("bad.crl", 0o644, []byte("no CRL"))
	nine := make([]*pem.Block, 9)
	for i := range nine {
		nine[i] = a.leaf(key.Public(), year)
	}
	a.pem("nine.pem", 0o644, nine...)
	with := func(certificate, key string) string {
		return "  certificates: [{certificate: " + certificate + ", key: " + key + "}]\n  authorities: ca.pem\n"
	}
	const psk = "  psk: 0123456789012345678901234\n"
	for name, test := range map[string]struct{ ike, want string }{
		"no authorities":  {own, "2:17: ike.certificates: found no authorities beside it, expected authorities: the certificates"},
		"no certificates": {"  authorities: [ca.pem]\n", "2:16: ike.authorities: found no certificates beside it, expected certificates: our own"},
		"a mapping":       {"  certificates: {certificate: own.pem}\n  authorities: ca.pem\n", "2:18: ike.certificates: found a mapping, expected a list of certificates with certificate and key"},
		"no key":          {"  certificates: [{certificate: own.pem}]\n  authorities: ca.pem\n", "2:19: ike.certificates[0]: found no key, expected key: the path of a file in PEM"},
		"key not there":   {with("own.pem", "none.key"), `2:46: ike.certificates[0].key: found "DIR/none.key", which cannot be read (no such file or directory), expected the path of a file that can be read`},
		"another key":     {with("own.pem", "other.key"), `2:46: ike.certificates[0].key: found the key of another certificate, expected the private key of "CN=vpn.example.com"`},
		"expired":         {with("expired.pem", "own.key"), `2:32: ike.certificates[0].certificate: found certificate "CN=vpn.example.com" in "DIR/expired.pem", which expired on 2026-01-02 03:04 UTC, expected a certificate that is valid: renew it`},
		"no chain":        {with("mixed.pem", "own.key"), `2:32: ike.certificates[0].certificate: found "DIR/mixed.pem", which cannot be used (certificate CN=vpn.example.com is not issued by CN=vpn.example.com, which follows it`},
		"nine":            {with("nine.pem", "own.key"), `2:32: ike.certificates[0].certificate: found "DIR/nine.pem", which cannot be used (9 certificates: peers take at most 8`},
		"Ed25519":         {with("ed.pem", "ed.key"), `2:32: ike.certificates[0].certificate: found "DIR/ed.pem", which cannot be used (no method of IKEv1 signs with a key of kind`},
		"Ed25519 key":     {with("own.pem", "ed.key"), `2:46: ike.certificates[0].key: found the key of another certificate, expected the private key of "CN=vpn.example.com"`},
		"RSA-1024":        {with("small.pem", "small.key"), `2:32: ike.certificates[0].certificate: found "DIR/small.pem", which cannot be used (RSA key of 1024 bits: 2048 to 4096 are wanted), expected our own certificate`},
		"encrypted":       {with("own.pem", "encrypted.key"), `2:46: ike.certificates[0].key: found "DIR/encrypted.key", which cannot be used (the private key is encrypted`},
		"encrypted, old":  {with("own.pem", "old.key"), `2:46: ike.certificates[0].key: found "DIR/old.key", which cannot be used (the private key is encrypted`},
		"garbage key":     {with("own.pem", "garbage.key"), `2:46: ike.certificates[0].key: found "DIR/garbage.key", which cannot be used (the private key cannot be read`},
		"no key in it":    {with("own.pem", "own.pem"), `2:46: ike.certificates[0].key: found "DIR/own.pem", which cannot be used (no PRIVATE KEY block`},
		"no PEM":          {with("leaf.der", "own.key"), `2:32: ike.certificates[0].certificate: found "DIR/leaf.der", which cannot be used (no CERTIFICATE block`},
		"empty":           {with("empty", "own.key"), `2:32: ike.certificates[0].certificate: found "DIR/empty", which cannot be used (no CERTIFICATE block`},
		"garbage":         {with("garbage.pem", "own.key"), `2:32: ike.certificates[0].certificate: found "DIR/garbage.pem", which cannot be used (certificate 1 of the PEM file: x509`},
		"leaf as CA":      {own + "  authorities: small.pem\n", `3:16: ike.authorities: found "DIR/small.pem", which cannot be used (trust anchor CN=vpn.example.com: a key of kind`},
		"no CA file":      {own + "  authorities: [ca.pem, none.pem]\n", `3:25: ike.authorities[1]: found "DIR/none.pem", which cannot be read`},
		"revocation":      {both + "  revocation: hard\n", `4:15: ike.revocation: found "hard", expected one of strict, soft, off`},
		"nobody to ask":   {both + "  revocation: strict\n  certificate_urls: false\n", `5:21: ike.revocation: found strict without crls, ocsp or certificate_urls, so that nobody could connect, expected a source to ask`},
		"ldap":            {both + "  crls: [\"ldap://ca.example.com/crl\"]\n", `4:10: ike.crls[0]: found "ldap://ca.example.com/crl", expected an http or https URL`},
		"no CRL":          {both + "  crls: bad.crl\n", `4:9: ike.crls: found "DIR/bad.crl", which is no CRL (`},
		"twice the CRL":   {both + "  crls: [\"http://a.example/c\", \"http://a.example/c\"]\n", `4:32: ike.crls[1]: found "http://a.example/c" for the second time, expected each CRL once`},
		"URL with user":   {both + "  ocsp: \"http://user:canary@ocsp.example.com\"\n", `4:9: ike.ocsp: found a URL with a user name, expected a URL without`},
		"no URL":          {both + "  ocsp: ocsp.example.com\n", `4:9: ike.ocsp: found "ocsp.example.com", expected an http or https URL`},
		"allow nothing":   {both + "  allow: []\n", `4:10: ike.allow: found an empty list, expected a list of names`},
		"allow a mapping": {both + "  allow: [{a: b}]\n", `4:12: ike.allow[0]: found a mapping, expected a name such as`},
		"allow what":      {both + "  allow: [\"FOO=bar\"]\n", `4:11: ike.allow[0]: found a name that cannot be used (rule "FOO=bar": "FOO" is not the name of a DN part`},
		"allow twice":     {both + "  allow: [a.example, a.example]\n", `4:22: ike.allow[1]: found "a.example" for the second time, expected each name once`},
		"with psk":        {psk + own, "3:17: ike.certificates: found no authorities beside it"},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := a.load(test.ike)
			if !strings.HasPrefix(got, "DIR/t.yaml:"+test.want) || strings.Contains(got, "\n") {
				t.Errorf("\ngot  %s\nwant DIR/t.yaml:%s", got, test.want)
			}
			if strings.Contains(got, "canary") {
				t.Error("shows a secret")
			}
		})
	}
}

func TestCertificateWarnings(t *testing.T) {
	a := newAuthority(t, nil)
	key := ecKey(t, elliptic.P256())
	soon := time.Now().Add(20 * 24 * time.Hour)
	a.pem("own.pem", 0o644, a.leaf(key.Public(), 20*24*time.Hour))
	a.pem("own.key", 0o644, pkcs8(t, key))
	later := time.Now().Add(year / 2)
	a.pem("later.pem", 0o644, a.leaf(key.Public(), year, func(c *x509.Certificate) { c.NotBefore = later }))
	old := newAuthority(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	})
	a.pem("cas.pem", 0o644, block("CERTIFICATE", old.cert.Raw), block("CERTIFICATE", a.cert.Raw))
	a.pem("old.pem", 0o644, block("CERTIFICATE", old.cert.Raw))
	a.file("old.crl", 0o644, a.crl(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)))
	for name, test := range map[string]struct {
		ike  string
		want []string
	}{
		"soon": {both, []string{
			`2:32: ike.certificates[0].certificate: certificate "CN=vpn.example.com" expires on ` + date(soon) + `: renew it`,
			`2:46: ike.certificates[0].key: every user of this machine can read DIR/own.key; chmod 0600 it`}},
		"two of a kind": {"  certificates: [{certificate: own.pem, key: own.key}, {certificate: own.pem, key: own.key}]\n  authorities: ca.pem\n", []string{
			`2:57: ike.certificates[1]: ecdsa256 CN=vpn.example.com is never used: one before it has a key of the same kind`}},
		"later": {"  certificates: [{certificate: later.pem, key: own.key}]\n  authorities: ca.pem\n", []string{
			`2:32: ike.certificates[0].certificate: certificate "CN=vpn.example.com" is valid only from ` + date(later) + ` on; is the clock of this machine right?`,
			`2:48: ike.certificates[0].key: every user of this machine can read DIR/own.key; chmod 0600 it`}},
		"an old CA": {"  authorities: [cas.pem]\n" + own, []string{
			`2:17: ike.authorities[0]: CA certificate "CN=test CA" expired on 2025-01-01 00:00 UTC: clients with certificates of it are refused`}},
		"an old CRL":   {both + "  crls: old.crl\n", []string{`4:9: ike.crls: the CRL of "CN=test CA" was to be replaced by 2026-02-01 00:00 UTC: renew it`}},
		"a leaf as CA": {own + "  authorities: own.pem\n", []string{`3:16: ike.authorities: "CN=vpn.example.com" is not the certificate of a CA: only who has this very certificate is let in`}},
		"off":          {both + "  revocation: off\n", []string{`4:15: ike.revocation: off: whoever stole a certificate and its key can connect until it expires`}},
		"off and URL": {both + "  revocation: off\n  ocsp: \"http://ocsp.example.com\"\n", []string{
			`4:15: ike.revocation: off: crls and ocsp have no effect`}},
		"no effect": {"  psk: 0123456789012345678901234\n  allow: \"*.example.com\"\n  revocation: strict\n  ocsp: \"http://ocsp.example.com\"\n", []string{
			`3:10: ike.allow: has no effect without certificates and authorities`, `4:15: ike.revocation: has no effect without certificates and authorities`,
			`5:9: ike.ocsp: has no effect without certificates and authorities`}},
	} {
		t.Run(name, func(t *testing.T) {
			c, errs := a.load(test.ike)
			if c == nil {
				t.Fatal(errs)
			}
			for _, want := range test.want {
				found := false
				for _, got := range c.Warnings {
					found = found || got == "DIR/t.yaml:"+want
				}
				if !found {
					t.Errorf("no warning %s in\n%s", want, strings.Join(c.Warnings, "\n"))
				}
			}
		})
	}
	if _, got := a.load(own + "  authorities: [old.pem]\n"); !strings.HasPrefix(got, `DIR/t.yaml:3:16: ike.authorities: found only certificates that expired, expected a CA certificate that is valid`) {
		t.Errorf("only an old CA: %s", got)
	}
}

func TestRevocationSettings(t *testing.T) {
	a := newAuthority(t, nil)
	key := ecKey(t, elliptic.P521())
	a.pem("own.pem", 0o644, a.leaf(key.Public(), year), pkcs8(t, key)) // key and certificate in one file
	crl := a.crl(time.Now().Add(year))
	a.file("ca.crl", 0o644, crl)
	a.pem("crl.pem", 0o644, block("X509 CRL", crl))
	c, errs := a.load(`  certificates:
    - certificate: own.pem
      key: own.pem
  authorities: ca.pem
  allow: ["CN=*, O=Example", "*.vpn.example.com", "*@example.com"]
  revocation: strict
  crls: [ca.crl, crl.pem, "https://pki.example.com/ca.crl"]
  ocsp: http://ocsp.example.com/
  certificate_urls: false
`)
	if c == nil {
		t.Fatal(errs)
	}
	want := Revocation{Mode: RevocationStrict, CRLs: []string{a.dir + "/ca.crl", a.dir + "/crl.pem", "https://pki.example.com/ca.crl"}, OCSP: "http://ocsp.example.com/"}
	if diff := cmp.Diff(want, c.IKE.Revocation); diff != "" {
		t.Error(diff)
	}
	if got := fmt.Sprint(c.IKE.Allow); got != "[CN=*, O=Example *.vpn.example.com *@example.com]" {
		t.Error(got)
	}
}

// A private key must not be seen in any formatting of the configuration.
func TestPrivateKeysStayHidden(t *testing.T) {
	a := newAuthority(t, nil)
	key := ecKey(t, elliptic.P256()).(*ecdsa.PrivateKey)
	a.pem("own.pem", 0o644, a.leaf(key.Public(), year))
	a.pem("own.key", 0o600, pkcs8(t, key))
	c, errs := a.load(both)
	if c == nil {
		t.Fatal(errs)
	}
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	js, err := json.Marshal(c.IKE)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(js)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, *c), fmt.Sprintf(verb, c.IKE.Certificates), fmt.Sprintf(verb, c.IKE.Certificates[0]))
	}
	for _, text := range texts {
		if strings.Contains(text, new(big.Int).SetBytes(raw).String()) || strings.Contains(text, fmt.Sprintf("%x", raw)) {
			t.Errorf("shows the key: %s", text)
		}
	}
}

// What the reference file has in comments is right, too.
func TestReferenceCertificates(t *testing.T) {
	text, err := os.ReadFile("../../configs/l2tpctl.reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	a := newAuthority(t, nil)
	key := ecKey(t, elliptic.P256())
	a.pem("server.pem", 0o644, a.leaf(key.Public(), year))
	a.pem("server.key", 0o600, pkcs8(t, key))
	a.file("ca.crl", 0o644, a.crl(time.Now().Add(year)))
	commented := regexp.MustCompile(`(?m)^  # ((?:  - |    )?[a-z_]+:)`)
	uncommented := commented.ReplaceAll(text, []byte("  $1"))
	uncommented = bytes.ReplaceAll(uncommented, []byte("  psk_file:"), []byte("  # psk_file:")) // beside psk
	uncommented = bytes.ReplaceAll(uncommented, []byte("  group: "), []byte("  # group: "))     // may not exist
	uncommented = bytes.ReplaceAll(uncommented, []byte("/etc/l2tpctl"), []byte(a.dir))
	c, err := Parse("t.yaml", uncommented)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.IKE.Groups) != 1 || len(c.IKE.Certificates) != 1 || len(c.IKE.Authorities) != 1 || len(c.IKE.Allow) != 3 || len(c.IKE.Revocation.CRLs) != 2 || c.IKE.Revocation.OCSP == "" {
		t.Errorf("%+v", c.IKE)
	}
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0], `ike.groups[0]: Aggressive Mode is on for "sales"`) || !strings.Contains(c.Warnings[1], "l2tp.plain_peers: ") {
		t.Errorf("warnings %q", c.Warnings)
	}
}
