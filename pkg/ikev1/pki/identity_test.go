package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/netip"
	"strings"
	"testing"
)

func TestIdentity(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	peer := issue(t, root, "client", clientWith(func(c *x509.Certificate) {
		c.IPAddresses = append(c.IPAddresses, netip.MustParseAddr("192.0.2.7").AsSlice(), netip.MustParseAddr("2001:db8::7").AsSlice())
	}), nil)
	bare := issue(t, root, "bare.example.com", func(*x509.Certificate) {}, nil)
	nameless := issue(t, root, "", func(c *x509.Certificate) { c.Subject = pkix.Name{}; c.DNSNames = []string{"nameless.example.com"} }, nil)
	trust := newTrust(t, TrustConfig{Anchors: certs(root)})
	address := func(s string) []byte { return netip.MustParseAddr(s).AsSlice() }
	recoded := bytes.ReplaceAll(peer.cert.RawSubject, []byte("\x13\x06client"), []byte("\x0c\x06CLIENT")) // PrintableString to UTF8String
	if bytes.Equal(recoded, peer.cert.RawSubject) {
		t.Fatal("the subject is not as this test takes it to be")
	}
	for name, c := range map[string]struct {
		peer *entity
		kind uint8
		data []byte
		want Cause
	}{
		"DN":                            {peer, idDERDN, peer.cert.RawSubject, ""},
		"DN in other types and case":    {peer, idDERDN, recoded, ""},
		"DN of another":                 {peer, idDERDN, bare.cert.RawSubject, UnknownIdentity},
		"DN of the issuer":              {peer, idDERDN, root.cert.RawSubject, UnknownIdentity},
		"DN with trailing octet":        {peer, idDERDN, append(bytes.Clone(peer.cert.RawSubject), 0), Malformed},
		"DN cut":                        {peer, idDERDN, peer.cert.RawSubject[:9], Malformed},
		"DN as text":                    {peer, idDERDN, []byte("CN=client,O=Example"), Malformed},
		"empty DN":                      {nameless, idDERDN, nameless.cert.RawSubject, UnknownIdentity},
		"no DN at all":                  {peer, idDERDN, nil, Malformed},
		"DNS name":                      {peer, idFQDN, []byte("client.vpn.example.com"), ""},
		"DNS name in capitals":          {peer, idFQDN, []byte("Client.VPN.example.com"), ""},
		"DNS name of another":           {peer, idFQDN, []byte("other.vpn.example.com"), UnknownIdentity},
		"DNS name with NUL":             {peer, idFQDN, []byte("client.vpn.example.com\x00"), UnknownIdentity},
		"DNS name empty":                {peer, idFQDN, nil, UnknownIdentity},
		"CN is no DNS name":             {bare, idFQDN, []byte("bare.example.com"), UnknownIdentity},
		"certificate without DN by DNS": {nameless, idFQDN, []byte("nameless.example.com"), ""},
		"email":                         {peer, idUserFQDN, []byte("alice@EXAMPLE.com"), ""},
		"email of another":              {peer, idUserFQDN, []byte("mallory@example.com"), UnknownIdentity},
		"email in capitals":             {peer, idUserFQDN, []byte("ALICE@example.com"), UnknownIdentity},
		"email without host":            {peer, idUserFQDN, []byte("alice"), UnknownIdentity},
		"IPv4":                          {peer, idIPv4Addr, address("192.0.2.7"), ""},
		"IPv4 of another":               {peer, idIPv4Addr, address("192.0.2.8"), UnknownIdentity},
		"IPv4 of 16 octets":             {peer, idIPv4Addr, address("::ffff:192.0.2.7"), Malformed},
		"IPv4 of 3 octets":              {peer, idIPv4Addr, []byte{192, 0, 2}, Malformed},
		"IPv6":                          {peer, idIPv6Addr, address("2001:db8::7"), ""},
		"IPv6 of another":               {peer, idIPv6Addr, address("2001:db8::8"), UnknownIdentity},
		"IPv6 of 4 octets":              {peer, idIPv6Addr, address("192.0.2.7"), Malformed},
		"key ID":                        {peer, 11, []byte("group"), UnknownIdentity},
		"subnet":                        {peer, 4, make([]byte, 8), UnknownIdentity},
		"general name":                  {peer, 10, peer.cert.RawSubject, UnknownIdentity},
		"type 0":                        {peer, 0, nil, UnknownIdentity},
		"address without one":           {bare, idIPv4Addr, address("192.0.2.7"), UnknownIdentity},
	} {
		t.Run(name, func(t *testing.T) {
			claim := claimOf(t, c.peer)
			claim.IdentityType, claim.Identity = c.kind, c.data
			_, err := trust.Authenticate(t.Context(), claim)
			wantCause(t, err, c.want)
		})
	}
}

func TestRules(t *testing.T) {
	cert := issue(t, nil, "Alice Liddell", clientWith(func(c *x509.Certificate) {
		c.Subject.OrganizationalUnit = []string{"Sales", "Field, North"}
		c.IPAddresses = append(c.IPAddresses, netip.MustParseAddr("192.0.2.7").AsSlice())
	}), nil).cert
	for rule, want := range map[string]bool{
		"CN=*":                            true,
		"CN=*,O=Example":                  true,
		"o = example , cn = alice*":       true,
		"CN=Alice  liddell":               true,
		"CN=A*e*L*l":                      true,
		"CN=*Alice Liddell*":              true,
		"CN=Alice":                        false,
		"CN=*x*":                          false,
		"CN=Alice LiddellAlice Liddell*":  false,
		"CN=*,O=Example,OU=Sales":         true,
		`OU=field\, north`:                true,
		"OU=Sales,OU=Field*":              true,
		"OU=Purchase":                     false,
		"CN=*,C=*":                        false,
		"2.5.4.10=Example":                true,
		"2.5.4.99=*":                      false,
		"E=alice@example.com":             false, // an attribute of the DN, not the alternative name
		"emailAddress=*":                  false,
		"*.vpn.example.com":               true,
		"*.VPN.example.com":               true,
		"client.vpn.example.com":          true,
		"vpn.example.com":                 false,
		"*.example.com":                   true,
		"*.example.org":                   false,
		"*@example.com":                   true,
		"alice@example.com":               true,
		"bob@example.com":                 false,
		"*@*.example.com":                 false,
		"192.0.2.0/24":                    true,
		"192.0.2.99/24":                   true,
		"192.0.2.7":                       true,
		"192.0.2.8":                       false,
		"2001:db8::/32":                   false,
		"::ffff:192.0.2.7":                true,
		"CN=Alice Liddell,CN=Another CN":  false,
		"CN=Alice Liddell,CN=Alice*":      true,
		"CN=**,O=*":                       true,
		"CN=Alice Liddell,O=Example,ST=x": false,
	} {
		r, err := ParseRule(rule)
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		if r.allows(cert) != want {
			t.Errorf("rule %s allows: %t, want %t", rule, !want, want)
		}
		if r.String() != rule {
			t.Errorf("rule %s is written %s", rule, r)
		}
	}
	for _, rule := range []string{"", " ", "CN=", "=x", "CN=a,O", "NOSUCH=a", "1=a", "300.1.1.1/8", "a b", "fe80::1%eth0"} {
		if r, err := ParseRule(rule); err == nil {
			t.Errorf("rule %q was read as %+v", rule, r)
		}
	}
	if (Rule{}).allows(cert) {
		t.Error("a rule that was never read allows")
	}
}

// TestAllowOfClaim: the rules of a claim come on top of those of the trust.
func TestAllowOfClaim(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	rules := func(list ...string) (out []Rule) {
		for _, s := range list {
			rule, err := ParseRule(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, rule)
		}
		return out
	}
	trust := newTrust(t, TrustConfig{Anchors: certs(root), Allow: rules("CN=site*")})
	for name, want := range map[string]Cause{"site a": "", "site b": UnknownIdentity, "alice": UnknownIdentity} {
		claim := claimOf(t, issue(t, root, name, client, nil))
		claim.Allow = rules("CN=site a", "CN=alice")
		_, err := trust.Authenticate(t.Context(), claim)
		wantCause(t, err, want)
	}
}

func TestAllow(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	claim := claimOf(t, issue(t, root, "client", client, nil))
	for rules, want := range map[string]Cause{
		"CN=nobody":                   UnknownIdentity,
		"CN=nobody;*.example.org":     UnknownIdentity,
		"CN=nobody;*.vpn.example.com": "",
		"CN=client":                   "",
	} {
		config := TrustConfig{Anchors: certs(root)}
		for s := range strings.SplitSeq(rules, ";") {
			r, err := ParseRule(s)
			if err != nil {
				t.Fatal(err)
			}
			config.Allow = append(config.Allow, r)
		}
		_, err := newTrust(t, config).Authenticate(t.Context(), claim)
		wantCause(t, err, want)
	}
}

// TestNamesArePrintable puts into a certificate what must not reach a log as it is.
func TestNamesArePrintable(t *testing.T) {
	root := issue(t, nil, "Root", authority, nil)
	evil := issue(t, root, "x\n\x1b[31m,O=Trusted\u202e"+strings.Repeat("y", 1000), client, nil)
	trust := newTrust(t, TrustConfig{Anchors: certs(root)})
	peer, err := trust.Authenticate(t.Context(), claimOf(t, evil))
	wantCause(t, err, "")
	if want := `CN=x\0A\1B[31m\,O\=Trusted\E2\80\AEyyy`; !strings.HasPrefix(peer.Subject, want) || len(peer.Subject) > maxPrinted+3 {
		t.Errorf("subject %q", peer.Subject)
	}
	claim := claimOf(t, evil)
	claim.IdentityType, claim.Identity = idFQDN, []byte("a\nb\xff\x00"+strings.Repeat("z", 60000))
	_, err = trust.Authenticate(t.Context(), claim)
	wantCause(t, err, UnknownIdentity)
	if s := err.Error(); len(s) > 2000 || strings.ContainsAny(s, "\n\x00\x1b") || !strings.Contains(s, `a\0Ab`) {
		t.Errorf("error %q", s)
	}
	if name := printName([]byte{1, 2, 3}); name != "unreadable name" {
		t.Error(name)
	}
	if name := printName([]byte{0x30, 0}); name != "empty name" {
		t.Error(name)
	}
}
