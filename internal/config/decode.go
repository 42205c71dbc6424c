package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decoder walks the syntax tree. Faults are collected and reading goes on, so that one run shows all of them; a value
// that is at fault keeps its default.
type decoder struct {
	file, dir string
	errs      Errors
	warnings  []string
	files     []string                // that were read
	fixed     map[netip.Addr]ast.Node // where users' fixed addresses stand
	now       time.Time               // for the expiry of certificates
}

// field is a key of a mapping and what reads its value.
type field struct {
	name string
	read func(path string, n ast.Node)
}

func position(n ast.Node) (line, column int) {
	switch m := n.(type) {
	case nil:
		return 1, 1
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			return position(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(m.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 1, 1
}

func (d *decoder) fail(n ast.Node, path, found, expected string) {
	line, column := position(n)
	d.errs = append(d.errs, &Error{File: d.file, Line: line, Column: column, Key: path, Found: found, Expected: expected})
}

func (d *decoder) warn(n ast.Node, path, format string, args ...any) {
	line, column := position(n)
	d.warnings = append(d.warnings, fmt.Sprintf("%s:%d:%d: %s: %s", d.file, line, column, path, fmt.Sprintf(format, args...)))
}

// kind says what a node is, without its value.
func kind(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		if isEmpty(n) {
			return "an empty list"
		}
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tag"
	case ast.ScalarNode:
		return "a plain value"
	default:
		return "something else"
	}
}

// isEmpty says whether a node is a list without elements.
func isEmpty(n ast.Node) bool {
	s, ok := n.(*ast.SequenceNode)
	return ok && len(s.Values) == 0
}

// describe is kind, with the value of scalars. Not for secrets.
func describe(n ast.Node) string {
	if s, ok := scalar(n); ok {
		return strconv.Quote(s)
	}
	return kind(n)
}

// scalar returns the text of a scalar as it was written, so that a number in place of a name or password keeps its form.
func scalar(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// mapping reads a mapping key by key and returns the nodes of its values. An absent or empty mapping has no keys; the result
// is nil, and the fault reported, if it is no mapping at all.
func (d *decoder) mapping(path string, n ast.Node, fields ...field) map[string]ast.Node {
	seen := map[string]ast.Node{}
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		d.fail(n, path, kind(n), "a mapping with the keys "+names(fields))
		return nil
	}
	for _, p := range pairs {
		name, ok := scalar(p.Key)
		if !ok && p.Key.GetToken() != nil {
			name = p.Key.GetToken().Value // such as <<
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		switch {
		case i < 0:
			d.fail(p.Key, path, "the unknown key "+strconv.Quote(name), "one of "+names(fields))
		case seen[name] != nil:
			d.fail(p.Key, join(path, name), "the key for the second time", "each key once")
		default:
			seen[name] = p.Value
			fields[i].read(join(path, name), p.Value)
		}
	}
	return seen
}

func names(fields []field) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return strings.Join(list, ", ")
}

// list calls each for every element, of which there must be one. A single scalar counts as a list of one.
func (d *decoder) list(path string, n ast.Node, expected string, each func(path string, n ast.Node)) {
	if s, ok := n.(*ast.SequenceNode); ok && !isEmpty(n) {
		for i, v := range s.Values {
			each(fmt.Sprintf("%s[%d]", path, i), v)
		}
		return
	}
	if _, ok := scalar(n); ok {
		each(path, n)
		return
	}
	d.fail(n, path, kind(n), expected)
}

// str returns a reader of a string that ok accepts.
func (d *decoder) str(dst *string, expected string, ok func(string) bool) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		s, is := scalar(n)
		if !is || !ok(s) {
			d.fail(n, path, describe(n), expected)
			return
		}
		*dst = s
	}
}

// oneOf returns a reader of one of a few words.
func (d *decoder) oneOf(dst *string, words ...string) func(string, ast.Node) {
	return d.str(dst, "one of "+strings.Join(words, ", "), func(s string) bool { return slices.Contains(words, s) })
}

// boolean returns a reader of true or false.
func (d *decoder) boolean(dst *bool) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		s, _ := scalar(n)
		if s != "true" && s != "false" {
			d.fail(n, path, describe(n), "true or false")
			return
		}
		*dst = s == "true"
	}
}

// integer returns a reader of a number from lo to hi, decimal or with 0x.
func integer[T int | uint16](d *decoder, dst *T, lo, hi int) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		s, _ := scalar(n)
		v, err := strconv.ParseInt(s, 0, 32)
		if err != nil || v < int64(lo) || v > int64(hi) {
			d.fail(n, path, describe(n), fmt.Sprintf("a number from %d to %d", lo, hi))
			return
		}
		*dst = T(v)
	}
}

// duration returns a reader of a duration from lo to hi. When off is set, 0 is allowed too and means never.
func (d *decoder) duration(dst *time.Duration, lo, hi time.Duration, off bool) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		s, _ := scalar(n)
		v, err := time.ParseDuration(s)
		if err == nil && (v >= lo && v <= hi || off && v == 0) {
			*dst = v
			return
		}
		expected := fmt.Sprintf("a duration with its unit, such as 30s, from %v to %v", lo, hi)
		if off {
			expected += ", or 0 to switch it off"
		}
		d.fail(n, path, describe(n), expected)
	}
}

// ipv4 reads the address of an interface.
func (d *decoder) ipv4(path string, n ast.Node) (netip.Addr, bool) {
	s, _ := scalar(n)
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		d.fail(n, path, describe(n), "an IPv4 address such as 10.99.0.1")
		return netip.Addr{}, false
	}
	return a, true
}
