//go:build integration

package integration

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// wire is a client at the other end of a device of netdevsim.
type wire struct {
	*lab.Client
	device *lab.Simulated
}

// wired makes a client with a cable of its own to the server.
func (f *fixture) wired(name string, n int, esp string) *wire {
	f.t.Helper()
	space, err := f.Namespace(name)
	f.must(err)
	address := func(host byte) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n*4) + host}), 30)
	}
	device, _, err := f.SimulatedCable(fmt.Sprintf("sim%d", n), f.Server.Namespace, address(1), space, address(2))
	f.must(err)
	o := options(name)
	o.Server, o.ESP = address(1).Addr(), esp
	return &wire{f.started(f.Client(space, o)), device}
}

// sasOf are the server's SAs for a client, by direction.
func (f *fixture) sasOf(w *wire) (map[string]control.SA, error) {
	all, err := f.Server.SAs(f.ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[string]control.SA)
	for _, sa := range all {
		if server := map[string]netip.Addr{"in": sa.Dst, "out": sa.Src}[sa.Direction]; server == w.Options.Server {
			found[sa.Direction] = sa
		}
	}
	if len(found) != 2 {
		return nil, fmt.Errorf("%s has the SAs %+v", w.Name, all)
	}
	return found, nil
}

// inDevice waits until the SAs of a client are where they should be, by the server and by the device, which has no others. It returns the SPI of
// the inbound one.
func (f *fixture) inDevice(w *wire, offload string) (spi string) {
	f.t.Helper()
	// A client is up as soon as it has sent message 3 of Quick Mode.
	f.must(lab.Until(f.ctx, 30*time.Second, fmt.Sprintf("the SAs of %s are in %q", w.Name, offload), func() error {
		sas, err := f.sasOf(w)
		if err != nil {
			return err
		}
		table, err := w.device.Table()
		if err != nil {
			return err
		}
		count := 0
		for direction, sa := range sas {
			if sa.Offload != offload {
				return fmt.Errorf("the SA %s is in %q", direction, sa.Offload)
			}
			if offload != "" {
				count++
				if !strings.Contains(table, "spi="+sa.SPI) {
					return fmt.Errorf("the device has no SA %s:\n%s", sa.SPI, table)
				}
			}
		}
		if !strings.HasPrefix(table, fmt.Sprintf("SA count=%d ", count)) {
			return fmt.Errorf("want %d SAs in the device:\n%s", count, table)
		}
		tunnels, err := f.Server.Tunnels(f.ctx)
		if err != nil {
			return err
		}
		for _, tunnel := range tunnels {
			if tunnel.ID == sas["in"].TunnelID && tunnel.Offload != offload {
				return fmt.Errorf("the tunnel is shown in %q", tunnel.Offload)
			}
		}
		spi = sas["in"].SPI
		return nil
	}))
	return spi
}

func (f *fixture) wantOffload(why string, packet, crypto, software int, lost uint64) {
	f.t.Helper()
	f.must(lab.Until(f.ctx, soon, why, func() error {
		stats, err := f.Server.Stats(f.ctx)
		got := stats.Offload
		if err == nil && (got.Packet != packet || got.Crypto != crypto || got.Software != software || got.Lost != lost) {
			err = fmt.Errorf("the counters are %+v, want %d in packet mode, %d in crypto mode, %d in software, %d lost", got, packet, crypto, software, lost)
		}
		return err
	}))
}

// simulator makes sure that there is netdevsim and that it can be asked.
func simulator(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/sys/bus/netdevsim"); err != nil {
		skip(t, fmt.Errorf("the kernel has no netdevsim: %w", err))
	}
	const debugfs = "/sys/kernel/debug"
	if _, err := os.Stat(debugfs + "/netdevsim"); err == nil {
		return
	}
	if err := unix.Mount("none", debugfs, "debugfs", 0, ""); err != nil {
		t.Fatalf("mount debugfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(debugfs, 0); err != nil {
			t.Errorf("unmount debugfs: %v", err)
		}
	})
}

// TestOffload has SAs in network devices that take some of them: what they refuse is done in software, and what goes with a device is negotiated anew.
func TestOffload(t *testing.T) {
	simulator(t)
	f := setUp(t, config("", "alice", "bob", "carol"))
	alice := f.wired("alice", 1, "aes128gcm16")
	f.must(alice.IPsecUp(f.ctx))
	before := f.inDevice(alice, "sim1/crypto")
	f.wantOffload("alice is up", 0, 2, 0, 0)
	f.must(f.Server.Says(f.ctx, 20*time.Second, "a device does not take SAs of a kind", `"mode": "packet"`))

	bob := f.wired("bob", 2, "aes256-sha1")
	f.must(bob.IPsecUp(f.ctx))
	f.inDevice(bob, "")
	f.wantOffload("bob is up", 0, 2, 2, 0)
	f.must(f.Server.Says(f.ctx, 20*time.Second, "a device does not take SAs of a kind", `"mode": "crypto"`, "aes256", "Failed to get key data"))
	carol := f.public("carol") // behind no such device
	f.passesTraffic(carol, f.connect(carol))
	f.wantOffload("carol is up", 0, 2, 4, 0)

	charon, _ := alice.LogMarks()
	f.must(f.Server.Process.Pause()) // what it sent while the device is down would be lost
	f.must(f.Server.Batch("link set sim1 down", "link set sim1 up"))
	f.must(f.Server.Process.Resume())
	f.must(alice.CharonSays(f.ctx, charon, "received DELETE for ESP CHILD_SA"))
	f.wantOffload("alice's SAs are gone", 0, 0, 4, 2)
	f.must(alice.IPsecUp(f.ctx))
	if after := f.inDevice(alice, "sim1/crypto"); after == before {
		t.Errorf("the SA with the SPI %s came back from the dead", after)
	}
	f.wantOffload("alice is up again", 0, 2, 4, 2)
	f.pings(carol.Namespace, inner)
	for _, c := range []*lab.Client{alice.Client, bob.Client} {
		f.must(c.IPsecDown(f.ctx))
	}
	f.must(carol.Disconnect(f.ctx))
	f.empty()
}

// TestOffloadRouteChange sends the packets for a client by another device. The SAs stay, and those that the client negotiates next are in that one.
func TestOffloadRouteChange(t *testing.T) {
	simulator(t)
	f := setUp(t, config("", "alice"))
	alice := f.wired("alice", 1, "aes128gcm16")
	address := func(host byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, host}), 30) }
	other, _, err := f.SimulatedCable("sim2", f.Server.Namespace, address(1), alice.Namespace, address(2))
	f.must(err)
	f.must(alice.IPsecUp(f.ctx))
	f.inDevice(alice, "sim1/crypto")

	f.must(f.Server.Batch("route add 198.51.100.6/32 dev sim2 src 198.51.100.5"))
	f.must(lab.Until(f.ctx, soon, "the daemon has seen the route", func() error {
		stats, err := f.Server.Stats(f.ctx)
		if err != nil {
			return err
		}
		if stats.Offload.Moved != 1 {
			return fmt.Errorf("the counters are %+v", stats.Offload)
		}
		return nil
	}))
	f.inDevice(alice, "sim1/crypto")
	f.wantOffload("the packets have moved", 0, 2, 0, 0)
	f.must(alice.IPsecUp(f.ctx)) // Quick Mode by the other device
	f.must(lab.Until(f.ctx, 30*time.Second, "alice's next SAs are in the other device", func() error {
		table, err := other.Table()
		if err != nil {
			return err
		}
		tunnels, err := f.Server.Tunnels(f.ctx)
		if err != nil {
			return err
		}
		if len(tunnels) != 1 || tunnels[0].Offload != "sim2/crypto" || !strings.HasPrefix(table, "SA count=2 ") ||
			!strings.Contains(table, "spi="+tunnels[0].SPIIn) || !strings.Contains(table, "spi="+tunnels[0].SPIOut) {
			return fmt.Errorf("there are the tunnels %+v, and in the device\n%s", tunnels, table)
		}
		return nil
	}))
	f.must(alice.IPsecDown(f.ctx))
	f.empty()
}
