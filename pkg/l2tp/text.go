package l2tp

import (
	"strings"
	"unicode"
)

// maxText bounds peers' names and messages, in octets of the wire.
const maxText = 128

// printable makes text from the network fit for logs, terminals and JSON: no trailing NUL (Apple's Host Name has one), no
// control characters, valid UTF-8, bounded.
func printable(b []byte) string {
	b = b[:min(len(b), maxText)]
	s := strings.TrimRight(string(b), "\x00")
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
