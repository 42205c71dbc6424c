package cli

import (
	"cmp"
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// column is a field of the rows.
type column struct {
	name   string // as in JSON
	index  int
	wide   bool   // not in the usual table
	format string // for people: bytes, duration, hex, time or empty
}

// columnsOf reads the columns from the json and table tags of a struct type.
func columnsOf(t reflect.Type) []column {
	var out []column
	for i := range t.NumField() {
		f := t.Field(i)
		kind, format, _ := strings.Cut(f.Tag.Get("table"), ",")
		if kind == "" {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, column{name: name, index: i, wide: kind == "wide", format: format})
	}
	return out
}

// header is the name for people: the unit goes, since cells show theirs.
func (c column) header() string { return strings.ToUpper(c.short()) }

func (c column) short() string {
	switch c.format {
	case "bytes":
		return strings.TrimSuffix(c.name, "_bytes")
	case "duration":
		return strings.TrimSuffix(c.name, "_seconds")
	default:
		return c.name
	}
}

// raw is the value for programs, as in JSON but without quotes.
func (c column) raw(row reflect.Value) string {
	v := row.Field(c.index).Interface()
	if m, ok := v.(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return ""
		}
		return string(text)
	}
	return fmt.Sprint(v)
}

// human is the value for people.
func (c column) human(row reflect.Value) string {
	f := row.Field(c.index)
	switch c.format {
	case "time":
		return f.Interface().(time.Time).Local().Format(time.DateTime)
	case "bytes":
		return humanBytes(f.Uint())
	case "duration":
		return humanDuration(f.Int())
	case "hex":
		return fmt.Sprintf("0x%08x", f.Uint())
	}
	if f.Kind() == reflect.Bool {
		if f.Bool() {
			return "yes"
		}
		return "no"
	}
	if s := c.raw(row); s != "" {
		return s
	}
	return "-"
}

// compare orders two rows by the column: numbers and addresses by value, texts with the numbers in them by value.
func (c column) compare(a, b reflect.Value) int {
	x, y := a.Field(c.index), b.Field(c.index)
	switch v := x.Interface().(type) {
	case netip.Addr:
		return v.Compare(y.Interface().(netip.Addr))
	case netip.AddrPort:
		return v.Compare(y.Interface().(netip.AddrPort))
	case time.Time:
		return v.Compare(y.Interface().(time.Time))
	case bool:
		return strings.Compare(c.raw(a), c.raw(b))
	}
	switch {
	case x.CanUint():
		return cmp.Compare(x.Uint(), y.Uint())
	case x.CanInt():
		return cmp.Compare(x.Int(), y.Int())
	default:
		return natural(c.raw(a), c.raw(b))
	}
}

// natural compares texts so that 16384-2 comes before 16384-10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x == "" || y == "" {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		v, w := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if r := cmp.Or(cmp.Compare(len(v), len(w)), strings.Compare(v, w)); r != 0 {
			return r
		}
		a, b = a[len(x):], b[len(y):]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i < 0 {
		return s
	}
	return s[:i]
}

func humanBytes(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + "B"
	}
	v, units := float64(n), "KMGTPE"
	i := -1
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.1f%ciB", v, units[i])
}

func humanDuration(s int64) string {
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
	}
}

// pick returns the columns with these names, in this order. Both the name in JSON and that in the header are known.
func pick(all []column, names []string) ([]column, error) {
	out := make([]column, 0, len(names))
	for _, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		i := slices.IndexFunc(all, func(c column) bool { return c.name == name || c.short() == name })
		if i < 0 {
			known := make([]string, len(all))
			for i, c := range all {
				known[i] = c.name
			}
			return nil, usagef("unknown column %q; there are %s", name, strings.Join(known, ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}
