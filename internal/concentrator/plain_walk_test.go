package concentrator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
)

// TestPlainWalk is TestWalk with LACs: they open and close tunnels and calls, vanish and come back, while an operator closes things.
func TestPlainWalk(t *testing.T) {
	up := uint64(0)
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			play(t, seed, func(t *testing.T, b *bench) {
				b.plainWalk(seed)
				up += uint64(len(b.logs.FilterMessage("session up").All()))
			}, circumstances(seed), withPlain)
		})
		if t.Failed() {
			t.Fatal("see the first seed that fails")
		}
	}
	if t.Logf("%d sessions came up", up); up < 60 {
		t.Errorf("only %d sessions came up", up)
	}
}

func (b *bench) plainWalk(seed uint64) {
	lacs := []*plainLAC{b.lac(50, 1701), b.lac(50, 1702), b.lac(51, 1701)}
	var trunks []trunk
	one := b.station(1)
	for step := range 40 {
		l := lacs[b.pick(len(lacs))]
		what := "nothing"
		tell := func(name string, f func(*l2tptest.LAC)) {
			if what = name; len(trunks) > 0 {
				trunks[b.pick(len(trunks))].do(f)
			}
		}
		switch b.pick(11) {
		case 0, 1, 2:
			what = "open"
			trunks = append(trunks, l.open(uint16(1+b.pick(3)), b.pick(3)))
		case 3, 4:
			tell("call", func(t *l2tptest.LAC) {
				if t.Established() {
					t.Call(time.Now())
				}
			})
		case 5:
			tell("hangup", func(t *l2tptest.LAC) {
				if list := t.Sessions(); len(list) > 0 {
					t.Hangup(time.Now(), list[0])
				}
			})
		case 6:
			tell("stop", func(t *l2tptest.LAC) { t.Stop(time.Now()) })
		case 7:
			what = "mute"
			b.mu.Lock()
			l.mute = !l.mute
			b.mu.Unlock()
		case 8:
			what = "dial"
			one.dial()
		case 10:
			what = "restart"
			b.kill(b.pick(4), b.within(5*time.Second))
		case 9:
			what = "close"
			if rows := b.tunnels(); len(rows) > 0 {
				_ = b.c.API().CloseTunnel(b.t.Context(), rows[b.pick(len(rows))].ID) // it may have gone meanwhile
			}
		}
		time.Sleep(b.within([]time.Duration{10 * time.Millisecond, time.Second, 20 * time.Second}[b.pick(3)]))
		synctest.Wait()
		b.invariants(fmt.Sprintf("seed %d, step %d, after %s", seed, step, what))
	}
	if seed%2 == 0 {
		return // the shutdown comes in full flight
	}
	b.mu.Lock()
	for _, l := range lacs {
		l.mute = true
	}
	b.mu.Unlock()
	one.vanish()
	b.m.refuse(nil)
	b.before(12*time.Hour, "everything has timed out", func() bool {
		n := 0
		b.on(func() { n = b.c.plain.slots.Used() + b.c.slots.Used() + len(b.c.byNAS) + len(b.c.L2TP.Tunnels()) })
		return n == 0 && b.m.counts() == counts{}
	})
	b.invariants(fmt.Sprintf("seed %d, everybody has gone", seed))
}
