package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// Error is one fault of a configuration file.
type Error struct {
	File         string
	Line, Column int    // from 1
	Key          string // dotted path of the key, such as ike.psk; empty for the whole file
	Found        string // what the file has; never a secret
	Expected     string
}

// Error returns FILE:LINE:COLUMN: key: found …, expected ….
func (e *Error) Error() string {
	var key string
	if e.Key != "" {
		key = e.Key + ": "
	}
	return fmt.Sprintf("%s:%d:%d: %sfound %s, expected %s", e.File, e.Line, e.Column, key, e.Found, e.Expected)
}

// Errors are all faults of a file, in the order of their places.
type Errors []*Error

// Error returns one line for each fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults one by one.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}

func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// syntax turns an error of the YAML parser into ours. The parser's own text quotes the source, which may hold secrets:
// only its message is taken.
func (d *decoder) syntax(err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		return Errors{{File: d.file, Line: 1, Column: 1, Found: "text that is not YAML", Expected: "a YAML mapping"}}
	}
	pos := y.GetToken().Position
	expected := "valid YAML (is a quote missing, or a value with ':' unquoted, here or above?)"
	found := "a syntax error (" + y.GetMessage() + ")"
	var dup *yaml.DuplicateKeyError
	if errors.As(err, &dup) || strings.Contains(y.GetMessage(), "already defined") {
		found, expected = "a key for the second time ("+y.GetMessage()+")", "each key once"
	}
	return Errors{{File: d.file, Line: pos.Line, Column: pos.Column, Found: found, Expected: expected}}
}

// utf8 finds the first octet that is not UTF-8.
func (d *decoder) utf8(data []byte) error {
	line, column := 1, 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			return Errors{{File: d.file, Line: line, Column: column, Found: "an octet that is not UTF-8", Expected: "text in UTF-8 (a secret of other octets goes into a psk_file)"}}
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		rest = rest[size:]
	}
	return nil
}

// forget drops the faults of some keys: they are about values that another fault makes irrelevant.
func (d *decoder) forget(keys ...string) {
	d.errs = slices.DeleteFunc(d.errs, func(e *Error) bool { return slices.Contains(keys, e.Key) })
}
