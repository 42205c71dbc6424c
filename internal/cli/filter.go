package cli

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// filters returns a test that a row passes when all of the --match arguments fit.
func filters(all []column, matches []string) (func(reflect.Value) bool, error) {
	var tests []func(reflect.Value) bool
	for _, m := range matches {
		name, glob, ok := strings.Cut(m, "=")
		if !ok {
			text := strings.ToLower(m)
			tests = append(tests, func(row reflect.Value) bool {
				return slices.ContainsFunc(all, func(c column) bool { return strings.Contains(strings.ToLower(c.raw(row)), text) })
			})
			continue
		}
		name, not := strings.CutSuffix(name, "!")
		c, err := pick(all, []string{name})
		if err != nil {
			return nil, err
		}
		pattern := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(glob))
		re, err := regexp.Compile("(?is)^" + pattern + "$")
		if err != nil {
			return nil, usagef("--match %q: %w", m, err)
		}
		tests = append(tests, func(row reflect.Value) bool { return re.MatchString(c[0].raw(row)) != not })
	}
	return func(row reflect.Value) bool {
		for _, test := range tests {
			if !test(row) {
				return false
			}
		}
		return true
	}, nil
}

// ordering returns the comparison that the --sort arguments ask for.
func ordering(all []column, names []string) (func(a, b reflect.Value) int, error) {
	type key struct {
		column
		sign int
	}
	var keys []key
	for _, name := range names {
		name, down := strings.CutPrefix(name, "-")
		c, err := pick(all, []string{name})
		if err != nil {
			return nil, err
		}
		k := key{c[0], 1}
		if down {
			k.sign = -1
		}
		keys = append(keys, k)
	}
	return func(a, b reflect.Value) int {
		for _, k := range keys {
			if r := k.compare(a, b); r != 0 {
				return r * k.sign
			}
		}
		return 0
	}, nil
}
