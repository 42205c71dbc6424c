package config

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// authentication are the keys of which ike needs one.
const authentication = "psk, psk_file, keys, groups or certificates"

// Limits of lifetime and esp_lifetime: shorter ones would keep clients busy with nothing but rekeying.
const (
	minLifetime = 5 * time.Minute
	maxLifetime = 24 * time.Hour
)

// weakGroup says why a group is warned about.
const weakGroup = "groups below modp2048 can be broken by a well-funded attacker"

func (d *decoder) ike(c *Config, path string, n ast.Node) {
	k := &c.IKE
	any4, any6 := netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	var psk Secret
	dpdFaulty := false
	dpd := func(read func(string, ast.Node)) func(string, ast.Node) {
		return func(path string, n ast.Node) {
			before := len(d.errs)
			read(path, n)
			dpdFaulty = dpdFaulty || len(d.errs) > before
		}
	}
	seen := d.mapping(path, n,
		field{"psk", d.secret(&psk)},
		field{"psk_file", d.secretFile(&psk)},
		field{"keys", func(path string, n ast.Node) { d.keys(c, path, n) }},
		field{"groups", func(path string, n ast.Node) { d.groups(k, path, n) }},
		field{"certificates", func(path string, n ast.Node) { d.certificates(k, path, n) }},
		field{"authorities", func(path string, n ast.Node) { d.authorities(k, path, n) }},
		field{"allow", func(path string, n ast.Node) { d.allow(k, path, n) }},
		field{"revocation", func(path string, n ast.Node) {
			d.oneOf((*string)(&k.Revocation.Mode), string(RevocationStrict), string(RevocationSoft), string(RevocationOff))(path, n)
		}},
		field{"crls", func(path string, n ast.Node) { d.crls(k, path, n) }},
		field{"ocsp", func(path string, n ast.Node) { d.ocsp(k, path, n) }},
		field{"certificate_urls", d.boolean(&k.Revocation.CertificateURLs)},
		field{"profile", func(path string, n ast.Node) {
			d.oneOf((*string)(&k.Profile), string(ProfileModern), string(ProfileCompatible), string(ProfileLegacy))(path, n)
			if k.Profile == ProfileLegacy {
				d.warn(n, path, "this profile accepts 3des, modp1024 and modp1536, which a well-funded attacker can break: only for clients that have nothing better")
			}
		}},
		field{"proposals", func(path string, n ast.Node) {
			k.Proposals = proposals(d, path, n, ikeProposalForm, ParseIKEProposal)
			for _, p := range k.Proposals {
				d.weakCipher(p.Encryption, path, n, p.String())
				if p.Group.Weak() {
					d.warn(n, path, "%s: %s", p, weakGroup)
				}
			}
		}},
		field{"esp_proposals", func(path string, n ast.Node) {
			k.ESPProposals = proposals(d, path, n, espProposalForm, ParseESPProposal)
			for _, p := range k.ESPProposals {
				d.weakCipher(p.Encryption, path, n, p.String())
			}
		}},
		field{"pfs_groups", func(path string, n ast.Node) { d.pfsGroups(k, path, n) }},
		field{"lifetime", d.duration(&k.Lifetime, minLifetime, maxLifetime, false)},
		field{"esp_lifetime", d.duration(&k.ESPLifetime, minLifetime, maxLifetime, false)},
		field{"force_encapsulation", d.boolean(&k.ForceEncapsulation)},
		field{"sha256_96", func(path string, n ast.Node) {
			d.oneOf((*string)(&k.SHA256Truncation), string(TruncateOff), string(TruncateAndroid), string(TruncateAll))(path, n)
		}},
		field{"offload", func(path string, n ast.Node) {
			d.oneOf((*string)(&k.Offload), string(OffloadAuto), string(OffloadPacket), string(OffloadCrypto), string(OffloadOff))(path, n)
			if k.Offload == OffloadPacket {
				d.warn(n, path, "packet: no SA will be in a device, for no kernel so far finds SAs in packet mode by the policies of sockets; auto and crypto use what there is")
			}
		}},
		field{"dpd_interval", dpd(d.duration(&k.DPDInterval, time.Second, time.Hour, true))},
		field{"dpd_timeout", dpd(d.duration(&k.DPDTimeout, 5*time.Second, 24*time.Hour, false))},
		field{"half_open_max", integer(d, &k.HalfOpenMax, 1, 1000000)},
		field{"half_open_unproved", integer(d, &k.HalfOpenUnproved, 1, 10000000)},
		field{"half_open_per_address", integer(d, &k.HalfOpenPerAddr, 1, 1000000)},
		field{"half_open_per_network", integer(d, &k.HalfOpenPerNetwork, 1, 1000000)},
		field{"max_clients_per_address", integer(d, &k.MaxClientsPerAddr, 1, 65536)},
		field{"half_open_timeout", d.duration(&k.HalfOpenTimeout, time.Second, 10*time.Minute, false)},
		field{"max_children", integer(d, &k.MaxChildren, 1, 100)},
	)
	if seen == nil {
		return
	}
	if seen["psk"] != nil && seen["psk_file"] != nil {
		d.forget(join(path, "psk"), join(path, "psk_file"))
		d.fail(seen["psk_file"], join(path, "psk_file"), "both psk and psk_file", "one of them")
	}
	if at := cmp.Or(seen["psk"], seen["psk_file"]); at != nil {
		d.checkPSK(at, join(path, "psk"), psk)
		for _, p := range []netip.Prefix{any4, any6} {
			if !slices.ContainsFunc(k.Keys, func(other Key) bool { return other.Peer == p }) {
				k.Keys = append(k.Keys, Key{p, psk})
			}
		}
	} else if seen["keys"] == nil && seen["groups"] == nil && seen["certificates"] == nil && seen["authorities"] == nil {
		d.fail(n, path, "no way to authenticate", authentication)
	}
	d.truncation(k, path, seen)
	d.certificateRules(k, path, seen)
	slices.SortStableFunc(k.Keys, func(a, b Key) int { return cmp.Compare(b.Peer.Bits(), a.Peer.Bits()) })
	if !dpdFaulty && k.DPDInterval > 0 && k.DPDTimeout <= k.DPDInterval {
		d.fail(cmp.Or(seen["dpd_timeout"], seen["dpd_interval"]), join(path, "dpd_timeout"), k.DPDTimeout.String(), "more than dpd_interval, which is "+k.DPDInterval.String())
	}
}

// truncation settles what SHA-256 means in ESP: both forms have one number on the wire, so that there can be only one of them for a
// client, whatever the order of the proposals.
func (d *decoder) truncation(k *IKE, path string, seen map[string]ast.Node) {
	has := func(h Hash) bool {
		return slices.ContainsFunc(k.ESPProposals, func(p ESPProposal) bool { return p.Hash == h })
	}
	at := seen["sha256_96"]
	switch proposals := seen["esp_proposals"]; {
	case !has(SHA256Truncated):
	case has(SHA256):
		d.fail(proposals, join(path, "esp_proposals"), "both sha256 and sha256_96", "one of them, which clients cannot tell apart; sha256 and the key sha256_96: android do what is right for each")
	case at != nil && k.SHA256Truncation != TruncateAll:
		d.fail(at, join(path, "sha256_96"), strconv.Quote(string(k.SHA256Truncation))+" besides esp_proposals with sha256_96", "all or no such key")
	case at == nil:
		at, k.SHA256Truncation = proposals, TruncateAll
	}
	if k.SHA256Truncation == TruncateAll {
		d.warn(at, join(path, "sha256_96"), "all: clients that keep to RFC 4868 and choose SHA-256 for ESP connect, but no packet gets through")
	}
}

// weakCipher warns of a cipher with blocks of 64 bits.
func (d *decoder) weakCipher(c Cipher, path string, n ast.Node, proposal string) {
	if c == TripleDES {
		d.warn(n, path, "%s: 3des is broken by its blocks of 64 bits once enough was sent under one key (CVE-2016-2183)", proposal)
	}
}

// proposals reads a list of proposals, none twice.
func proposals[P comparable](d *decoder, path string, n ast.Node, form string, parse func(string) (P, error)) []P {
	var out []P
	d.list(path, n, "a list of "+form, func(path string, n ast.Node) {
		s, _ := scalar(n)
		p, err := parse(s)
		switch {
		case errors.Is(err, ErrNever):
			d.fail(n, path, describe(n), "something else: "+ErrNever.Error()+", in no profile and by no list")
		case err != nil:
			d.fail(n, path, describe(n), form)
		case slices.Contains(out, p):
			d.fail(n, path, describe(n)+" for the second time", "each proposal once")
		default:
			out = append(out, p)
		}
	})
	return out
}

func (d *decoder) pfsGroups(k *IKE, path string, n ast.Node) {
	k.PFSGroups = []Group{} // not nil, so that an empty list means none
	if isEmpty(n) {
		return
	}
	d.list(path, n, "a list of groups, of "+groupForm, func(path string, n ast.Node) {
		s, _ := scalar(n)
		g, ok := ParseGroup(s)
		switch {
		case !ok:
			d.fail(n, path, describe(n), "a group, of "+groupForm)
		case slices.Contains(k.PFSGroups, g):
			d.fail(n, path, describe(n)+" for the second time", "each group once")
		default:
			k.PFSGroups = append(k.PFSGroups, g)
			if g.Weak() {
				d.warn(n, path, "%s: %s", g, weakGroup)
			}
		}
	})
}
