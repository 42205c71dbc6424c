package config

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/pool"
)

// Effect says when a changed setting counts for a daemon that runs.
type Effect string

// The effects.
const (
	EffectNow       Effect = "now"       // for whatever happens next
	EffectReconnect Effect = "reconnect" // for connections, SAs and sessions that begin; those that exist keep what they have
	EffectRestart   Effect = "restart"   // after a restart of the daemon
)

// Change is a setting that differs between two configurations.
type Change struct {
	// Key is the dotted path of the key, such as ike.psk. Of a list whose entries have names it names the entry: users[alice].password.
	Key string
	// Old and New are the values in words. Of secrets, and of entries that come or go, Old is empty and New "changed", "added" or "removed".
	Old, New string
	Effect   Effect
}

// Compare returns what differs between two valid configurations, in the order of the reference file. Secrets are compared by value, and so is
// the content of files.
func Compare(old, new *Config) []Change {
	d := &differences{}
	d.ike(&old.IKE, &new.IKE)
	d.users(old.Users, new.Users)
	if a, b := lessFixed(old.Pool, new), lessFixed(new.Pool, old); !slices.Equal(a, b) {
		d.list("pool", EffectNow, words(old.Pool), words(new.Pool), "none")
	}
	o, n := &old.PPP, &new.PPP
	value(d, "ppp.local_address", EffectReconnect, o.LocalAddress, n.LocalAddress)
	d.list("ppp.dns", EffectReconnect, words(o.DNS), words(n.DNS), "none")
	value(d, "ppp.mtu", EffectReconnect, o.MTU, n.MTU)
	d.list("ppp.auth", EffectReconnect, texts(o.Auth), texts(n.Auth), "none")
	value(d, "ppp.echo_interval", EffectReconnect, interval(o.EchoInterval), interval(n.EchoInterval))
	value(d, "ppp.echo_failures", EffectReconnect, o.EchoFailures, n.EchoFailures)
	value(d, "l2tp.host_name", EffectReconnect, old.L2TP.HostName, new.L2TP.HostName)
	value(d, "l2tp.hello_interval", EffectReconnect, old.L2TP.HelloInterval, new.L2TP.HelloInterval)
	value(d, "l2tp.max_sessions", EffectReconnect, old.L2TP.MaxSessions, new.L2TP.MaxSessions)
	value(d, "l2tp.plain_max_tunnels", EffectReconnect, old.L2TP.PlainMaxTunnels, new.L2TP.PlainMaxTunnels)
	value(d, "log.level", EffectNow, old.Log.Level, new.Log.Level)

	d.list("listen", EffectRestart, words(old.Listen), words(new.Listen), "none")
	value(d, "slots.tag", EffectRestart, hex(old.Slots.Tag), hex(new.Slots.Tag))
	value(d, "slots.port_base", EffectRestart, old.Slots.PortBase, new.Slots.PortBase)
	value(d, "slots.port_mask", EffectRestart, hex(old.Slots.PortMask), hex(new.Slots.PortMask))
	value(d, "slots.plain_base", EffectRestart, old.Slots.PlainBase, new.Slots.PlainBase)
	value(d, "slots.plain_mask", EffectRestart, hex(old.Slots.PlainMask), hex(new.Slots.PlainMask))
	d.list("l2tp.plain_peers", EffectRestart, words(old.L2TP.PlainPeers), words(new.L2TP.PlainPeers), "nobody")
	value(d, "interface_prefix", EffectRestart, old.InterfacePrefix, new.InterfacePrefix)
	value(d, "control.socket", EffectRestart, old.Control.Socket, new.Control.Socket)
	value(d, "control.group", EffectRestart, cmp.Or(old.Control.Group, "none"), cmp.Or(new.Control.Group, "none"))
	value(d, "log.format", EffectRestart, old.Log.Format, new.Log.Format)
	return d.changes
}

// WithoutRestart returns a copy of new in which the settings that need a restart are those of the running configuration.
func WithoutRestart(running, new *Config) *Config {
	c := *new
	c.Listen, c.Slots, c.InterfacePrefix, c.Control, c.Log.Format = running.Listen, running.Slots, running.InterfacePrefix, running.Control, running.Log.Format
	c.L2TP.PlainPeers = running.L2TP.PlainPeers
	return &c
}

func (d *differences) ike(o, n *IKE) {
	d.secrets(EffectNow, keyring(o), keyring(n))
	d.list("ike.certificates", EffectNow, credentials(o), credentials(n), "none")
	d.list("ike.authorities", EffectNow, certificates(o.Authorities), certificates(n.Authorities), "none")
	d.list("ike.allow", EffectNow, words(o.Allow), words(n.Allow), "everybody")
	value(d, "ike.revocation", EffectNow, o.Revocation.Mode, n.Revocation.Mode)
	d.list("ike.crls", EffectNow, o.Revocation.CRLs, n.Revocation.CRLs, "none")
	value(d, "ike.ocsp", EffectNow, cmp.Or(o.Revocation.OCSP, "none"), cmp.Or(n.Revocation.OCSP, "none"))
	value(d, "ike.certificate_urls", EffectNow, o.Revocation.CertificateURLs, n.Revocation.CertificateURLs)

	value(d, "ike.profile", EffectReconnect, o.Profile, n.Profile)
	const ofProfile = "those of the profile"
	d.list("ike.proposals", EffectReconnect, words(o.Proposals), words(n.Proposals), ofProfile)
	d.list("ike.esp_proposals", EffectReconnect, words(o.ESPProposals), words(n.ESPProposals), ofProfile)
	value(d, "ike.pfs_groups", EffectReconnect, pfs(o.PFSGroups, ofProfile), pfs(n.PFSGroups, ofProfile))
	value(d, "ike.lifetime", EffectReconnect, o.Lifetime, n.Lifetime)
	value(d, "ike.esp_lifetime", EffectReconnect, o.ESPLifetime, n.ESPLifetime)
	value(d, "ike.force_encapsulation", EffectReconnect, o.ForceEncapsulation, n.ForceEncapsulation)
	value(d, "ike.sha256_96", EffectReconnect, o.SHA256Truncation, n.SHA256Truncation)
	value(d, "ike.offload", EffectReconnect, o.Offload, n.Offload)

	value(d, "ike.dpd_interval", EffectNow, interval(o.DPDInterval), interval(n.DPDInterval))
	value(d, "ike.dpd_timeout", EffectNow, o.DPDTimeout, n.DPDTimeout)
	value(d, "ike.half_open_max", EffectNow, o.HalfOpenMax, n.HalfOpenMax)
	value(d, "ike.half_open_unproved", EffectNow, o.HalfOpenUnproved, n.HalfOpenUnproved)
	value(d, "ike.half_open_per_address", EffectNow, o.HalfOpenPerAddr, n.HalfOpenPerAddr)
	value(d, "ike.half_open_per_network", EffectNow, perNetwork(o), perNetwork(n))
	value(d, "ike.max_clients_per_address", EffectNow, o.MaxClientsPerAddr, n.MaxClientsPerAddr)
	value(d, "ike.half_open_timeout", EffectNow, o.HalfOpenTimeout, n.HalfOpenTimeout)
	value(d, "ike.max_children", EffectNow, o.MaxChildren, n.MaxChildren)
}

func (d *differences) users(old, new []User) {
	before := make(map[string]User, len(old))
	for _, u := range old {
		before[u.Name] = u
	}
	for _, u := range new {
		key := "users[" + u.Name + "]"
		was, known := before[u.Name]
		delete(before, u.Name)
		switch {
		case !known:
			d.note(key, EffectNow, "", "added")
			continue
		case was.Password != u.Password:
			d.note(key+".password", EffectNow, "", "changed")
		}
		value(d, key+".address", EffectNow, address(was), address(u))
	}
	for _, u := range old {
		if _, gone := before[u.Name]; gone {
			d.note("users["+u.Name+"]", EffectNow, "", "removed")
		}
	}
}

func address(u User) string {
	if !u.Address.IsValid() {
		return "of the pool"
	}
	return u.Address.String()
}

// lessFixed returns the ranges without the addresses that are the own ones of users of other. Pools of the same ranges then differ by none of
// those, which are changes of users.
func lessFixed(ranges []pool.Range, other *Config) []pool.Range {
	for _, u := range other.Users {
		if u.Address.IsValid() {
			ranges = without(ranges, u.Address)
		}
	}
	return ranges
}

// keyring returns the pre-shared keys by the paths of their keys in the file.
func keyring(k *IKE) map[string]Secret {
	ring := make(map[string]Secret, len(k.Keys)+len(k.Groups))
	for _, key := range k.Keys {
		ring["ike.keys["+key.Peer.String()+"].psk"] = key.PSK
	}
	all4, all6 := "ike.keys["+netip.PrefixFrom(netip.IPv4Unspecified(), 0).String()+"].psk", "ike.keys["+netip.PrefixFrom(netip.IPv6Unspecified(), 0).String()+"].psk"
	if psk, ok := ring[all4]; ok && psk == ring[all6] {
		delete(ring, all4)
		delete(ring, all6)
		ring["ike.psk"] = psk
	}
	for _, g := range k.Groups {
		ring["ike.groups["+g.Name+"].psk"] = g.PSK
	}
	return ring
}

func pfs(groups []Group, ofProfile string) string {
	switch {
	case groups == nil:
		return ofProfile
	case len(groups) == 0:
		return "none"
	}
	return joined(words(groups))
}

func interval(t time.Duration) string {
	if t <= 0 {
		return "never"
	}
	return t.String()
}

func perNetwork(k *IKE) string {
	if k.HalfOpenPerNetwork == 0 {
		return strconv.Itoa(4 * k.HalfOpenPerAddr)
	}
	return strconv.Itoa(k.HalfOpenPerNetwork)
}
