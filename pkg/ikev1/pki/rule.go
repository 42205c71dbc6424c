package pki

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Rule allows peers by what their certificate says. Make one with [ParseRule].
type Rule struct {
	text   string
	name   []attribute  // of the subject
	prefix netip.Prefix // of a SAN address
	email  string       // pattern of a SAN email address
	dns    string       // pattern of a SAN DNS name
}

// ParseRule reads a rule:
//
//   - "CN=*,O=Example": every part named must be in the subject, in whatever order; "\," stands for a comma. Parts are the short names
//     of RFC 4514, E (emailAddress), SERIALNUMBER, or dotted OIDs.
//   - "*.vpn.example.com": a DNS name of the subject alternative names.
//   - "*@example.com": an email address of the subject alternative names.
//   - "192.0.2.0/24", "2001:db8::1": an address of the subject alternative names.
//
// "*" stands for any number of any characters, dots included. Case is of no account.
func ParseRule(s string) (Rule, error) {
	s = strings.TrimSpace(s)
	r := Rule{text: s}
	if s == "" {
		return Rule{}, fmt.Errorf("empty rule: write \"*\" patterns such as \"CN=*,O=Example\" or \"*.vpn.example.com\"")
	}
	if strings.Contains(s, "=") {
		name, err := parseNamePattern(s)
		if err != nil {
			return Rule{}, fmt.Errorf("rule %q: %w", s, err)
		}
		r.name = name
		return r, nil
	}
	if prefix, err := netip.ParsePrefix(s); err == nil {
		r.prefix = prefix.Masked()
		return r, nil
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		r.prefix = netip.PrefixFrom(addr, addr.BitLen())
		return r, nil
	}
	if strings.ContainsAny(s, " ,/:") {
		return Rule{}, fmt.Errorf("rule %q is neither a DN pattern, a DNS name, an email address nor an address prefix", s)
	}
	if strings.Contains(s, "@") {
		r.email = strings.ToLower(s)
	} else {
		r.dns = strings.ToLower(s)
	}
	return r, nil
}

// String returns the rule as it was written.
func (r Rule) String() string { return r.text }

// parseNamePattern reads "CN=*,O=Example".
func parseNamePattern(s string) ([]attribute, error) {
	var out []attribute
	for _, part := range splitEscaped(s) {
		kind, value, ok := strings.Cut(part, "=")
		kind, value = strings.TrimSpace(kind), strings.TrimSpace(value)
		if !ok || value == "" {
			return nil, fmt.Errorf("%q is not of the form CN=value", part)
		}
		oid, ok := attributeOID(kind)
		if !ok {
			return nil, fmt.Errorf("%q is not the name of a DN part: use CN, O, OU, C, L, ST, DC, UID, E, SERIALNUMBER or an OID", kind)
		}
		out = append(out, attribute{kind: oid, value: fold(value)})
	}
	return out, nil
}

// splitEscaped cuts at commas; a backslash takes the meaning from the character after it.
func splitEscaped(s string) []string {
	var parts []string
	var b strings.Builder
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == ',':
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteRune(r)
		}
	}
	return append(parts, b.String())
}

func attributeOID(kind string) (string, bool) {
	if strings.EqualFold(kind, "emailAddress") {
		kind = "E"
	}
	for oid, short := range attributeNames {
		if strings.EqualFold(short, kind) {
			return oid, true
		}
	}
	dotted := len(kind) > 2 && strings.Contains(kind, ".") && strings.Trim(kind, "0123456789.") == ""
	return kind, dotted
}

// allows tells whether a certificate fits the rule.
func (r Rule) allows(cert *x509.Certificate) bool {
	switch {
	case r.name != nil:
		return r.allowsName(cert.RawSubject)
	case r.prefix.IsValid():
		return slices.ContainsFunc(addresses(cert), r.prefix.Contains)
	case r.email != "":
		return slices.ContainsFunc(cert.EmailAddresses, func(s string) bool { return glob(r.email, strings.ToLower(s)) })
	case r.dns != "":
		return slices.ContainsFunc(cert.DNSNames, func(s string) bool { return glob(r.dns, strings.ToLower(s)) })
	}
	return false
}

func (r Rule) allowsName(der []byte) bool {
	name, err := parseName(der)
	if err != nil {
		return false
	}
	has := slices.Concat(name...)
	for _, want := range r.name {
		if !slices.ContainsFunc(has, func(a attribute) bool { return a.kind == want.kind && !a.der && glob(want.value, fold(a.value)) }) {
			return false
		}
	}
	return true
}

// glob matches a text against a pattern whose "*" stand for any characters. It never goes back behind a part that it found.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	rest, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// addresses returns the addresses of the subject alternative names.
func addresses(cert *x509.Certificate) []netip.Addr {
	var out []netip.Addr
	for _, ip := range cert.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			out = append(out, addr.Unmap())
		}
	}
	return out
}
