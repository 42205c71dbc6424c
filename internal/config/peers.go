package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
)

// shortPSK is the length in octets below which a pre-shared key is warned about. A passive observer cannot, but one active
// man in the middle can test guesses offline against a single Main Mode exchange (CVE-2018-5389).
const shortPSK = 20

// maxSecretFile bounds what is read from a secret file, in octets.
const maxSecretFile = 4096

func (d *decoder) keys(c *Config, path string, n ast.Node) {
	const expected = "a list of keys with peer and psk or psk_file"
	list, ok := n.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		d.fail(n, path, kind(n), expected)
		return
	}
	for i, v := range list.Values {
		var key Key
		at := path + "[" + strconv.Itoa(i) + "]"
		before := len(d.errs)
		seen := d.mapping(at, v,
			field{"peer", func(path string, n ast.Node) { key.Peer = d.prefix(path, n) }},
			field{"psk", d.secret(&key.PSK)},
			field{"psk_file", d.secretFile(&key.PSK)})
		if seen["psk"] != nil && seen["psk_file"] != nil {
			d.forget(at+".psk", at+".psk_file")
		}
		switch {
		case len(d.errs) > before:
		case seen["peer"] == nil:
			d.fail(v, at, "no peer", "peer: a prefix such as 203.0.113.0/24")
		case (seen["psk"] == nil) == (seen["psk_file"] == nil):
			d.fail(v, at, "neither or both of psk and psk_file", "one of them")
		case slices.ContainsFunc(c.IKE.Keys, func(k Key) bool { return k.Peer == key.Peer }):
			d.fail(seen["peer"], at+".peer", key.Peer.String()+" for the second time", "one key for each prefix")
		default:
			d.checkPSK(cmp.Or(seen["psk"], seen["psk_file"]), at+".psk", key.PSK)
			c.IKE.Keys = append(c.IKE.Keys, key)
		}
	}
}

// prefix reads a prefix or a single address.
func (d *decoder) prefix(path string, n ast.Node) netip.Prefix {
	s, _ := scalar(n)
	p, err := netip.ParsePrefix(s)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return netip.PrefixFrom(a, a.BitLen())
		}
	}
	if err != nil || p.Addr().Is4In6() {
		d.fail(n, path, describe(n), "a prefix or address such as 203.0.113.0/24")
		return netip.Prefix{}
	}
	if p != p.Masked() {
		d.fail(n, path, describe(n), "a prefix without host bits; did you mean "+p.Masked().String()+"?")
	}
	return p.Masked()
}

func (d *decoder) checkPSK(n ast.Node, path string, psk Secret) {
	if len(psk) > 0 && len(psk) < shortPSK {
		d.warn(n, path, "the pre-shared key has %d characters; below %d it can be guessed offline by whoever intercepts one connection (try: openssl rand -base64 24)", len(psk), shortPSK)
	}
}

func (d *decoder) users(c *Config, path string, n ast.Node) {
	const expected = "a list of users with name and password"
	list, ok := n.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		d.fail(n, path, kind(n), expected)
		return
	}
	names := map[string]string{} // by what the server knows of them
	owners := map[netip.Addr]string{}
	for i, v := range list.Values {
		var u User
		at := path + "[" + strconv.Itoa(i) + "]"
		seen := d.mapping(at, v,
			field{"name", d.str(&u.Name, aaa.NameForm, func(s string) bool { return aaa.CheckName(s) == nil })},
			field{"password", d.secret(&u.Password)},
			field{"password_file", d.secretFile(&u.Password)},
			field{"address", func(path string, n ast.Node) { u.Address, _ = d.ipv4(path, n) }})
		if seen == nil {
			continue
		}
		if seen["name"] == nil {
			d.fail(v, at, "no name", "name: the name that the user logs in with")
		}
		if (seen["password"] == nil) == (seen["password_file"] == nil) {
			d.forget(at+".password", at+".password_file")
			d.fail(v, at, "neither or both of password and password_file", "one of them")
		} else if u.Password != "" { // else reported by its reader
			if err := aaa.CheckPassword(u.Password.Reveal()); err != nil {
				d.fail(cmp.Or(seen["password"], seen["password_file"]), at+".password", err.Error(), aaa.PasswordForm)
			}
		}
		if u.Name != "" {
			switch other, twice := names[aaa.NameKey(u.Name)]; {
			case twice && other == u.Name:
				d.fail(seen["name"], at+".name", strconv.Quote(u.Name)+" for the second time", "one entry for each name")
			case twice:
				d.fail(seen["name"], at+".name", strconv.Quote(u.Name), "a name that differs from "+strconv.Quote(other)+" in the log format of pppd")
			}
			names[aaa.NameKey(u.Name)] = u.Name
		}
		if u.Address.IsValid() {
			if other, twice := owners[u.Address]; twice {
				d.fail(seen["address"], at+".address", u.Address.String()+", the address of "+strconv.Quote(other), "an address of its own")
			}
			owners[u.Address] = u.Name
			d.fixed[u.Address] = seen["address"]
		}
		c.Users = append(c.Users, u)
	}
}

// secret returns a reader of a secret. Its errors never quote the value.
func (d *decoder) secret(dst *Secret) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		s, ok := scalar(n)
		s = chomp(s) // of a block scalar
		switch {
		case !ok:
			d.fail(n, path, kind(n), "a string")
		case s == "":
			d.fail(n, path, "an empty string", "at least one character")
		case len(s) > maxSecretFile:
			d.fail(n, path, strconv.Itoa(len(s))+" octets", "at most "+strconv.Itoa(maxSecretFile))
		default:
			*dst = Secret(s)
		}
	}
}

// secretFile returns a reader of the path of a file that holds nothing but a secret; one trailing newline is dropped.
func (d *decoder) secretFile(dst *Secret) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		name, data, perm, ok := d.readFile(path, n, maxSecretFile)
		if !ok {
			return
		}
		defer clear(data)
		s := chomp(string(data))
		if s == "" {
			d.fail(n, path, "the empty file "+strconv.Quote(name), "a file with the secret in it")
			return
		}
		if perm&0o004 != 0 {
			d.warn(n, path, "every user of this machine can read %s; chmod 0600 it", name)
		}
		*dst = Secret(s)
	}
}

// readFile reads the regular file whose path is the value, with its permissions. Relative paths start at the folder of the configuration.
func (d *decoder) readFile(path string, n ast.Node, most int) (name string, data []byte, perm fs.FileMode, ok bool) {
	name, ok = scalar(n)
	if !ok || name == "" {
		d.fail(n, path, describe(n), "the path of a file")
		return "", nil, 0, false
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(d.dir, name)
	}
	info, err := os.Stat(name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > int64(most)) {
		d.fail(n, path, strconv.Quote(name), "a regular file of at most "+strconv.Itoa(most)+" octets")
		return "", nil, 0, false
	}
	if data, err = os.ReadFile(name); err != nil {
		d.fail(n, path, unreadable(name, err), "the path of a file that can be read")
		return "", nil, 0, false
	}
	d.files = append(d.files, name)
	if info != nil {
		perm = info.Mode().Perm()
	}
	return name, data, perm, true
}

// unreadable says why a file cannot be read.
func unreadable(name string, err error) string {
	var because *fs.PathError
	if errors.As(err, &because) {
		err = because.Err
	}
	return fmt.Sprintf("%q, which cannot be read (%v)", name, err)
}

// chomp drops one newline at the end.
func chomp(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r") }
