package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// LAC is an access concentrator without IPsec: xl2tpd, which has one socket for all its tunnels, and one tunnel for each line.
type LAC struct {
	*Client
	Lines []*Line
}

// Line is a caller behind a LAC.
type Line struct {
	User, Password string
	Address        netip.Addr // while it is connected

	lac    *LAC
	number int // of its PPP interface
}

// LAC prepares a LAC in a namespace that is attached to its network. Start starts it.
func (l *Lab) LAC(space *Namespace, server netip.Addr, lines ...*Line) (*LAC, error) {
	client, err := l.Client(space, ClientOptions{Server: server, User: "nobody"})
	if err != nil {
		return nil, err
	}
	lac := &LAC{client, lines}
	configuration := "[global]\nport = 1701\nforce userspace = yes\naccess control = no\ndebug tunnel = yes\ndebug state = yes\n"
	for n, line := range lines {
		line.lac, line.number = lac, n
		options, err := l.file(line.pppOptions(), space.Name, "ppp-options-"+line.User)
		if err != nil {
			return nil, err
		}
		l.addLog(line.log())
		configuration += fmt.Sprintf("[lac %s]\nlns = %s\npppoptfile = %s\nlength bit = %s\nautodial = no\nredial = no\n",
			line.User, server, options, map[bool]string{true: "yes", false: "no"}[n%2 == 0])
	}
	_, err = l.file(configuration, space.Name, "xl2tpd.conf")
	return lac, err
}

// Start starts xl2tpd and waits until it takes commands.
func (l *LAC) Start(ctx context.Context) error { return l.startXL2TPD(ctx) }

func (l *Line) log() string { return filepath.Join(l.lac.dir, "pppd-"+l.User+".log") }

func (l *Line) device() string { return fmt.Sprintf("ppp%d", l.number) }

func (l *Line) pppOptions() string {
	return strings.Join([]string{
		fmt.Sprintf("name %q", l.User), fmt.Sprintf("password %q", l.Password), fmt.Sprint("unit ", l.number),
		"noauth", "refuse-eap", "ipcp-accept-local", "ipcp-accept-remote", "noccp", "novj", "noipv6", "nodefaultroute",
		"mtu 1400", "mru 1400", "maxfail 1", "lcp-restart 1", "lcp-max-terminate 1", "nodetach", "debug", "logfile " + l.log(),
	}, "\n") + "\n"
}

// Dial makes a line's tunnel and its PPP link, and waits until the link has its address.
func (l *LAC) Dial(ctx context.Context, line *Line) error {
	if err := l.tellOf("c", line.User); err != nil {
		return err
	}
	return line.connected(ctx)
}

// connected waits for the address of a line, and then has what the line sends leave by its own link.
func (l *Line) connected(ctx context.Context) error {
	err := Until(ctx, 60*time.Second, l.lac.Name+": connect "+l.User, func() error {
		addresses, err := l.lac.Addresses(l.device())
		if err == nil && len(addresses) == 0 {
			err = errors.New("the PPP interface has no address")
		}
		if err == nil {
			l.Address = addresses[0]
		}
		return err
	})
	if err != nil {
		return err
	}
	table := 100 + l.number
	return l.lac.Batch(fmt.Sprintf("route replace default dev %s table %d", l.device(), table), fmt.Sprintf("rule add from %s lookup %d", l.Address, table))
}

// Ping pings from the line.
func (l *Line) Ping(ctx context.Context, to netip.Addr, count int) (Pings, error) {
	return l.lac.ping(ctx, l.Address, to, count, pingPatience)
}

// PingContinuously is Namespace.PingContinuously from the line.
func (l *Line) PingContinuously(ctx context.Context, to netip.Addr, rate int) (*PingStream, error) {
	return l.lac.pingContinuously(ctx, l.Address, to, rate)
}

// HangUp closes a line's tunnel.
func (l *LAC) HangUp(line *Line) error { return l.tellOf("d", line.User) }

// pppd starts the PPP link of a line whose session the kernel has.
func (l *Line) pppd(ctx context.Context, session *os.File) (*Process, error) {
	options, err := l.lac.lab.file(l.pppOptions(), l.lac.Name, "ppp-options-"+l.User)
	if err != nil {
		return nil, err
	}
	cmd := l.lac.Command(context.WithoutCancel(ctx), "pppd", "plugin", "pppol2tp.so", "pppol2tp", "3", "file", options)
	cmd.ExtraFiles = []*os.File{session}
	return l.lac.lab.start(cmd, l.lac.Name, "pppd-"+l.User+".out")
}
