package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// modules are what the data plane and the test topology need. Loading one that is built in succeeds.
var modules = []string{
	"esp4", "esp6", "xfrm_user", "l2tp_ppp", "l2tp_netlink", "ppp_generic", "nf_tables", "nft_masq", "nft_ct",
	"veth", "bridge", "udp_tunnel", "ip6_udp_tunnel", "authenc", "cbc", "sha1_generic", "sha256_generic", "sha512_generic", "gcm", "rfc4106",
}

type host struct{}

func openHost() (Machine, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root")
	}
	for _, module := range modules {
		_ = exec.Command("modprobe", "-q", module).Run() // what matters is what works afterwards
	}
	if missing := missingFacilities(); len(missing) > 0 {
		return nil, fmt.Errorf("the running kernel has no %s", strings.Join(missing, ", "))
	}
	return host{}, nil
}

// missingFacilities tries each facility in a network namespace of its own.
func missingFacilities() []string {
	const state = " proto esp spi 0x1000 mode transport enc 'cbc(aes)' 0x00112233445566778899aabbccddeeff auth-trunc 'hmac(sha256)' 0x00 128"
	probes := []struct{ facility, script string }{
		{"ESP for IPv4 (esp4)", "ip xfrm state add src 192.0.2.1 dst 192.0.2.2" + state},
		{"ESP for IPv6 (esp6)", "ip xfrm state add src 2001:db8::1 dst 2001:db8::2" + state},
		{"L2TP generic netlink family (l2tp_netlink)", "ip l2tp show tunnel"},
		{"nftables with masquerade (nf_tables, nft_masq)", "nft 'table ip t { chain c { type nat hook postrouting priority 100; masquerade; }; }'"},
		{"veth pairs", "ip link add probe0 type veth peer name probe1"},
	}
	var missing []string
	for _, probe := range probes {
		if err := exec.Command("unshare", "--net", "sh", "-c", probe.script).Run(); err != nil {
			missing = append(missing, probe.facility)
		}
	}
	const protocolOL2TP = 1 // PX_PROTO_OL2TP of linux/if_pppox.h
	fd, err := unix.Socket(unix.AF_PPPOX, unix.SOCK_DGRAM, protocolOL2TP)
	if err != nil {
		return append(missing, "PPPoL2TP sockets (l2tp_ppp)")
	}
	unix.Close(fd)
	return missing
}

func (host) Name() string { return "host" }

func (host) Run(ctx context.Context, c Command) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limits.withDefaults().Run, errors.New("time limit for the command reached"))
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(append(os.Environ(), c.Env...), InsideVariable+"=host")
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("run %s: %w", c.Args[0], context.Cause(ctx))
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case err != nil:
		return 0, fmt.Errorf("run %s: %w", c.Args[0], err)
	}
	return 0, nil
}
