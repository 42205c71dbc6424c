// Command demo shows the main job of l2tpctl: two foreign clients behind one NAT, both with UDP source port 1701, get PPP sessions over
// L2TP and IPsec whose packets never leave the kernel. It needs root, and boots a kernel if the machine's own has no ESP or L2TP.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/integration/vm"
)

const (
	psk    = "a pre-shared key for the demo"
	config = `ike:
  psk: "` + psk + `"
pool: 10.99.0.0/24
users:
  - name: alice
    password: "password of alice"
  - name: bob
    password: "password of bob"
`
)

// inner is the server's address in the tunnels: the first of the pool.
var inner = netip.MustParseAddr("10.99.0.1")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx)
	stop()
	os.Exit(status)
}

func run(ctx context.Context) int {
	if _, inside := vm.Inside(); !inside {
		binary, err := lab.Binary(ctx)
		if err != nil {
			return failed(err)
		}
		os.Setenv(lab.BinaryVariable, binary)
	}
	status, here, err := vm.Reenter(ctx, vm.Limits{Run: 15 * time.Minute}, os.Stdout)
	if err != nil {
		return failed(err)
	}
	if !here {
		return status
	}
	d := &demo{ctx: ctx}
	if err := d.run(); err != nil {
		if d.scene != nil {
			fmt.Print(d.scene.Logs(25))
			d.scene.Close()
		}
		return failed(err)
	}
	fmt.Println("\nThe demo has shown everything it wanted to show.")
	return 0
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "demo:", err)
	return 1
}

// demo goes through the steps in order; each prints what it does and fails if what it shows is not so.
type demo struct {
	ctx        context.Context
	scene      *lab.Scene
	server     *lab.Server
	alice, bob *lab.Client
}

func (d *demo) run() error {
	for _, step := range []struct {
		title string
		do    func() error
	}{
		{"A network: a server, a NAT box, two clients behind it", d.build},
		{"The server: one binary, one file", d.serve},
		{"Both clients connect: strongSwan, xl2tpd and pppd, UDP port 1701, one public address", d.connect},
		{"What the operator sees", d.show},
		{"Pings through each tunnel, in both directions", d.ping},
		{"The daemon is killed and started again, under pings: nothing is lost", d.restart},
		{"TCP through each tunnel: the packets stay in the kernel", d.iperf},
		{"Both clients disconnect", d.disconnect},
		{"The server stops, and nothing of it remains", d.stop},
	} {
		fmt.Printf("\n== %s\n\n", step.title)
		if err := step.do(); err != nil {
			return err
		}
	}
	return d.scene.Close()
}

func (d *demo) build() error {
	var err error
	if d.scene, err = lab.NewScene(os.Getenv(lab.BinaryVariable), config); err != nil {
		return err
	}
	d.server = d.scene.Server
	for _, c := range []struct {
		name   string
		client **lab.Client
	}{{"alice", &d.alice}, {"bob", &d.bob}} {
		*c.client, err = d.scene.HomeClient(c.name, lab.ClientOptions{PSK: psk, User: c.name, Password: "password of " + c.name})
		if err != nil {
			return err
		}
	}
	fmt.Print(`    alice 10.0.0.10 ─┬─ 10.0.0.1 NAT 192.0.2.2 ── 192.0.2.1 server
      bob 10.0.0.11 ─┘     (masquerade)
`)
	return nil
}

func (d *demo) serve() error {
	fmt.Print(indent(config))
	fmt.Println("\n    $ l2tpctl serve -c config.yaml")
	return d.server.Start(d.ctx)
}

func (d *demo) connect() error {
	for _, c := range []*lab.Client{d.alice, d.bob} {
		if err := c.Start(d.ctx); err != nil {
			return err
		}
		begin := time.Now()
		address, err := c.Connect(d.ctx)
		if err != nil {
			return err
		}
		fmt.Printf("    %-5s has the inner address %v, %v after its first IKE packet\n", c.Name, address, time.Since(begin).Round(time.Millisecond))
	}
	return nil
}

func (d *demo) show() error {
	for _, args := range [][]string{{"tunnel", "list"}, {"session", "list"}, {"sa", "list"}} {
		if err := d.cli(args...); err != nil {
			return err
		}
	}
	sessions, err := d.server.Sessions(d.ctx)
	if err == nil && len(sessions) != 2 {
		err = fmt.Errorf("there are %d sessions, not two", len(sessions))
	}
	return err
}

// cli runs l2tpctl and prints its table.
func (d *demo) cli(args ...string) error {
	out, err := d.server.CLI(d.ctx, append(args, "-o", "table")...)
	fmt.Printf("    $ l2tpctl %s\n%s\n", strings.Join(args, " "), indent(out))
	return err
}

func (d *demo) ping() error {
	for _, c := range []*lab.Client{d.alice, d.bob} {
		session, err := d.server.SessionOf(d.ctx, c.Name)
		if err != nil {
			return err
		}
		for _, way := range []struct {
			from *lab.Namespace
			name string
			to   netip.Addr
		}{{c.Namespace, c.Name + " → server", inner}, {d.server.Namespace, "server → " + c.Name, session.IP}} {
			pings, err := way.from.Ping(d.ctx, way.to, 20)
			if err != nil {
				return err
			}
			fmt.Printf("    %-15s %v: %d of %d answered\n", way.name, way.to, pings.Received, pings.Sent)
			if pings.Lost() > 0 {
				return errors.New("pings were lost")
			}
		}
	}
	return nil
}

// restart kills the daemon while both clients ping, and starts another.
func (d *demo) restart() error {
	before, err := d.server.Sessions(d.ctx)
	if err != nil {
		return err
	}
	clients := []*lab.Client{d.alice, d.bob}
	var streams []*lab.PingStream
	for _, c := range clients {
		stream, err := c.PingContinuously(d.ctx, inner, 50)
		if err != nil {
			return err
		}
		streams = append(streams, stream)
	}
	fmt.Printf("    server# kill -9 %d\n", d.server.Process.PID())
	begin := time.Now()
	d.server.Process.Kill()
	fmt.Println("    $ l2tpctl serve -c config.yaml")
	if err := d.server.Start(d.ctx); err != nil {
		return err
	}
	fmt.Printf("    the daemon answers again after %v\n\n", time.Since(begin).Round(time.Millisecond))
	if err := d.cli("session", "list"); err != nil {
		return err
	}
	after, err := d.server.Sessions(d.ctx)
	if err == nil && len(after) != len(before) {
		err = fmt.Errorf("there were %d sessions, and there are %d", len(before), len(after))
	}
	if err != nil {
		return err
	}
	for i, stream := range streams {
		pings, err := stream.Stop(50)
		if err != nil {
			return err
		}
		fmt.Printf("    %-5s 50 pings a second meanwhile: %d of %d answered\n", clients[i].Name, pings.Received, pings.Sent)
		if pings.Lost() > 0 {
			return errors.New("pings were lost")
		}
	}
	return nil
}

// packetsPerCall is how many packets must have passed for each call of the daemon that reads or writes, to say that it moved none.
const packetsPerCall = 100

func (d *demo) iperf() error {
	for _, c := range []*lab.Client{d.alice, d.bob} {
		session, err := d.server.SessionOf(d.ctx, c.Name)
		if err != nil {
			return err
		}
		trace, err := d.server.Trace()
		if err != nil {
			return err
		}
		before, err := d.server.Counters(session.Interface)
		if err != nil {
			return err
		}
		result, err := c.Iperf(d.ctx, d.server.Namespace, inner, 3*time.Second, false)
		if err != nil {
			return err
		}
		after, err := d.server.Counters(session.Interface)
		if err != nil {
			return err
		}
		daemon, err := trace.Stop()
		if err != nil {
			return err
		}
		packets := after.Packets - before.Packets
		fmt.Printf("    %s: %.0f Mbit/s of TCP\n", c.Name, result.BitsPerSecond/1e6)
		fmt.Printf("      %-28s %d packets, %d octets\n", "the kernel, on "+session.Interface+":", packets, after.Bytes-before.Bytes)
		fmt.Printf("      %-28s %v\n", "the daemon, by strace -f -c:", daemon)
		if packets < packetsPerCall*(daemon.Receiving+daemon.Sending) {
			return errors.New("the daemon read and wrote so often that it may have moved user data")
		}
	}
	return nil
}

func (d *demo) disconnect() error {
	for _, c := range []*lab.Client{d.alice, d.bob} {
		if err := c.Disconnect(d.ctx); err != nil {
			return err
		}
		fmt.Printf("    %s has hung up\n", c.Name)
	}
	if err := d.server.WaitEmpty(d.ctx, 30*time.Second); err != nil {
		return err
	}
	fmt.Println()
	return errors.Join(d.cli("tunnel", "list"), d.cli("sa", "list"))
}

func (d *demo) stop() error {
	if err := d.server.Stop(); err != nil {
		return err
	}
	if err := d.server.WaitClean(d.ctx, 15*time.Second, true); err != nil {
		return err
	}
	for _, command := range []string{"ip xfrm state list", "ip xfrm policy list", "ip l2tp show tunnel", "ip l2tp show session", "nft list tables", "ip -brief link show", "ss -u -a -n -H"} {
		out, err := d.server.Run(d.ctx, strings.Fields(command)...)
		if err != nil {
			return err
		}
		if out == "" {
			out = "(nothing)\n"
		}
		fmt.Printf("    server# %s\n%s", command, indent(out))
	}
	fmt.Println("\n    no SAs, no policies, no tunnels, no sessions, no rules, no PPP interfaces, no sockets, no pppd")
	return nil
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}
