package doctor

import (
	"context"
	"errors"
	"os"

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

func checkPrivileges(_ context.Context, _ Options, p probes) []Finding {
	const name = "CAP_NET_ADMIN"
	if p.netAdmin() {
		return []Finding{ok(name, "held")}
	}
	return []Finding{fail(name, "run as root, or under systemd with AmbientCapabilities=CAP_NET_ADMIN", "not held")}
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

// checkNftables installs the table in a namespace of its own.
func checkNftables(_ context.Context, o Options, p probes) []Finding {
	f := judge(p, "nf_tables", "nf_tables", "tables can be listed", p.nftables())
	if f.Status != OK {
		return []Finding{f}
	}
	steer := judge(p, "steering table", "nf_tables", "can be installed", p.steering(o.Steering))
	if steer.Status == Fail {
		steer.Fix = "modprobe nft_ct nft_fib_inet, and turn on CONFIG_NFT_CT, CONFIG_NFT_FIB_INET and CONFIG_XFRM if this is an own kernel; " + packages("nf_tables")
	}
	return []Finding{f, steer}
}
