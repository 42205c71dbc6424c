//go:build integration

package integration

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// moment is when the daemon may be killed for a deed.
type moment int

const (
	never  moment = iota
	after         // at once after it
	before        // or before it, so that it is done while no daemon runs
)

// deeds are the steps of a random walk, each with its weight. do says to whom, and nothing if there is nobody.
var deeds = []struct {
	weight int
	name   string
	kill   moment
	do     func(*walk) string
}{
	{4, "kill the daemon", never, (*walk).kill},
	{2, "kill the daemon twice", never, (*walk).killTwice},
	{3, "kill the daemon while somebody dials", never, (*walk).killUnderDial},
	{2, "SIGUSR2", never, (*walk).leave},
	{3, "delete an SA", before, (*walk).deleteSA},
	{2, "delete all SAs", before, (*walk).deleteSAs},
	{3, "flush the steering table", before, (*walk).flush},
	{2, "delete a tunnel", before, (*walk).deleteTunnel},
	{2, "delete a session", before, (*walk).deleteSession},
	{2, "delete an interface", before, (*walk).deleteInterface},
	{3, "kill a pppd", before, (*walk).killPPPD},
	{3, "lose packets", never, (*walk).lose},
	{3, "rebind the NAT", before, (*walk).rebind},
	{2, "disconnect", after, (*walk).disconnect},
	{8, "connect", after, (*walk).connect},
	{2, "redial", after, (*walk).redial},
	{1, "tunnel close", after, (*walk).closeTunnel},
	{2, "session disconnect", after, (*walk).endSession},
	{2, "reload", after, (*walk).reload},
}

func (w *walk) kill() string {
	w.Server.Process.Kill()
	w.pause(time.Second)
	w.must(w.Server.Start(w.ctx))
	return "all"
}

// killTwice kills the second daemon at any moment of its start.
func (w *walk) killTwice() string {
	w.Server.Process.Kill()
	w.must(w.Server.Launch())
	w.pause(500 * time.Millisecond)
	w.Server.Process.Kill()
	w.must(w.Server.Start(w.ctx))
	return "all"
}

func (w *walk) killUnderDial() string {
	c := w.someDown()
	if c == nil {
		return ""
	}
	type result struct {
		address netip.Addr
		err     error
	}
	done := make(chan result, 1)
	go func() {
		address, err := c.connect(w.ctx)
		done <- result{address, err}
	}()
	w.pause(time.Second)
	w.must(w.restart())
	if r := <-done; r.err != nil {
		w.t.Logf("%s tries once more: %v", c.user(), r.err)
		w.connected(c)
	} else {
		w.noted(c, r.address)
	}
	return c.String()
}

func (w *walk) restart() error {
	w.Server.Process.Kill()
	return w.Server.Start(w.ctx)
}

func (w *walk) leave() string {
	w.must(w.Server.Process.Signal(syscall.SIGUSR2, 60*time.Second))
	w.must(w.Server.Start(w.ctx))
	return "all"
}

// robbed picks a client that may lose SAs, and says which it has in the kernel, as "src A dst B proto esp spi N".
func (w *walk) robbed() (*walker, []string) {
	now := time.Now()
	c := w.some(func(c *walker) bool {
		return c.up && (len(c.losses) < 2 || now.Sub(c.losses[len(c.losses)-2]) > time.Minute)
	})
	if c == nil {
		return nil, nil
	}
	out, err := w.Server.Run(w.ctx, "ip", "xfrm", "state", "list")
	w.must(err)
	var all []string
	var src, dst string
	reqid := fmt.Sprintf(" reqid %d ", slotTag|uint32(c.session.TunnelID))
	for line := range strings.Lines(out) {
		switch f := strings.Fields(line); {
		case len(f) == 4 && f[0] == "src":
			src, dst = f[1], f[3]
		case len(f) > 4 && f[0] == "proto" && strings.Contains(line, reqid):
			all = append(all, fmt.Sprintf("src %s dst %s proto esp spi %s", src, dst, f[3]))
		}
	}
	if len(all) == 0 {
		w.t.Fatalf("%s has no SA: %s", c, out)
	}
	c.losses = append(c.losses, now)
	c.suffer(shaken)
	return c, all
}

func (w *walk) deleteSA() string {
	c, sas := w.robbed()
	if c == nil {
		return ""
	}
	sa := sas[w.rand.IntN(len(sas))]
	w.must(w.Server.Batch("xfrm state delete " + sa))
	return c.String() + ", " + sa
}

func (w *walk) deleteSAs() string {
	c, sas := w.robbed()
	if c == nil {
		return ""
	}
	for i := range sas {
		sas[i] = "xfrm state delete " + sas[i]
	}
	w.must(w.Server.Batch(sas...))
	return c.String()
}

func (w *walk) flush() string {
	how := []string{"flush table inet l2tpctl", "delete table inet l2tpctl", "flush chain inet l2tpctl deliver"}[w.rand.IntN(3)]
	w.must(w.Server.Nft(how))
	for _, c := range w.walkers {
		c.suffer(shaken)
	}
	return how
}

// struck ends the session of somebody.
func (w *walk) struck(how func(*walker) error) string {
	c := w.someUp()
	if c == nil {
		return ""
	}
	w.must(how(c))
	c.suffer(ended)
	return c.String()
}

func (w *walk) deleteTunnel() string {
	return w.struck(func(c *walker) error {
		return w.Server.Batch(fmt.Sprintf("l2tp del tunnel tunnel_id %d", c.session.TunnelID))
	})
}

func (w *walk) deleteSession() string {
	return w.struck(func(c *walker) error {
		tunnel, session := w.kernelSession(c.session.TunnelID)
		return w.Server.Batch(fmt.Sprintf("l2tp del session tunnel_id %d session_id %d", tunnel, session))
	})
}

func (w *walk) deleteInterface() string {
	return w.struck(func(c *walker) error { return w.Server.Batch("link del " + c.session.Interface) })
}

func (w *walk) killPPPD() string {
	return w.struck(func(c *walker) error {
		return w.Server.KillPPPD(c.session.Interface)
	})
}

// lose loses packets for a while, in which somebody may connect, as long as a client that gives each exchange six seconds can be expected to.
func (w *walk) lose() string {
	for _, c := range w.walkers {
		c.suffer(shaken)
	}
	percent := 20 + w.rand.IntN(60)
	w.must(w.Server.Lose("eth0", percent))
	w.must(w.NAT.Lose("eth0", percent))
	w.pause(2 * time.Second)
	what := fmt.Sprintf("%d%%", percent)
	if c := w.someDown(); c != nil && percent < 30 {
		w.connected(c)
		what += fmt.Sprintf(", %s dials", c)
	}
	w.must(w.Server.LoseNothing("eth0"))
	w.must(w.NAT.LoseNothing("eth0"))
	return what
}

func (w *walk) rebind() string {
	w.ports += 500
	w.must(w.NAT.Rebind("eth0", w.ports, w.ports+499))
	for _, c := range w.walkers {
		if c.indoors() {
			c.suffer(shaken)
		}
	}
	return fmt.Sprint("from ", w.ports)
}

func (w *walk) disconnect() string {
	c := w.someUp()
	if c == nil {
		return ""
	}
	w.must(c.disconnect(w.ctx))
	c.up = false
	return c.String()
}

func (w *walk) connect() string {
	c := w.someDown()
	if c == nil {
		return ""
	}
	w.connected(c)
	return c.String()
}

func (w *walk) redial() string {
	c := w.someUp()
	if c == nil {
		return ""
	}
	what := c.String()
	w.must(c.disconnect(w.ctx))
	c.up = false
	w.connected(c)
	return what + " becomes " + c.session.ID
}

func (w *walk) closeTunnel() string {
	return w.struck(func(c *walker) error {
		_, err := w.Server.CLI(w.ctx, "tunnel", "close", fmt.Sprint(c.session.TunnelID))
		return err
	})
}

func (w *walk) endSession() string {
	return w.struck(func(c *walker) error {
		_, err := w.Server.CLI(w.ctx, "session", "disconnect", c.session.ID)
		return err
	})
}

// reload changes what concerns the next sessions only.
func (w *walk) reload() string {
	users := make([]string, len(w.walkers))
	for i, c := range w.walkers {
		users[i] = c.user()
	}
	w.mtu = 1300 + w.rand.IntN(100)
	w.must(w.Server.Configure(w.config(users)))
	_, err := w.Server.CLI(w.ctx, "reload")
	w.must(err)
	return fmt.Sprint("MTU ", w.mtu)
}
