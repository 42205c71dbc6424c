package pki

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxPrinted bounds the octets of a name in messages.
const maxPrinted = 256

// attribute is one attribute of a DN, with its value as text, or else, if it is none, its DER in hexadecimal.
type attribute struct {
	kind  string // dotted OID
	value string
	der   bool
}

// rawAttributeSET is an RDN as it is encoded; package asn1 knows by the name that it is a SET.
type rawAttributeSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributeNames are the short names of RFC 4514 section 3 and the usual ones beyond them, by OID.
var attributeNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.5":                    "SERIALNUMBER",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "STREET",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.12":                   "TITLE",
	"2.5.4.4":                    "SN",
	"2.5.4.42":                   "GN",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "E",
}

// parseName reads the DER of a DN into its RDNs.
func parseName(der []byte) ([][]attribute, error) {
	var sequence []rawAttributeSET
	if rest, err := asn1.Unmarshal(der, &sequence); err != nil {
		return nil, err
	} else if len(rest) != 0 {
		return nil, fmt.Errorf("%d octets after the name", len(rest))
	}
	name := make([][]attribute, len(sequence))
	for i, set := range sequence {
		for _, raw := range set {
			a := attribute{kind: raw.Type.String()}
			var value any
			_, err := asn1.Unmarshal(raw.Value.FullBytes, &value)
			if text, ok := value.(string); ok && err == nil {
				a.value = text
			} else {
				a.value, a.der = fmt.Sprintf("#%x", raw.Value.FullBytes), true
			}
			name[i] = append(name[i], a)
		}
	}
	return name, nil
}

// sameName tells whether two DNs are equal: octet by octet, or else in what RFC 5280 section 7.1 compares, which is neither the string
// types, nor case, nor the amount of white space.
func sameName(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := parseName(a)
	y, errY := parseName(b)
	if errX != nil || errY != nil {
		return false
	}
	return slices.EqualFunc(x, y, func(r, s []attribute) bool {
		return slices.Equal(folded(r), folded(s))
	})
}

// folded returns the attributes of an RDN in a form and an order that can be compared.
func folded(rdn []attribute) []attribute {
	out := make([]attribute, len(rdn))
	for i, a := range rdn {
		out[i] = attribute{kind: a.kind, value: fold(a.value), der: a.der}
	}
	slices.SortFunc(out, func(a, b attribute) int {
		if c := strings.Compare(a.kind, b.kind); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	return out
}

// fold makes case and white space of no account.
func fold(s string) string { return strings.Join(strings.Fields(strings.ToLower(s)), " ") }

// printName returns a DN as RFC 4514 writes it, most specific part first, fit for logs: what is not printable is escaped, and a long
// name is cut.
func printName(der []byte) string {
	name, err := parseName(der)
	if err != nil {
		return "unreadable name"
	}
	if len(name) == 0 {
		return "empty name"
	}
	var b strings.Builder
	for i, rdn := range slices.Backward(name) {
		if i != len(name)-1 {
			b.WriteByte(',')
		}
		for j, a := range rdn {
			if j != 0 {
				b.WriteByte('+')
			}
			short, ok := attributeNames[a.kind]
			if !ok {
				short = a.kind
			}
			value := a.value
			if !a.der {
				value = escape(value)
			}
			b.WriteString(short + "=" + value)
			if b.Len() > maxPrinted {
				return cut(b.String())
			}
		}
	}
	return b.String()
}

// escape writes a value so that no other name is written the same, and so that logs stay in one line.
func escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case b.Len() > maxPrinted:
			return b.String()
		case strings.ContainsRune(`,+"\<>;=`, r), i == 0 && (r == '#' || r == ' '), i == len(s)-1 && r == ' ':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r) && r != unicode.ReplacementChar:
			b.WriteRune(r)
		default:
			for _, octet := range []byte(string(r)) {
				fmt.Fprintf(&b, `\%02X`, octet)
			}
		}
	}
	return b.String()
}

// printable returns a text of a certificate or of an ID payload, fit for logs.
func printable(s string) string {
	return cut(escape(s))
}

// cut shortens a text to maxPrinted octets.
func cut(s string) string {
	if len(s) <= maxPrinted {
		return s
	}
	return strings.ToValidUTF8(s[:maxPrinted], "") + "..."
}
