package concentrator

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// walks is how many random walks TestWalk does; L2TPCTL_WALKS asks for more, and L2TPCTL_WALK for a single one.
const walks = 200

// TestWalk lets a few clients come, go and misbehave on a machine that fails now and then, behind a network that loses, repeats and
// reorders, while an operator closes things. After each step the invariants must hold. Half of the walks end with everybody silently
// gone, and everything must have timed out; the others with a shutdown in full flight.
func TestWalk(t *testing.T) {
	n, first := uint64(walks), uint64(0)
	if s, ok := os.LookupEnv("L2TPCTL_WALKS"); ok {
		n, _ = strconv.ParseUint(s, 10, 64)
	}
	if s, ok := os.LookupEnv("L2TPCTL_WALK"); ok {
		first, _ = strconv.ParseUint(s, 10, 64)
		n = 1
	}
	up := uint64(0)
	for seed := range n {
		seed += first
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			play(t, seed, func(t *testing.T, b *bench) {
				b.walk(seed)
				up += b.counted().sessionsUp
			}, circumstances(seed))
		})
		if t.Failed() {
			t.Fatal("see the first seed that fails")
		}
	}
	t.Logf("%d sessions came up", up)
	if up < n {
		t.Errorf("only %d sessions came up in %d walks", up, n)
	}
}

// circumstances are how bad network and machine are.
func circumstances(seed uint64) func(*bench, *Options) {
	return func(b *bench, opt *Options) {
		b.loss = []float64{0, 0.05, 0.2, 0.4}[seed%4]
		b.repeat = []float64{0, 0.1, 0.4}[seed%3]
		b.delay = []time.Duration{time.Millisecond, 50 * time.Millisecond, 800 * time.Millisecond}[seed%3]
		b.m.latency = []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond, 600 * time.Millisecond, 0}[seed%5]
		faults := []float64{0, 0, 0, 0.02, 0.1, 0.3}[seed%6]
		b.m.refuse(func(operation string) bool { return operation != "delete tunnel" && b.chance(faults) })
		b.m.login = func(string) login {
			switch b.pick(10) {
			case 0:
				return login{user: "mallory", rejected: aaa.ReasonWrongPassword}
			case 1:
				return login{silent: true}
			case 2:
				return login{user: "bob", deaf: true}
			case 3:
				return login{user: "carol", life: b.within(time.Minute)}
			}
			return login{user: "alice"}
		}
		if seed%7 == 0 {
			opt.Block.Mask = 0xfffe // two slots only
			opt.SlotRest = 5 * time.Second
		}
	}
}

func (b *bench) walk(seed uint64) {
	var stations []*station
	for i := range 4 {
		s := b.station(i + 1)
		s.calls = b.pick(4)
		s.noL2TP = b.chance(0.1)
		s.delay = time.Duration(b.pick(2)) * b.within(time.Second)
		stations = append(stations, s)
	}
	for step := range 40 {
		what := b.step(stations)
		time.Sleep(b.within([]time.Duration{10 * time.Millisecond, time.Second, 20 * time.Second}[b.pick(3)]))
		synctest.Wait()
		b.invariants(fmt.Sprintf("seed %d, step %d, after %s", seed, step, what))
	}
	if seed%2 == 0 {
		return // the shutdown comes in full flight
	}
	for _, s := range stations {
		s.vanish()
	}
	b.m.refuse(nil)
	b.before(12*time.Hour, "everything has timed out", func() bool {
		n := 0
		b.on(func() {
			n = len(b.c.IKE.Clients()) + b.c.IKE.HalfOpen() + b.c.slots.Used() + len(b.c.byNAS) + len(b.c.L2TP.Tunnels())
		})
		return n == 0 && b.m.counts() == counts{}
	})
	b.invariants(fmt.Sprintf("seed %d, everybody has gone", seed))
}

// step does one thing at random and names it.
func (b *bench) step(stations []*station) string {
	s := stations[b.pick(len(stations))]
	steps := []struct {
		weight int
		name   string
		do     func()
	}{
		{8, "dial", s.dial},
		{3, "hangup", s.hangup},
		{3, "stop", s.stop},
		{2, "call", s.call},
		{2, "redial", func() {
			s.do(func() {
				if s.quick != nil && s.quick.Theirs != 0 {
					s.openTunnel()
				}
			})
		}},
		{3, "rekey", s.rekey},
		{2, "delete ESP", s.deleteESP},
		{2, "delete ISAKMP", s.deleteISAKMP},
		{2, "leave", s.leave},
		{2, "vanish", s.vanish},
		{1, "rebind", func() { s.rebind(uint16(40000 + b.pick(1000))) }},
		{1, "roam", func() {
			s.roam(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(100 + b.pick(3)), s.home.Addr.Addr().As4()[3]}), uint16(40000+b.pick(1000))))
		}},
		{2, "a pppd ends", func() {
			if p := b.m.process(); p != nil {
				p.hangup([]int{pppd.ExitOK, pppd.ExitPeerDead, pppd.ExitHangup, 1}[b.pick(4)])
			}
		}},
		{2, "close a tunnel", func() {
			if rows, err := b.c.API().Tunnels(b.t.Context()); err == nil && len(rows) > 0 {
				_ = b.c.API().CloseTunnel(b.t.Context(), rows[b.pick(len(rows))].ID)
			}
		}},
		{2, "close a session", func() {
			if rows, err := b.c.API().Sessions(b.t.Context()); err == nil && len(rows) > 0 {
				_ = b.c.API().CloseSession(b.t.Context(), rows[b.pick(len(rows))].ID)
			}
		}},
		{1, "somebody deletes an SA", func() {
			if list, _ := (machineSAs{b.m}).List(); len(list) > 0 {
				_, _ = machineSAs{b.m}.Delete(list[b.pick(len(list))].ID)
			}
		}},
		{1, "somebody flushes the SAs", func() {
			b.m.flush()
			b.c.HandleOverrun()
		}},
		{1, "somebody deletes a tunnel", func() {
			if list, _ := (machineTunnels{b.m}).Tunnels(); len(list) > 0 {
				b.m.stealTunnel(list[b.pick(len(list))].ID)
			}
		}},
		{1, "somebody deletes a session", func() {
			if list, _ := (machineTunnels{b.m}).Sessions(); len(list) > 0 {
				s := list[b.pick(len(list))]
				b.m.stealSession(s.TunnelID, s.ID)
			}
		}},
		{1, "somebody deletes an interface", func() {
			if p := b.m.process(); p != nil {
				b.m.link([]string{p.s.Interface})
			}
		}},
		{2, "the daemon is killed", func() { b.kill(b.pick(30), b.within(20*time.Second)) }},
		{1, "a long pause", func() { time.Sleep(b.within(10 * time.Minute)) }},
	}
	var names []int
	for i, step := range steps {
		names = append(names, slices.Repeat([]int{i}, step.weight)...)
	}
	chosen := steps[names[b.pick(len(names))]]
	chosen.do()
	return fmt.Sprintf("%s of client %v", chosen.name, s.home.Addr.Addr())
}
