package lab

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ClientOptions describe a strongSwan and xl2tpd client. The zero value of what may be left out stands for the client's usual behaviour.
type ClientOptions struct {
	Server   netip.Addr // not valid: anybody calls strongSwan
	PSK      string
	User     string
	Password string

	// Identity makes the client authenticate with its certificate instead of PSK, and Roots are the certificates of the authorities
	// that it trusts.
	Identity *Identity
	Roots    []string

	IKE string // strongSwan's notation; aes256-sha256-modp2048 if empty
	ESP string // aes256-sha1 if empty
	// AnyPort negotiates any UDP port on the client's side, so that other sockets of the client use the SA too.
	AnyPort bool
	// Checksums gives the L2TP datagrams UDP checksums, which xl2tpd and its kernel mode leave out.
	Checksums bool
	// SourcePort is the UDP port of L2TP; 1701 if zero.
	SourcePort uint16
	// IPsec are further lines of strongSwan's connection; rekey=no if there are none.
	IPsec []string
	// KeepRekeyed has strongSwan keep SAs that were replaced until their life is over, as it does by default. Without it it deletes them as soon as it
	// believes that the others are in use, and loses what is on its way through them.
	KeepRekeyed bool
	// Patient has strongSwan wait long for an answer before it sends a message once more.
	Patient bool
	// PPP are further options for pppd.
	PPP []string
}

// Client is a foreign client in a namespace of its own.
type Client struct {
	*Namespace
	Options ClientOptions

	dir    string
	holder *Process // keeps the mount namespace
}

const connection = "vpn"

// Client prepares a foreign client in a namespace that is already attached to its network. Start starts its daemons.
func (l *Lab) Client(space *Namespace, options ClientOptions) (*Client, error) {
	c := &Client{Namespace: space, Options: options, dir: filepath.Join(l.Dir, space.Name)}
	if err := c.writeFiles(); err != nil {
		return nil, err
	}
	if err := c.hold(); err != nil {
		return nil, err
	}
	if c.relayed() {
		return c, c.relay()
	}
	return c, nil
}

func (c *Client) writeFiles() error {
	o := &c.Options
	o.IKE, o.ESP = cmp.Or(o.IKE, "aes256-sha256-modp2048"), cmp.Or(o.ESP, "aes256-sha1")
	o.SourcePort = cmp.Or(o.SourcePort, 1701)
	if o.IPsec == nil {
		o.IPsec = []string{"rekey=no"}
	}
	leftPort := fmt.Sprint(o.SourcePort)
	if o.AnyPort {
		leftPort = "%any"
	}
	right := "%any"
	if o.Server.IsValid() {
		right = o.Server.String()
	}
	lns := o.Server
	if c.relayed() {
		lns = relayAddress.Addr()
	}
	own, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the name of this machine: %w", err)
	}
	authentication, secret := "authby=secret", fmt.Sprintf(": PSK %q\n", o.PSK)
	if o.Identity != nil {
		kind := "RSA"
		if strings.HasPrefix(string(o.Identity.Kind), "ecdsa") {
			kind = "ECDSA"
		}
		authentication, secret = "authby=pubkey\n\tleftcert=client.pem\n\tleftsendcert=always", ": "+kind+" client.key\n"
		if err := o.Identity.install(filepath.Join(c.dir, "ipsec.d"), o.Roots); err != nil {
			return err
		}
	}
	files := map[string]string{
		// pppd looks for the machine's own name, and would wait for a name server.
		"hosts":         "127.0.0.1 localhost " + own + "\n",
		"run/.keep":     "",
		"etc-ppp/.keep": "",
		"ipsec.conf": fmt.Sprintf(`config setup
conn %s
	keyexchange=ikev1
	type=transport
	%s
	ike=%s!
	esp=%s!
	left=%%any
	leftprotoport=17/%s
	right=%s
	rightprotoport=17/1701
	rightid=%%any
	keyingtries=1
	auto=add
	%s
`, connection, authentication, o.IKE, o.ESP, leftPort, right, strings.Join(o.IPsec, "\n\t")),
		"ipsec.secrets": secret,
		"ipsec.d/.keep": "",
		"strongswan.conf": fmt.Sprintf(`charon {
	load = random nonce aes sha1 sha2 hmac gmp openssl gcm x509 revocation constraints pubkey pem pkcs1 pkcs8 kernel-netlink socket-default stroke
	install_routes = no
	retransmit_timeout = %s
	retransmit_base = 1.4
	retransmit_tries = %d
	delete_rekeyed = %s
	filelog {
		log {
			path = %s
			default = 1
			ike = 2
			flush_line = yes
		}
	}
}
`, map[bool]string{false: "1.0", true: "30.0"}[o.Patient], 3+patience, map[bool]string{false: "yes", true: "no"}[o.KeepRekeyed], c.charonLog()),
		"xl2tpd.conf": fmt.Sprintf(`[global]
port = %d
force userspace = no
access control = no
debug tunnel = yes
debug state = yes
[lac %s]
lns = %s
pppoptfile = %s
length bit = yes
autodial = no
redial = no
`, o.SourcePort, connection, lns, filepath.Join(c.dir, "ppp-options")),
		"ppp-options": strings.Join(append([]string{
			"name " + fmt.Sprintf("%q", o.User), "password " + fmt.Sprintf("%q", o.Password),
			"noauth", "refuse-eap", "ipcp-accept-local", "ipcp-accept-remote", "noccp", "novj", "noipv6", "usepeerdns",
			"nodefaultroute", "mtu 1400", "mru 1400", "maxfail 1", "lcp-restart 1", "lcp-max-terminate 1", "debug", "logfile " + c.pppdLog(),
		}, o.PPP...), "\n") + "\n",
	}
	for name, content := range files {
		if _, err := c.lab.file(content, c.Name, name); err != nil {
			return err
		}
	}
	for _, log := range []string{c.charonLog(), c.pppdLog()} {
		c.lab.addLog(log)
	}
	return nil
}

// relayed says whether something has to stand between xl2tpd and IPsec.
func (c *Client) relayed() bool { return c.Options.Checksums || c.Options.Server.Is6() }

func (c *Client) charonLog() string { return filepath.Join(c.dir, "charon.log") }
func (c *Client) pppdLog() string   { return filepath.Join(c.dir, "pppd.log") }
func (c *Client) xl2tpdLog() string { return filepath.Join(c.dir, "xl2tpd.log") }
func (c *Client) control() string   { return filepath.Join(c.dir, "run", "xl2tpd.control") }

// hold makes the client's mount namespace, in which /run and the files below /etc are its own, and a process that keeps it. What
// goes to the console where no syslogd runs goes nowhere.
func (c *Client) hold() error {
	script := `set -e
mount --bind "$1/etc-ppp" /etc/ppp
mount --bind "$1/ipsec.conf" /etc/ipsec.conf
mount --bind "$1/ipsec.secrets" /etc/ipsec.secrets
mount --bind "$1/ipsec.d" /etc/ipsec.d
mount --bind "$1/hosts" /etc/hosts
mount --bind /dev/null /dev/console
mount --bind "$1/run" /run
echo ready
exec cat`
	cmd := c.Namespace.Command(context.Background(), "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", c.dir)
	stdin, err := cmd.StdinPipe() // the holder ends with this process
	if err != nil {
		return fmt.Errorf("%s: make a pipe: %w", c.Name, err)
	}
	c.lab.onClose(func() error { stdin.Close(); return nil }) // closed already if the holder has ended
	if c.holder, err = c.lab.start(cmd, c.Name, "holder.log"); err != nil {
		return err
	}
	c.lab.onClose(c.killAll)
	return Until(context.Background(), 60*time.Second, c.Name+": make the client's mount namespace", func() error { return c.holder.says("ready") })
}

// Command prepares a program that will see the client's network and files.
func (c *Client) Command(ctx context.Context, args ...string) *exec.Cmd {
	pid := c.holder.PID()
	enter := []string{"--net=" + c.path(), fmt.Sprintf("--mount=/proc/%d/ns/mnt", pid), fmt.Sprintf("--root=/proc/%d/root", pid), "--wd=/", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+filepath.Join(c.dir, "strongswan.conf"))
	return cmd
}

const (
	strongSwan    = "/usr/lib/ipsec/"
	charonProgram = "charon"
)

// Start starts strongSwan and xl2tpd and waits until both take commands.
func (c *Client) Start(ctx context.Context) error {
	if err := c.startStrongSwan(ctx); err != nil {
		return err
	}
	return c.startXL2TPD(ctx)
}

// startXL2TPD starts xl2tpd and waits until it takes commands.
func (c *Client) startXL2TPD(ctx context.Context) error {
	xl2tpd, err := c.lab.start(c.Command(context.Background(), "xl2tpd", "-D", "-c", filepath.Join(c.dir, "xl2tpd.conf"),
		"-C", c.control(), "-p", filepath.Join(c.dir, "run", "xl2tpd.pid")), c.Name, "xl2tpd.log")
	if err != nil {
		return err
	}
	return Until(ctx, 60*time.Second, c.Name+": start xl2tpd", func() error { return xl2tpd.says("Listening on IP address") })
}

// startStrongSwan starts strongSwan and waits until it takes commands.
func (c *Client) startStrongSwan(ctx context.Context) error {
	if _, err := c.lab.start(c.Command(context.Background(), strongSwan+"starter", "--daemon", charonProgram, "--nofork"), c.Name, "starter.log"); err != nil {
		return err
	}
	// In an emulated processor charon may take half a minute to load its plugins.
	return Until(ctx, 90*time.Second, c.Name+": start strongSwan", func() error {
		out, err := c.stroke(ctx, "statusall")
		if err == nil && !strings.Contains(out, connection+":") {
			err = fmt.Errorf("the connection is not loaded: %s", out)
		}
		return err
	})
}

// stroke gives a command to charon.
func (c *Client) stroke(ctx context.Context, args ...string) (string, error) {
	out, err := c.Command(ctx, append([]string{strongSwan + "stroke"}, args...)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: stroke %s: %w: %s", c.Name, strings.Join(args, " "), err, lastLines(string(out), 5))
	}
	return string(out), nil
}

// tell gives a command about the client's connection to xl2tpd.
func (c *Client) tell(command string) error { return c.tellOf(command, connection) }

// tellOf is tell for another connection.
func (c *Client) tellOf(command, connection string) error {
	pipe, err := os.OpenFile(c.control(), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%s: open xl2tpd's control pipe: %w", c.Name, err)
	}
	defer pipe.Close()
	w := bufio.NewWriter(pipe)
	fmt.Fprintf(w, "%s %s\n", command, connection)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("%s: write to xl2tpd's control pipe: %w", c.Name, err)
	}
	return nil
}

// programs returns the ids of the client's processes, the holder's not among them.
func (c *Client) programs() ([]int, error) {
	pids, err := processesIn("mnt", fmt.Sprintf("/proc/%d/ns/mnt", c.holder.PID()))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == c.holder.PID() }), nil
}

// killAll ends all of the client's programs at once, without a word to the server.
func (c *Client) killAll() error {
	pids, err := c.programs()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the holder has gone already, and with it the namespace
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return err
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
