package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Charon is strongSwan as the responder of anybody who knows a key, tuned for a great number of them.
type Charon struct {
	*Client
	pid int
}

// CharonOptions describe a Charon.
type CharonOptions struct {
	Address  netip.Addr
	PSK      string
	IKE, ESP string // the only proposals, in strongSwan's notation

	// UserSpace keeps SAs in charon itself, as it can do where the kernel has no ESP. It then wants ESP in UDP.
	UserSpace bool
}

// Charon prepares strongSwan in a namespace that is attached to its network.
func (l *Lab) Charon(space *Namespace, o CharonOptions) (*Charon, error) {
	client, err := l.Client(space, ClientOptions{PSK: o.PSK, Server: o.Address})
	if err != nil {
		return nil, err
	}
	kernel := "kernel-netlink"
	if o.UserSpace {
		kernel = "kernel-libipsec kernel-netlink"
	}
	c := &Charon{Client: client}
	for name, content := range map[string]string{
		"ipsec.conf": fmt.Sprintf(`config setup
	uniqueids=never
conn %s
	keyexchange=ikev1
	type=transport
	authby=secret
	ike=%s!
	esp=%s!
	left=%s
	leftprotoport=17/1701
	right=%%any
	rightprotoport=17/%%any
	rightid=%%any
	rekey=no
	dpdaction=none
	auto=add
`, connection, o.IKE, o.ESP, o.Address),
		// A hash table for its SAs, no limits for strangers, no log, and the fastest that it has: MODP groups of GMP, with exponents as
		// long as the group is strong instead of as long as its prime, and OpenSSL for the rest.
		"strongswan.conf": fmt.Sprintf(`charon {
	load = gmp openssl random nonce %s socket-default stroke
	ikesa_table_size = 16384
	ikesa_table_segments = 256
	dos_protection = no
	block_threshold = 0
	cookie_threshold = 0
	init_limit_half_open = 0
	threads = 16
	install_routes = no
	process_route = no
	syslog {
		daemon {
			default = -1
		}
		auth {
			default = -1
		}
	}
}
libstrongswan {
	dh_exponent_ansi_x9_42 = no
}
`, kernel),
	} {
		if _, err := l.file(content, space.Name, name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Start starts charon and waits until it takes connections.
func (c *Charon) Start(ctx context.Context) error {
	if err := c.startStrongSwan(ctx); err != nil {
		return err
	}
	pids, err := c.programs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if programName(pid) == charonProgram {
			c.pid = pid
			return nil
		}
	}
	return errors.New("charon is not among the programs that were started")
}

// CPU returns the CPU time that charon has used, in user space and in the kernel.
func (c *Charon) CPU() (time.Duration, error) { return cpuOf(c.pid) }
