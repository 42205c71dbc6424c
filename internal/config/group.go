package config

import (
	"cmp"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// PSKGroup is a group of peers that may use Aggressive Mode: they call themselves by the name of the group (ID_KEY_ID, RFC 2407
// section 4.6.2.12) before anything is encrypted, and share a key.
type PSKGroup struct {
	Name string // 1 to 64 octets of UTF-8 without control characters
	PSK  Secret
}

// GroupPSK returns the key of the group that a peer names in Aggressive Mode, nil if there is none. The signature is that of
// the IKE engine's Config.GroupPSK.
func (c *IKE) GroupPSK(keyID []byte) []byte {
	for _, g := range c.Groups {
		if g.Name == string(keyID) {
			return []byte(g.PSK.Reveal())
		}
	}
	return nil
}

// groupName says whether s can be the name of a group.
func groupName(s string) bool {
	control := slices.ContainsFunc([]rune(s), unicode.IsControl)
	return s != "" && len(s) <= 64 && utf8.ValidString(s) && !control
}

func (d *decoder) groups(k *IKE, path string, n ast.Node) {
	const expected = "a list of groups with name and psk or psk_file"
	list, ok := n.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		d.fail(n, path, kind(n), expected)
		return
	}
	for i, v := range list.Values {
		var g PSKGroup
		at := path + "[" + strconv.Itoa(i) + "]"
		before := len(d.errs)
		seen := d.mapping(at, v,
			field{"name", d.str(&g.Name, "a name of 1 to 64 octets of UTF-8 without control characters", groupName)},
			field{"psk", d.secret(&g.PSK)},
			field{"psk_file", d.secretFile(&g.PSK)})
		if seen["psk"] != nil && seen["psk_file"] != nil {
			d.forget(at+".psk", at+".psk_file")
		}
		switch {
		case len(d.errs) > before:
		case seen["name"] == nil:
			d.fail(v, at, "no name", "name: the group name that the clients are set to")
		case (seen["psk"] == nil) == (seen["psk_file"] == nil):
			d.fail(v, at, "neither or both of psk and psk_file", "one of them")
		case slices.ContainsFunc(k.Groups, func(other PSKGroup) bool { return other.Name == g.Name }):
			d.fail(seen["name"], at+".name", strconv.Quote(g.Name)+" for the second time", "one entry for each name")
		default:
			d.checkPSK(cmp.Or(seen["psk"], seen["psk_file"]), at+".psk", g.PSK)
			d.warn(v, at, "Aggressive Mode is on for %q: whoever knows this name is sent what it takes to test guesses of the key offline; make the key random (openssl rand -base64 24), or use Main Mode or certificates", g.Name)
			k.Groups = append(k.Groups, g)
		}
	}
}
