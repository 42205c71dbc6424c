//go:build integration

package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// slotTag is what the reqids of clients begin with, by default.
const slotTag = 0x1701_0000

const (
	// Daemon and keeper may have so many files, and so many more for each client, and so much memory.
	baseFiles   = 48
	filesEach   = 8
	memoryLimit = 96 << 20
)

// agree expects that everybody has met his fate, and that nothing else has happened.
func (w *walk) agree(what string) {
	w.t.Helper()
	for _, c := range w.walkers {
		if !c.up {
			continue
		}
		if err := w.met(c); err != nil {
			w.t.Errorf("%s: %s, who should be %s: %v", what, c, c.fate, err)
		}
		if c.fate == ended {
			c.up = false
		}
	}
	if err := lab.Until(w.ctx, settleLimit, "daemon, kernel and clients agree", w.settled); err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
	if packets := w.wire.Packets(); len(packets) > 0 {
		w.t.Errorf("%s: in the clear: %q", what, packets)
	}
	w.same()
	w.bounded(what)
}

// met returns when a client has met its fate.
func (w *walk) met(c *walker) error {
	switch c.fate {
	case undisturbed:
		lost, err := c.lost()
		if lost > 0 {
			err = errors.Join(err, fmt.Errorf("%d pings were lost", lost))
		}
		return errors.Join(err, c.told())
	case ended:
		return c.over(w.ctx, toldLimit)
	}
	if ok, err := c.answered(w.ctx); err != nil || ok {
		return errors.Join(err, c.told())
	}
	if err := c.renew(w.ctx); err != nil {
		return err
	}
	return lab.Until(w.ctx, settleLimit, "a ping is answered", func() error {
		ok, err := c.answered(w.ctx)
		if err == nil && !ok {
			err = errors.New("none")
		}
		return errors.Join(err, c.told())
	})
}

// settled compares daemon, kernel and clients.
func (w *walk) settled() error {
	daemon := control.NewClient(w.Server.Socket())
	defer daemon.Close()
	drift, err := daemon.Drift(w.ctx)
	if err != nil {
		return err
	}
	if len(drift) > 0 {
		return fmt.Errorf("daemon and kernel differ in %+v", drift)
	}
	sessions, err := daemon.Sessions(w.ctx)
	if err != nil {
		return err
	}
	var want []string
	for _, c := range w.walkers {
		if c.up {
			want = append(want, fmt.Sprint(c.session.ID, c.session.State, c.session.User, c.session.IP, c.session.Interface, c.session.MTU, c.session.Auth))
		}
	}
	slices.Sort(want)
	if got := essence(sessions); !slices.Equal(got, want) {
		return fmt.Errorf("the sessions are %v, and the clients have %v", got, want)
	}
	return w.owned(daemon, len(want))
}

// owned expects that everything in the kernel belongs to a session, or a client of the daemon.
func (w *walk) owned(daemon *control.Client, sessions int) error {
	tunnels, err := daemon.Tunnels(w.ctx)
	if err != nil {
		return err
	}
	sas, err := daemon.SAs(w.ctx)
	if err != nil {
		return err
	}
	ports := make(map[string]bool)
	for _, t := range tunnels {
		ports[fmt.Sprint(t.ID)] = true
	}
	for _, sa := range sas {
		ports[fmt.Sprint(sa.TunnelID)] = true
	}
	residue, err := w.Server.Residue(w.ctx, false)
	if err != nil {
		return err
	}
	counts := make(map[string]int)
	for _, line := range residue {
		kind, text, _ := strings.Cut(line, ": ")
		counts[kind]++
		if kind == "socket" {
			_, port, _ := strings.Cut(strings.Fields(text)[3], ":")
			if !ports[port] {
				return fmt.Errorf("nobody owns %s", line)
			}
		}
	}
	foreign := map[string]int{"SA": 2, "L2TP tunnel": 1, "L2TP session": 1}
	for kind, n := range map[string]int{"SA": len(sas), "L2TP session": sessions, "interface": sessions, "address": sessions, "process": sessions} {
		if counts[kind] != n+foreign[kind] {
			return fmt.Errorf("%d of kind %q should be there, and %d of others: %s", n, kind, foreign[kind], strings.Join(residue, "\n  "))
		}
	}
	stats, err := daemon.Stats(w.ctx)
	if err == nil && (stats.Errors.Panics > 0 || stats.PPP.Processes != sessions || stats.PPP.PoolUsed != sessions) {
		err = fmt.Errorf("%d sessions, but %+v, and %d panics", sessions, stats.PPP, stats.Errors.Panics)
	}
	return err
}

// bounded expects that neither daemon nor keeper holds much.
func (w *walk) bounded(what string) {
	w.t.Helper()
	keeper, err := w.Server.Keeper()
	w.must(err)
	if keeper != w.keeper {
		w.t.Errorf("%s: the keeper was process %d and is %d", what, w.keeper, keeper)
	}
	for who, pid := range map[string]int{"daemon": w.Server.Process.PID(), "keeper": keeper} {
		fds, err := lab.FDs(pid)
		w.must(err)
		memory, err := lab.RSS(pid)
		w.must(err)
		if fds > baseFiles+filesEach*len(w.walkers) || memory > memoryLimit {
			w.t.Errorf("%s: the %s has %d files and %d octets", what, who, fds, memory)
		}
	}
}
