package cli

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escaped makes a text from a peer harmless for a terminal and for line-based tools: what is not printable (control
// characters, marks that turn the direction of writing, broken UTF-8) and the backslash are shown as escapes.
func escaped(s string) string {
	suspect := func(r rune) bool { return r == '\\' || !unicode.IsPrint(r) }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, suspect) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < 0x80 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\':
			b.WriteString(`\\`)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// escapedLines is escaped, line by line: for errors, some of which list several faults.
func escapedLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = escaped(line)
	}
	return strings.Join(lines, "\n")
}
