package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// checkPPPD looks for pppd, its version, and the two plugins in the directory of that version.
func checkPPPD(_ context.Context, o Options, p probes) []Finding {
	const install = "install the package ppp (Debian and Fedora)"
	name := o.PPPD
	if name == "" {
		name = "pppd"
	}
	path, err := p.lookPath(name)
	if errors.Is(err, fs.ErrPermission) { // Debian's may be run by root and the group dip
		return []Finding{warn("pppd", "run as root", "its version is not checked: this user may not run it: %v", err)}
	}
	if err != nil {
		return []Finding{fail("pppd", install, "not found: %v", err)}
	}
	version, err := p.pppdVersion(path)
	if err != nil {
		return []Finding{fail("pppd", install, "%v", err)}
	}
	out := []Finding{ok("pppd", "%s, version %s", path, version)}
	if older(version, 2, 4, 9) {
		out[0] = fail("pppd", "upgrade the package ppp to 2.4.9 or newer", "version %s has a buffer overflow that a peer can reach before it is authenticated (CVE-2020-8597)", version)
	}
	for _, plugin := range []string{"pppol2tp.so", "radius.so"} {
		var dirs []string
		for _, pattern := range []string{"/usr/lib*/pppd/*", "/usr/lib/*/pppd/*", "/usr/local/lib*/pppd/*"} {
			found, _ := filepath.Glob(p.path(filepath.Join(pattern, plugin))) // the patterns are well formed
			for _, f := range found {
				dirs = append(dirs, filepath.Dir(f))
			}
		}
		right := slices.IndexFunc(dirs, func(d string) bool { return filepath.Base(d) == version })
		switch {
		case right >= 0:
			out = append(out, ok(plugin, "in %s", dirs[right]))
		case len(dirs) > 0:
			out = append(out, fail(plugin, install+" of the same version", "only in %s, but pppd is version %s", strings.Join(dirs, ", "), version))
		default:
			out = append(out, fail(plugin, install, "not found in /usr/lib/pppd/%s", version))
		}
	}
	return out
}

// older compares the numbers of a version, missing ones being zero.
func older(version string, floor ...int) bool {
	parts := strings.Split(version, ".")
	for i, f := range floor {
		n := 0
		if i < len(parts) {
			digits := parts[i]
			if k := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); k >= 0 {
				digits = digits[:k]
			}
			n, _ = strconv.Atoi(digits) // empty is zero
		}
		if n != f {
			return n < f
		}
	}
	return false
}

// wantBacklog is the least sensible net.core.netdev_max_backlog: decapsulated packets wait in that queue, and the default is 1000.
const wantBacklog = 10000

func checkSysctls(_ context.Context, o Options, p probes) []Finding {
	var out []Finding
	if v := p.sysctl("net/ipv4/ip_forward"); v == "1" {
		out = append(out, ok("net.ipv4.ip_forward", "1"))
	} else {
		out = append(out, warn("net.ipv4.ip_forward", "sysctl -w net.ipv4.ip_forward=1, and keep it in /etc/sysctl.d/l2tpctl.conf", "%q: users reach nothing but this machine", v))
	}
	const backlog = "net.core.netdev_max_backlog"
	switch n, err := strconv.Atoi(p.sysctl("net/core/netdev_max_backlog")); {
	case err != nil:
		out = append(out, warn(backlog, fmt.Sprintf("set it to %d or more in the initial network namespace", wantBacklog), "cannot be read here"))
	case n < wantBacklog:
		out = append(out, warn(backlog, fmt.Sprintf("sysctl -w %s=%d, and keep it in /etc/sysctl.d/l2tpctl.conf", backlog, wantBacklog), "%d: bursts of decapsulated packets are lost", n))
	default:
		out = append(out, ok(backlog, "%d", n))
	}
	for _, b := range o.blocks() {
		out = append(out, portRange(b, p))
	}
	return out
}

func (p probes) sysctl(name string) string { return p.text("/proc/sys/" + name) }

// portRange checks that no other program is given a port of a block as its ephemeral port.
func portRange(b block, p probes) Finding {
	const name = "net.ipv4.ip_local_reserved_ports"
	first, last := b.first, b.last
	bounds := strings.Fields(p.sysctl("net/ipv4/ip_local_port_range"))
	if len(bounds) != 2 {
		return warn(name, "", "net.ipv4.ip_local_port_range cannot be read")
	}
	low, errLow := strconv.Atoi(bounds[0])
	high, errHigh := strconv.Atoi(bounds[1])
	if errLow != nil || errHigh != nil {
		return warn(name, "", "net.ipv4.ip_local_port_range is %q", bounds)
	}
	reserved := parsePorts(p.sysctl("net/ipv4/ip_local_reserved_ports"))
	free := 0
	for port := max(first, low); port <= min(last, high); port++ {
		if !reserved[port] {
			free++
		}
	}
	if free == 0 {
		return ok(name, "ports %d-%d are not given to other programs", first, last)
	}
	return warn(name, fmt.Sprintf("sysctl -w %s=%d-%d (append to what is there), and keep it in /etc/sysctl.d/l2tpctl.conf", name, first, last),
		"%d of the %s %d-%d are in the ephemeral range %d-%d and not reserved", free, b.name, first, last, low, high)
}

// block is a block of ports that are ours.
type block struct {
	name        string
	first, last int
}

// blocks are those of the clients and, if there are peers without IPsec, of their tunnels.
func (o Options) blocks() []block {
	s := o.Steering
	if s.PortBase == 0 && s.PortMask == 0 {
		s.PortBase, s.PortMask = steering.DefaultPortBase, steering.DefaultPortMask
	}
	list := []block{{"clients' ports", int(s.PortBase), int(s.PortBase | ^s.PortMask)}}
	if len(s.PlainPeers) == 0 {
		return list
	}
	if s.PlainBase == 0 && s.PlainMask == 0 {
		s.PlainBase, s.PlainMask = steering.DefaultPlainBase, steering.DefaultPlainMask
	}
	return append(list, block{"plain tunnels' ports", int(s.PlainBase), int(s.PlainBase | ^s.PlainMask)})
}

// parsePorts reads "8080,9000-9010". What is not understood is left out.
func parsePorts(s string) map[int]bool {
	ports := map[int]bool{}
	for part := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			continue
		}
		b := a
		if ranged {
			if b, err = strconv.ParseUint(to, 10, 16); err != nil {
				continue
			}
		}
		for ; a <= b; a++ {
			ports[int(a)] = true
		}
	}
	return ports
}

func checkLoopback(_ context.Context, _ Options, p probes) []Finding {
	const name = "loopback"
	switch up, err := p.loopbackUp(); {
	case err != nil:
		return []Finding{fail(name, "ip link set lo up", "%v", err)}
	case !up:
		return []Finding{fail(name, "ip link set lo up", "lo is down: pppd asks us for authentication over 127.0.0.1")}
	}
	return []Finding{ok(name, "lo is up")}
}

// checkBlacklists reads what modprobe would read. "blacklist" stops only automatic loading, "install X /bin/false" stops modprobe, too.
func checkBlacklists(_ context.Context, _ Options, p probes) []Finding {
	var out []Finding
	for _, dir := range []string{"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"} {
		if link, err := os.Readlink(p.path(filepath.Dir(dir))); err == nil && link != "" {
			continue // /lib is /usr/lib
		}
		files, _ := filepath.Glob(p.path(dir + "/*.conf")) // the pattern is well formed
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(b)) {
				if f, found := blacklisted(file, strings.Fields(line)); found {
					out = append(out, f)
				}
			}
		}
	}
	if out == nil {
		out = []Finding{ok("modprobe.d", "none of our modules is blacklisted")}
	}
	return out
}

func blacklisted(file string, words []string) (Finding, bool) {
	if len(words) < 2 {
		return Finding{}, false
	}
	module := strings.ReplaceAll(words[1], "-", "_")
	ours := false
	for _, m := range modules {
		ours = ours || m.name == module
	}
	switch {
	case !ours:
	case words[0] == "blacklist":
		return warn("modprobe.d", "name "+module+" in /etc/modules-load.d/l2tpctl.conf, or comment out the line", "%s blacklists %s, so that it is not loaded by itself", file, module), true
	case words[0] == "install" && len(words) > 2 && slices.Contains([]string{"/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true", "false", "true", ":"}, words[2]):
		return warn("modprobe.d", "comment out the line", "%s forbids to load %s", file, module), true
	}
	return Finding{}, false
}
