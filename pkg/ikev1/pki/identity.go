package pki

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
)

// The identification types that a certificate can vouch for (RFC 2407 section 4.6.2.1).
const (
	idIPv4Addr = 1
	idFQDN     = 2
	idUserFQDN = 3
	idIPv6Addr = 5
	idDERDN    = 9
)

// checkIdentity tells whether a certificate vouches for an identity (RFC 4945 section 3.1): a DN is the subject, everything else is a
// subject alternative name. The CN is never taken for a host name.
func checkIdentity(cert *x509.Certificate, kind uint8, data []byte) error {
	switch kind {
	case idDERDN:
		name, err := parseName(data)
		if err != nil {
			return fail(Malformed, "the DN of the ID payload cannot be read: %w", err)
		}
		if len(name) > 0 && sameName(data, cert.RawSubject) {
			return nil
		}
		return fail(UnknownIdentity, "the ID payload has the DN %s, which is not the subject of the certificate", printName(data))
	case idFQDN:
		if containsFold(cert.DNSNames, string(data)) {
			return nil
		}
		return notVouched("DNS name", string(data), cert.DNSNames)
	case idUserFQDN:
		if slices.ContainsFunc(cert.EmailAddresses, func(s string) bool { return sameEmail(s, string(data)) }) {
			return nil
		}
		return notVouched("email address", string(data), cert.EmailAddresses)
	case idIPv4Addr, idIPv6Addr:
		addr, ok := netip.AddrFromSlice(data)
		if !ok || addr.Is4() != (kind == idIPv4Addr) {
			return fail(Malformed, "the ID payload has an address of %d octets", len(data))
		}
		if slices.Contains(addresses(cert), addr.Unmap()) {
			return nil
		}
		var has []string
		for _, a := range addresses(cert) {
			has = append(has, a.String())
		}
		return notVouched("address", addr.String(), has)
	}
	return fail(UnknownIdentity, "an ID payload of type %d cannot be in a certificate: let the peer send its DN, DNS name, email address or address", kind)
}

func notVouched(what, id string, has []string) error {
	if len(has) == 0 {
		return fail(UnknownIdentity, "the ID payload has the %s %s; the certificate has none among its alternative names", what, printable(id))
	}
	return fail(UnknownIdentity, "the ID payload has the %s %s; the certificate has %s", what, printable(id), printable(strings.Join(has, " ")))
}

func containsFold(list []string, s string) bool {
	return s != "" && slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(s, t) })
}

// sameEmail compares the host without case and the rest octet by octet (RFC 5280 section 7.5).
func sameEmail(a, b string) bool {
	i, j := strings.LastIndexByte(a, '@'), strings.LastIndexByte(b, '@')
	return i > 0 && j > 0 && a[:i] == b[:j] && strings.EqualFold(a[i:], b[j:])
}

// alternativeNames returns the names of a certificate for display, at most maxShownNames.
func alternativeNames(cert *x509.Certificate) []string {
	const maxShownNames = 16
	var out []string
	for _, s := range slices.Concat(cert.DNSNames, cert.EmailAddresses) {
		if len(out) < maxShownNames {
			out = append(out, printable(s))
		}
	}
	for _, a := range addresses(cert) {
		if len(out) < maxShownNames {
			out = append(out, a.String())
		}
	}
	return out
}
