package ikev1_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// TestLossyNetwork plays a few clients over bad networks, one seed each. What must hold: every message 2 of Quick Mode is for an
// installed SA with the client's keys, every established child has the same keys on both sides, every undamaged answer is well formed,
// and when everybody has gone and lifetimes are over, nothing is left.
func TestLossyNetwork(t *testing.T) {
	for _, c := range []struct {
		name                         string
		loss, repeat, damage, faults float64
		seeds                        uint64
		atLeast                      int // percent of the clients that must get a child, over all seeds
	}{
		{"perfect", 0, 0, 0, 0, 20, 100},
		{"repeating", 0, 0.4, 0, 0, 50, 100},
		{"lossy", 0.2, 0.1, 0, 0, 100, 98},
		{"damaging", 0.1, 0.1, 0.1, 0, 50, 90},
		{"failing", 0.1, 0.1, 0, 0.1, 50, 80},
		{"terrible", 0.5, 0.3, 0.1, 0.1, 50, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			clients, connected := 0, 0
			for seed := range c.seeds {
				ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
					w := newWorld(t, func(c *ikev1.Config) { c.DPDInterval, c.DPDTimeout = 30*time.Second, 90*time.Second })
					n := newNetwork(w, seed)
					n.loss, n.repeat, n.damage, n.faults = c.loss, c.repeat, c.damage, c.faults
					n.delay, n.work = time.Second, 500*time.Millisecond
					if c.loss == 0 && c.repeat == 0 {
						n.delay = 10 * time.Millisecond
					}
					var robots []*robot
					for i := range uint64(4) {
						robots = append(robots, n.robot(1+i, i%2 == 1))
					}
					n.run(time.Hour)
					for _, r := range robots {
						clients++
						for _, m := range r.modes {
							if len(m.quicks) > 0 && m.quicks[1].three != nil {
								connected++
								break
							}
						}
					}
					if c.loss+c.damage+c.faults == 0 {
						w.empty("everybody has hung up and nothing was lost")
					}
					n.run(50 * time.Hour)
					w.take()
					w.empty("all lifetimes are over")
				})
				if !ok {
					t.Fatal("see the first seed that fails")
				}
			}
			if connected*100 < clients*c.atLeast {
				t.Errorf("%d of %d clients got a child", connected, clients)
			}
			t.Logf("%d of %d clients got a child", connected, clients)
		})
	}
}
