//go:build kernel

package keeper

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// parent is the process that a process is the child of.
func parent(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if p, ok := strings.CutPrefix(line, "PPid:\t"); ok {
			return strings.TrimSpace(p)
		}
	}
	t.Fatalf("no parent in %q", status)
	return ""
}

// TestKernelUpgrade lets a keeper with sockets, a tunnel, sessions and pppd become another program: the daemon notices nothing.
func TestKernelUpgrade(t *testing.T) {
	addresses(t)
	k := startProcess(t, "v1")
	setup := testSetup
	setup.Steering.PlainPeers = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	d := serve(t, k.path, setup)
	restored := make(chan steering.Restoration, 10)
	d.Handle(client.Handlers{Restoration: func(r steering.Restoration) { restored <- r }})
	socket := d.connected(t)
	plain, err := d.Sockets(d.poller).OpenClient(ours, 0x2005, 0x17012005)
	if err != nil {
		t.Fatal(err)
	}
	first, second, third := d.start(t, 1), d.start(t, 2), d.start(t, 3)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.Done() // and nobody has asked how it ended
	for i := 2; i <= 3; i++ {
		k.install(fmt.Sprintf("v%d", i))
		k.upgrade(fmt.Sprintf("\"build\": \"v%d\"", i))
		// What is asked for at this moment waits in the connection.
		sas, err := d.SAs().List()
		if err != nil || len(sas) != 2 {
			t.Fatalf("SAs: %v, %v", sas, err)
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
		if tunnel, err := d.Tunnels().Tunnel(slotPort); err != nil || tunnel.Remote != peer {
			t.Errorf("the tunnel: %+v, %v", tunnel, err)
		}
		if sessions, err := d.Tunnels().Sessions(); err != nil || len(sessions) != 3 {
			t.Errorf("sessions: %+v, %v", sessions, err)
		}
		for _, p := range []*client.Process{second, third} {
			if got, want := parent(t, p.PID), fmt.Sprint(k.process.Process.Pid); got != want {
				t.Errorf("pppd %d is the child of %s and not of %s", p.PID, got, want)
			}
		}
		if err := steering.Remove(steering.DefaultConfig()); err != nil {
			t.Fatal(err)
		}
		if r := <-restored; !r.Missing || r.Err != nil {
			t.Errorf("%+v", r)
		}
	}
	if exit := first.Wait(); exit.Signal != unix.SIGKILL {
		t.Errorf("the one that had ended before: %+v", exit)
	}
	// One ends while the keeper is another program already, and says goodbye first.
	if err := second.Terminate(); err != nil {
		t.Fatal(err)
	}
	if exit := second.Wait(); !byUs(exit) {
		t.Errorf("after a goodbye: %+v", exit)
	}
	// New things can be made next to the old ones.
	fourth := d.start(t, 4)
	if got, want := parent(t, fourth.PID), fmt.Sprint(k.process.Process.Pid); got != want {
		t.Errorf("the new pppd is the child of %s and not of %s", got, want)
	}
	if err := socket.Send(peer, []byte{0xc8, 2, 0, 12, 0, 7, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Error(err)
	}
	if err := plain.Connect(netip.MustParseAddrPort("203.0.113.7:1701")); err != nil && !errors.Is(err, unix.ENETUNREACH) {
		t.Error(err)
	}

	// With nobody there, and one that ends at that very time.
	d.leave(t, socket, plain)
	if err := unix.Kill(third.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	k.install("v4")
	k.upgrade(`"build": "v4"`)
	next := serve(t, k.path, setup)
	if next.Welcome().Build != "v4" || len(next.Clients) != 2 || len(next.IKE) < 4 || len(next.Plain) == 0 {
		t.Errorf("%v with %+v", next.Welcome(), next.Inventory)
	}
	for _, p := range next.Processes {
		switch p.Interface {
		case third.Interface:
			adopted, err := next.PPP().Adopt(p, nil)
			if err != nil {
				t.Fatal(err)
			}
			if exit := adopted.Wait(); exit.Signal != unix.SIGKILL {
				t.Errorf("the one that was killed: %+v", exit)
			}
		case fourth.Interface:
			if p.Exit != nil || p.PID != fourth.PID {
				t.Errorf("the one that runs: %+v", p)
			}
		default:
			t.Errorf("another one: %+v", p)
		}
	}
	if len(next.Processes) != 2 {
		t.Errorf("processes: %+v", next.Processes)
	}
	stays, err := next.PPP().Adopt(next.Processes[index(next, fourth.Interface)], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.process.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stopping := make(chan struct{})
	next.Handle(client.Handlers{Stopping: func() { close(stopping) }})
	<-stopping
	if err := next.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exit := stays.Wait(); !byUs(exit) {
		t.Errorf("the one that the keeper has ended: %+v", exit)
	}
	<-k.ended
	next.leave(t)
	untouched(t)
}

func index(d *daemon, iface string) int {
	for i, p := range d.Processes {
		if p.Interface == iface {
			return i
		}
	}
	return 0
}

// TestKernelKilled kills the keeper: every session ends at once, and the next one removes the rest.
func TestKernelKilled(t *testing.T) {
	addresses(t)
	k := startProcess(t, "v1")
	d := serve(t, k.path, testSetup)
	socket := d.connected(t)
	p := d.start(t, 1)
	k.install("v2")
	k.upgrade(`"build": "v2"`) // whose child is to know its parent still
	if err := k.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.Done()
	if !errors.Is(d.Err(), client.ErrGone) {
		t.Errorf("the daemon is told %v", d.Err())
	}
	if exit := p.Wait(); exit == (pppd.Exit{}) || exit.Code != -1 {
		t.Errorf("pppd, of which nobody knows any more: %+v", exit)
	}
	d.leave(t, socket)
	eventually(t, "pppd ends after the keeper", func() (string, bool) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID)) // of an orphan, which process 1 may forget
		return string(stat), err != nil || strings.Contains(string(stat), ") Z ")
	})
	next := start(t, func(c *Config) { c.Dir = k.directory + "/run" })
	second := serve(t, next.path, testSetup)
	if sas, err := second.SAs().List(); err != nil || len(sas) != 0 {
		t.Errorf("SAs after the next start: %v, %v", sas, err)
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.leave(t)
	next.ended(t)
	untouched(t)
}
