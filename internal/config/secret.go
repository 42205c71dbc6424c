package config

import (
	"fmt"
	"io"
)

// hidden is what every formatter shows in place of a secret.
const hidden = "(hidden)"

// Secret is a key or password. Formatting, JSON and YAML show "(hidden)"; only Reveal gives the value.
type Secret string

// Reveal returns the secret itself, for the code that computes with it.
func (s Secret) Reveal() string { return string(s) }

// String returns "(hidden)".
func (s Secret) String() string { return hidden }

// GoString returns "(hidden)", so that %#v of a surrounding struct hides it too.
func (s Secret) GoString() string { return hidden }

// Format writes "(hidden)" for every verb and flag, %x and %q included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText returns "(hidden)". JSON, YAML and zap use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON returns "(hidden)" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
