//go:build kernel

package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// session describes a pppd of a test.
func session(id uint16) pppd.Session {
	return pppd.Session{
		Name: "nas-0123456789abcdef", Interface: fmt.Sprintf("l2t%d-%d", slotPort, id), TunnelID: slotPort, SessionID: id,
		LocalIP: netip.MustParseAddr("10.9.0.1"), Auth: pppd.AuthCHAP, Peer: theirs,
	}
}

// start starts a pppd, and waits until it has said something, and so knows what to do with a signal.
func (d *daemon) start(t *testing.T, id uint16) *client.Process {
	t.Helper()
	d.session(t, id, id+100)
	s := session(id)
	lines := make(chan string, 1000)
	s.Log = func(line string) { lines <- line }
	p, err := d.PPP().Start(s)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-lines:
	case <-time.After(patience):
		t.Fatal("pppd says nothing")
	}
	return p
}

// byUs tells whether a pppd has ended at our request. With PPPoL2TP it may call that a hangup.
func byUs(exit pppd.Exit) bool {
	return exit.Code == pppd.ExitUserRequest || exit.Code == pppd.ExitHangup
}

// TestKernelPPP starts pppd whose peers say nothing, and takes them over.
func TestKernelPPP(t *testing.T) {
	addresses(t)
	k := start(t, nil)
	first := serve(t, k.path, testSetup)
	socket := first.connected(t)
	stays, ends := first.start(t, 1), first.start(t, 2)
	if _, err := first.PPP().Start(session(1)); !errors.Is(err, os.ErrExist) {
		t.Errorf("the same interface again: %v", err)
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", stays.PID))
	if err != nil || !bytes.Contains(cmdline, []byte(testSetup.Marker+"-l2t16389-1")) || bytes.Contains(cmdline, []byte("nas-0123456789abcdef")) {
		t.Errorf("%q, %v", cmdline, err)
	}
	if first.PPP().Processes() != 2 {
		t.Errorf("%d processes", first.PPP().Processes())
	}
	if err := ends.Terminate(); err != nil {
		t.Fatal(err)
	}
	if exit := ends.Wait(); !byUs(exit) {
		t.Errorf("after a goodbye: %+v", exit)
	}
	again := first.start(t, 3) // and ends while nobody is there
	first.leave(t, socket)
	if err := unix.Kill(again.PID, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m, err := k.ready()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the keeper knows how pppd has ended", func() (string, bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		told := m.processes[again.Interface].told
		return fmt.Sprintf("%+v", told), told.Exit != nil
	})

	second := serve(t, k.path, testSetup)
	if len(second.Processes) != 2 || len(second.Sessions) != 3 {
		t.Fatalf("processes %+v, sessions %+v", second.Processes, second.Sessions)
	}
	slices.SortFunc(second.Processes, func(a, b protocol.Process) int { return strings.Compare(a.Interface, b.Interface) })
	runs, ended := second.Processes[0], second.Processes[1]
	if runs.PID != stays.PID || runs.Exit != nil || runs.Session != 1 || runs.Name != "nas-0123456789abcdef" || !runs.StartTime().Equal(stays.Started) {
		t.Errorf("the one that runs: %+v", runs)
	}
	if ended.Exit == nil || !byUs(*ended.Exit) {
		t.Errorf("the one that has ended: %+v", ended)
	}
	if p, err := second.PPP().Adopt(ended, nil); err != nil || p.Wait() != *ended.Exit {
		t.Errorf("adopting it: %v", err)
	}
	p, err := second.PPP().Adopt(runs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if exit := p.Wait(); exit.Signal != unix.SIGKILL {
		t.Errorf("after a kill: %+v", exit)
	}
	last := second.start(t, 4) // for the keeper to end
	i, err := second.Setup(t.Context(), testSetup)
	if err != nil || len(i.Processes) != 1 || i.Processes[0].PID != last.PID {
		t.Errorf("what is left: %+v, %v", i.Processes, err)
	}
	i.Close()
	if err := second.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exit := last.Wait(); !byUs(exit) {
		t.Errorf("the one that the keeper has ended: %+v", exit)
	}
	second.leave(t)
	k.ended(t)
	untouched(t)
}
