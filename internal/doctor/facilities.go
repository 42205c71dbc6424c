package doctor

import (
	"context"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// judge turns the error of a probe into a finding.
func judge(p probes, name, module, what string, err error) Finding {
	switch {
	case err == nil:
		return ok(name, "%s", what)
	case errors.Is(err, os.ErrPermission):
		return warn(name, "run as root", "not checked: %v", err)
	default:
		return fail(name, moduleFix(p, module), "%v", err)
	}
}

// capabilities are what serve needs as root or by itself.
var capabilities = []struct {
	name   string
	bit    uint
	status Status // without it
	use    string
}{
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, Fail, "SAs, tunnels, nftables and PPP interfaces need it"},
	{"CAP_NET_RAW", unix.CAP_NET_RAW, Warn, "marks of sockets may need it"},
	{"CAP_NET_BIND_SERVICE", unix.CAP_NET_BIND_SERVICE, Fail, "UDP port 500 needs it"},
	{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN, Fail, "the mount namespace of pppd needs it"},
	{"CAP_SYS_CHROOT", unix.CAP_SYS_CHROOT, Fail, "entering the mount namespace of pppd needs it"},
}

func checkPrivileges(_ context.Context, _ Options, p probes) []Finding {
	held := p.capabilities()
	var out []Finding
	for _, c := range capabilities {
		if held&(1<<c.bit) != 0 {
			out = append(out, ok(c.name, "held"))
			continue
		}
		first, err := strconv.Atoi(p.sysctl("net/ipv4/ip_unprivileged_port_start"))
		if c.bit == unix.CAP_NET_BIND_SERVICE && err == nil && first <= 500 {
			out = append(out, ok(c.name, "not held, and not needed: ports from %d on are for everybody", first))
			continue
		}
		out = append(out, Finding{Name: c.name, Status: c.status, Detail: "not held: " + c.use, Fix: "run as root, or under systemd with AmbientCapabilities=" + c.name})
	}
	return out
}

// checkIPsec adds SAs in a namespace of their own.
func checkIPsec(_ context.Context, _ Options, p probes) []Finding {
	out := []Finding{judge(p, "xfrm_user", "xfrm_user", "XFRM netlink socket opens", p.xfrmSocket())}
	if out[0].Status == Fail {
		return append(out,
			fail("esp4", moduleFix(p, "esp4"), "not checked: needs xfrm_user"),
			fail("esp6", moduleFix(p, "esp6"), "not checked: needs xfrm_user"))
	}
	usable := false // by one family, to try algorithms with
	v6 := false
	for _, f := range []struct {
		name string
		v6   bool
	}{{"esp4", false}, {"esp6", true}} {
		err := p.addSA(f.v6, algorithms[0])
		// The algorithm is resolved first: any other error is about it and not about ESP.
		if err != nil && !errors.Is(err, unix.EPROTONOSUPPORT) && !errors.Is(err, os.ErrPermission) {
			for _, a := range algorithms[1:] {
				if p.addSA(f.v6, a) == nil {
					err = nil
					break
				}
			}
		}
		out = append(out, judge(p, f.name, f.name, "an SA can be added", err))
		if err == nil && !usable {
			usable, v6 = true, f.v6
		}
	}
	for _, a := range algorithms {
		if !usable {
			out = append(out, warn(a.name, "see esp4 and esp6", "not checked: needs esp4 or esp6"))
			continue
		}
		err := p.addSA(v6, a)
		f := judge(p, a.name, a.module, "usable", err)
		if f.Status == Fail && !a.required {
			f.Status = Warn
		}
		out = append(out, f)
	}
	return out
}

// checkOffload looks for the GRO paths of ESP: without them decapsulated packets queue for a work queue, at netdev_max_backlog packets at most.
func checkOffload(_ context.Context, _ Options, p probes) []Finding {
	var out []Finding
	for _, f := range []struct{ module, config string }{{"esp4_offload", "CONFIG_INET_ESP_OFFLOAD"}, {"esp6_offload", "CONFIG_INET6_ESP_OFFLOAD"}} {
		switch {
		case p.module(f.module) == moduleLoaded || p.builtIn(f.config):
			out = append(out, ok(f.module, "loaded"))
		default:
			out = append(out, warn(f.module, moduleFix(p, f.module), "not loaded: ESP is received one packet at a time"))
		}
	}
	return out
}

func checkL2TP(_ context.Context, _ Options, p probes) []Finding {
	return []Finding{
		judge(p, "l2tp_netlink", "l2tp_netlink", "generic netlink family l2tp is there", p.l2tpFamily()),
		judge(p, "l2tp_ppp", "l2tp_ppp", "PPPoL2TP sockets can be opened", p.pppol2tpSocket()),
		judge(p, "ppp_generic", "ppp_generic", "/dev/ppp opens", p.devPPP()),
	}
}

// checkNftables installs the table in a namespace of its own, and looks for the one of the running daemon.
func checkNftables(_ context.Context, o Options, p probes) []Finding {
	f := judge(p, "nf_tables", "nf_tables", "tables can be listed", p.nftables())
	if f.Status != OK {
		return []Finding{f}
	}
	steer := judge(p, "steering table", "nf_tables", "can be installed", p.steering(o.Steering))
	if steer.Status == Fail {
		steer.Fix = "modprobe nft_ct nft_fib_inet, and turn on CONFIG_NFT_CT, CONFIG_NFT_FIB_INET and CONFIG_XFRM if this is an own kernel; " + packages("nf_tables")
	}
	out := []Finding{f, steer}
	if o.Serving {
		const name = "installed table"
		switch present, err := p.tablePresent(o.Steering); {
		case errors.Is(err, os.ErrPermission):
			out = append(out, warn(name, "run as root", "not checked: %v", err))
		case err != nil:
			out = append(out, fail(name, "see dmesg, and restart the daemon", "%v", err))
		case !present:
			out = append(out, fail(name, "restart the daemon, and keep other programs (nft flush ruleset, the nftables service) from removing it", "the steering table of the running daemon is missing or was changed: clients cannot connect"))
		default:
			out = append(out, ok(name, "there, with all of its rules"))
		}
	}
	return out
}
