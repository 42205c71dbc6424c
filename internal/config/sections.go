package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// defaults returns the configuration of an empty file.
func defaults() *Config {
	return &Config{
		IKE: IKE{
			Profile: ProfileCompatible, Lifetime: maxLifetime, ESPLifetime: maxLifetime, SHA256Truncation: TruncateOff, Offload: OffloadAuto,
			Revocation:  Revocation{Mode: RevocationSoft, CertificateURLs: true},
			DPDInterval: 30 * time.Second, DPDTimeout: 120 * time.Second,
			HalfOpenMax: 1000, HalfOpenUnproved: 32768, HalfOpenPerAddr: 64, HalfOpenTimeout: 30 * time.Second,
			MaxChildren: 8, MaxClientsPerAddr: 1024,
		},
		L2TP:            L2TP{HelloInterval: 60 * time.Second, MaxSessions: 4, PlainMaxTunnels: 64},
		PPP:             PPP{MTU: 1400, Auth: []AuthMethod{MSCHAPv2}, EchoInterval: 30 * time.Second, EchoFailures: 4},
		Slots:           Slots{Tag: 0x1701, PortBase: 0x4000, PortMask: 0xC000, PlainBase: 0x2000, PlainMask: 0xE000},
		InterfacePrefix: "l2t",
		Control:         Control{Socket: DefaultSocket},
		Log:             Log{Level: "info", Format: "console"},
	}
}

// interfacePrefix leaves room for "16384-999" in the 15 octets of an interface name: a client that stays connected may call
// many times.
var interfacePrefix = regexp.MustCompile(`^[a-z][a-z0-9]{0,5}$`)

// config reads the whole file; the rules that span sections come last.
func (d *decoder) config(root ast.Node) *Config {
	c := defaults()
	seen := d.mapping("", root,
		field{"ike", func(path string, n ast.Node) { d.ike(c, path, n) }},
		field{"users", func(path string, n ast.Node) { d.users(c, path, n) }},
		field{"pool", func(path string, n ast.Node) { d.pool(c, path, n) }},
		field{"ppp", func(path string, n ast.Node) { d.ppp(c, path, n) }},
		field{"l2tp", func(path string, n ast.Node) { d.l2tp(c, path, n) }},
		field{"listen", func(path string, n ast.Node) { d.listen(c, path, n) }},
		field{"slots", func(path string, n ast.Node) { d.slots(c, path, n) }},
		field{"interface_prefix", d.str(&c.InterfacePrefix, "a lower case letter and up to 5 letters or digits, such as l2t", interfacePrefix.MatchString)},
		field{"control", func(path string, n ast.Node) {
			d.mapping(path, n,
				field{"socket", d.str(&c.Control.Socket, "an absolute path of at most 107 octets", func(s string) bool { return filepath.IsAbs(s) && len(s) <= 107 })},
				field{"group", func(path string, n ast.Node) { d.group(&c.Control.Group, path, n) }})
		}},
		field{"log", func(path string, n ast.Node) {
			d.mapping(path, n,
				field{"level", d.oneOf(&c.Log.Level, "debug", "info", "warn", "error")},
				field{"format", d.oneOf(&c.Log.Format, "console", "json")})
		}},
	)
	for _, want := range []struct{ name, expected string }{
		{"ike", "a section ike with " + authentication},
		{"users", "a list of users with name and password"},
		{"pool", poolForm},
	} {
		if seen != nil && seen[want.name] == nil {
			d.fail(root, want.name, "no such key", want.expected)
		}
	}
	if len(c.Listen) == 0 {
		c.Listen = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	if c.L2TP.HostName == "" {
		if c.L2TP.HostName, _ = os.Hostname(); c.L2TP.HostName == "" {
			c.L2TP.HostName = "l2tpctl"
		}
	}
	d.addresses(c, seen["pool"])
	d.plain(c, seen["l2tp"], seen["slots"])
	return c
}

// addresses takes the addresses that are in use elsewhere out of the pool.
func (d *decoder) addresses(c *Config, pool ast.Node) {
	if len(c.Pool) == 0 {
		return // reported by pool
	}
	if !c.PPP.LocalAddress.IsValid() {
		c.PPP.LocalAddress = c.Pool[0].First
	}
	c.Pool = without(c.Pool, c.PPP.LocalAddress)
	if len(c.Pool) == 0 {
		d.fail(pool, "pool", "no address besides "+c.PPP.LocalAddress.String()+", which is our own", poolForm)
	}
	for _, u := range c.Users {
		if !u.Address.IsValid() {
			continue
		}
		if u.Address == c.PPP.LocalAddress {
			d.fail(d.fixed[u.Address], "users", u.Address.String()+", our own address (ppp.local_address), for "+strconv.Quote(u.Name), "another address")
		}
		c.Pool = without(c.Pool, u.Address)
	}
}

func (d *decoder) ppp(c *Config, path string, n ast.Node) {
	d.mapping(path, n,
		field{"local_address", func(path string, n ast.Node) {
			if a, ok := d.ipv4(path, n); ok {
				c.PPP.LocalAddress = a
			}
		}},
		field{"dns", func(path string, n ast.Node) {
			if isEmpty(n) {
				return // none
			}
			d.list(path, n, "a list of at most two IPv4 addresses", func(path string, n ast.Node) {
				if a, ok := d.ipv4(path, n); ok {
					c.PPP.DNS = append(c.PPP.DNS, a)
				}
			})
			if len(c.PPP.DNS) > 2 {
				d.fail(n, path, strconv.Itoa(len(c.PPP.DNS))+" addresses", "at most two (RFC 1877 has room for no more)")
			}
		}},
		field{"mtu", integer(d, &c.PPP.MTU, 576, 1500)},
		field{"auth", func(path string, n ast.Node) {
			c.PPP.Auth = nil
			const expected = "one or more of mschapv2, chap, pap"
			d.list(path, n, expected, func(path string, n ast.Node) {
				s, _ := scalar(n)
				m := AuthMethod(s)
				if m != MSCHAPv2 && m != CHAP && m != PAP {
					d.fail(n, path, describe(n), expected)
				} else if slices.Contains(c.PPP.Auth, m) {
					d.fail(n, path, describe(n)+" for the second time", "each method once")
				}
				c.PPP.Auth = append(c.PPP.Auth, m)
			})
		}},
		field{"echo_interval", d.duration(&c.PPP.EchoInterval, time.Second, time.Hour, true)},
		field{"echo_failures", integer(d, &c.PPP.EchoFailures, 1, 100)},
	)
	if c.PPP.EchoInterval == 0 {
		c.PPP.EchoInterval = -1 // zero stands for a default where it goes
	}
}

// group reads the name or number of a group. One that does not exist may be created before serve needs it.
func (d *decoder) group(dst *string, path string, n ast.Node) {
	d.str(dst, "the name or number of a group", notEmpty)(path, n)
	if *dst == "" {
		return
	}
	if _, err := strconv.ParseUint(*dst, 10, 31); err == nil {
		return
	}
	var unknown user.UnknownGroupError
	if _, err := user.LookupGroup(*dst); errors.As(err, &unknown) {
		d.warn(n, path, "there is no group %q: create it (groupadd --system %s), or serve will refuse to start", *dst, *dst)
	}
}

func (d *decoder) l2tp(c *Config, path string, n ast.Node) {
	d.mapping(path, n,
		field{"hello_interval", d.duration(&c.L2TP.HelloInterval, 5*time.Second, time.Hour, false)},
		field{"host_name", d.str(&c.L2TP.HostName, "a name of 1 to 255 visible ASCII characters", visible)},
		field{"max_sessions", integer(d, &c.L2TP.MaxSessions, 1, 1000)},
		field{"plain_peers", func(path string, n ast.Node) { d.plainPeers(c, path, n) }},
		field{"plain_max_tunnels", integer(d, &c.L2TP.PlainMaxTunnels, 1, 8192)},
	)
}

func (d *decoder) listen(c *Config, path string, n ast.Node) {
	d.list(path, n, "a list of addresses", func(path string, n ast.Node) {
		s, _ := scalar(n)
		a, err := netip.ParseAddr(s)
		if err != nil || a.IsMulticast() || a.Is4In6() {
			d.fail(n, path, describe(n), `an address such as 192.0.2.1, "0.0.0.0" or "::"`)
			return
		}
		for _, other := range c.Listen {
			if a == other || a.Is4() == other.Is4() && (a.IsUnspecified() || other.IsUnspecified()) {
				d.fail(n, path, describe(n)+" besides "+other.String(), "addresses whose ports do not overlap")
				return
			}
		}
		c.Listen = append(c.Listen, a)
	})
}

func (d *decoder) slots(c *Config, path string, n ast.Node) {
	before := len(d.errs)
	seen := d.mapping(path, n,
		field{"tag", integer(d, &c.Slots.Tag, 1, 0xffff)},
		field{"port_base", integer(d, &c.Slots.PortBase, 1024, 0xffff)},
		field{"port_mask", integer(d, &c.Slots.PortMask, 0x8000, 0xfff0)},
		field{"plain_base", integer(d, &c.Slots.PlainBase, 1024, 0xffff)},
		field{"plain_mask", integer(d, &c.Slots.PlainMask, 0x8000, 0xfff0)},
	)
	if len(d.errs) > before {
		return // what follows would be about values that the file does not have
	}
	d.block(c.Slots, "port", seen, path, n)
	if seen["plain_base"] != nil || seen["plain_mask"] != nil {
		d.block(c.Slots.Plain(), "plain", seen, path, n)
	}
}

// block checks a block of ports, whose keys begin with name.
func (d *decoder) block(s Slots, name string, seen map[string]ast.Node, path string, n ast.Node) {
	base, mask := name+"_base", name+"_mask"
	at := cmp.Or(seen[base], seen[mask], n)
	if host := ^s.PortMask; host&(host+1) != 0 {
		d.fail(cmp.Or(seen[mask], n), join(path, mask), hex(s.PortMask), "a mask whose ones are its leading bits, such as 0xC000")
		return
	}
	if s.PortBase&^s.PortMask != 0 {
		d.fail(at, join(path, base), hex(s.PortBase), fmt.Sprintf("a port that is a multiple of %d, the size of the block (%s & %s == %s)", s.Size(), base, mask, base))
		return
	}
	// 500 is below the range of the first port. The steering rules cannot tell tunnel id 65535 from others: it is zero in one's complement.
	for _, port := range []uint16{1701, 4500, 0xffff} {
		if port&s.PortMask == s.PortBase {
			d.fail(at, path, "ports "+s.ports()+" overlapping with "+strconv.Itoa(int(port)), "a block without 1701, 4500 and 65535")
		}
	}
	if s.Last() >= 32768 && s.PortBase <= 60999 {
		d.warn(at, path, "ports %s overlap with the kernel's usual range of ephemeral ports (32768-60999)", s.ports())
	}
}

func (s Slots) ports() string {
	return strconv.Itoa(int(s.PortBase)) + "-" + strconv.Itoa(int(s.Last()))
}

func hex(v uint16) string { return "0x" + strings.ToUpper(strconv.FormatUint(uint64(v), 16)) }

func notEmpty(s string) bool { return s != "" }

// visible says whether s is of 1 to 255 visible ASCII characters: fit for an AVP, a log line and a configuration of pppd.
func visible(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
