package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// checkPorts looks who holds the UDP ports of IKE (RFC 2408 section 2.5.1, RFC 3947 section 4), and that of L2TP if there are peers without IPsec.
func checkPorts(_ context.Context, o Options, p probes) []Finding {
	if o.DaemonRunning {
		return nil
	}
	var out []Finding
	ports := []uint16{500, 4500}
	if len(o.Steering.PlainPeers) > 0 {
		ports = append(ports, 1701)
	}
	for _, port := range ports {
		name := fmt.Sprintf("UDP port %d", port)
		stop := "stop it (systemctl disable --now strongswan-starter, strongswan, ipsec or racoon)"
		if port == 1701 {
			stop = "stop it (systemctl disable --now xl2tpd), or remove l2tp.plain_peers"
		}
		any, one := p.boundUDP(port)
		who, ours := p.holder(slices.Concat(any, one))
		switch {
		case ours:
			out = append(out, ok(name, "held by %s", who))
		case len(any) > 0:
			out = append(out, fail(name, stop, "held by %s", who))
		case len(one) > 0:
			out = append(out, warn(name, stop+", or listen on other addresses", "held on some addresses by %s", who))
		default:
			out = append(out, ok(name, "free"))
		}
	}
	return out
}

// boundUDP returns the inodes of the sockets that are bound to a port at the wildcard address, and at one address.
func (p probes) boundUDP(port uint16) (any, one []string) {
	for _, s := range p.udpSockets() {
		switch {
		case s.port != port:
		case s.wildcard:
			any = append(any, s.inode)
		default:
			one = append(one, s.inode)
		}
	}
	return any, one
}

// udpSocket is a UDP socket of this network namespace.
type udpSocket struct {
	port     uint16
	wildcard bool
	inode    string
}

func (p probes) udpSockets() (list []udpSocket) {
	for _, file := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		for line := range strings.Lines(p.text(file)) {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...
			f := strings.Fields(line)
			if len(f) < 10 {
				continue
			}
			address, hex, _ := strings.Cut(f[1], ":")
			if n, err := strconv.ParseUint(hex, 16, 16); err == nil {
				list = append(list, udpSocket{uint16(n), strings.Trim(address, "0") == "", f[9]})
			}
		}
	}
	return list
}

// program is the name of our own processes (comm of proc(5)).
const program = "l2tpctl"

// holder names the processes that have one of the sockets open, and says whether all of them are our daemon. Only root sees the sockets of
// other users; for others, a daemon of ours that is running is taken for the holder.
func (p probes) holder(inodes []string) (who string, ours bool) {
	if len(inodes) == 0 {
		return "", false
	}
	var holders []string
	ours = true
	fds, _ := filepath.Glob(p.path("/proc/[0-9]*/fd/*")) // the pattern is well formed
	for _, fd := range fds {
		link, err := os.Readlink(fd)
		if err != nil {
			continue
		}
		inode, found := strings.CutPrefix(link, "socket:[")
		if !found || !slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue
		}
		name := strings.TrimSpace(string(comm))
		ours = ours && name == program
		if who := fmt.Sprintf("%s (pid %s)", name, filepath.Base(dir)); !slices.Contains(holders, who) {
			holders = append(holders, who)
		}
	}
	if holders != nil {
		return strings.Join(holders, ", "), ours
	}
	if pid, running := p.daemon(); running {
		return fmt.Sprintf("a process that cannot be seen from here, probably %s (pid %s)", program, pid), true
	}
	return "a process that cannot be seen from here, or the kernel", false
}

// ourSockets are the inodes of all sockets that processes of ours have, as far as this user may see them.
func (p probes) ourSockets() map[string]bool {
	ours := make(map[string]bool)
	names, _ := filepath.Glob(p.path("/proc/[0-9]*/comm")) // the pattern is well formed
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || strings.TrimSpace(string(comm)) != program {
			continue
		}
		fds, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "fd", "*"))
		for _, fd := range fds {
			if link, err := os.Readlink(fd); err == nil && strings.HasPrefix(link, "socket:[") {
				ours[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
			}
		}
	}
	return ours
}

// daemon returns the process id of a running `l2tpctl serve`.
func (p probes) daemon() (pid string, running bool) {
	names, _ := filepath.Glob(p.path("/proc/[0-9]*/comm")) // the pattern is well formed
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || strings.TrimSpace(string(comm)) != program {
			continue
		}
		dir := filepath.Dir(name)
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && slices.Contains(strings.Split(string(args), "\x00"), "serve") {
			return filepath.Base(dir), true
		}
	}
	return "", false
}
