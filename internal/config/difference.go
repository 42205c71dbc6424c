package config

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// differences collects changes.
type differences struct{ changes []Change }

func (d *differences) note(key string, effect Effect, old, new string) {
	d.changes = append(d.changes, Change{Key: key, Old: old, New: new, Effect: effect})
}

// value compares what can be printed as it is.
func value[T comparable](d *differences, key string, effect Effect, old, new T) {
	if old != new {
		d.note(key, effect, fmt.Sprint(old), fmt.Sprint(new))
	}
}

// list compares lists by the words of their entries. none stands for an empty one.
func (d *differences) list(key string, effect Effect, old, new []string, none string) {
	if !slices.Equal(old, new) {
		d.note(key, effect, cmp.Or(joined(old), none), cmp.Or(joined(new), none))
	}
}

// secrets compares values that are not shown, by their keys.
func (d *differences) secrets(effect Effect, old, new map[string]Secret) {
	all := maps.Clone(old)
	maps.Copy(all, new)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		was, before := old[key]
		is, after := new[key]
		switch {
		case !before:
			d.note(key, effect, "", "added")
		case !after:
			d.note(key, effect, "", "removed")
		case was != is:
			d.note(key, effect, "", "changed")
		}
	}
}

// words are what the entries of a list are called.
func words[T fmt.Stringer](list []T) []string {
	var out []string
	for _, v := range list {
		out = append(out, v.String())
	}
	return out
}

// texts are the entries of a list of strings.
func texts[T ~string](list []T) []string {
	var out []string
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

// credentials describe our certificates, each with those between it and its root.
func credentials(k *IKE) []string {
	var out []string
	for _, c := range k.Certificates {
		var chain []*x509.Certificate
		for _, der := range c.Chain() {
			if cert, err := x509.ParseCertificate(der); err == nil { // as it did when the file was read
				chain = append(chain, cert)
			}
		}
		out = append(out, strings.Join(certificates(chain), " < "))
	}
	return out
}

// certificates describe certificates so that no two are alike.
func certificates(list []*x509.Certificate) []string {
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprintf("%s (serial %x until %s, %x)", c.Subject, c.SerialNumber, c.NotAfter.UTC().Format("2006-01-02"), fingerprint(c)))
	}
	return out
}

// fingerprint is enough of a hash to tell certificates of one name and serial number apart.
func fingerprint(c *x509.Certificate) []byte {
	sum := sha256.Sum256(c.Raw)
	return sum[:8]
}

func joined(list []string) string { return strings.Join(list, ", ") }
