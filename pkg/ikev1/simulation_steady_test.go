package ikev1_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// TestSteady keeps one connection through a bad network for half a day, in which both phases are replaced many times. Neither end may
// take the other for dead, and there must always be a child that works in both directions, but for the time that a lost Delete takes.
func TestSteady(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newSimulation(t, seed)
			s.path, s.work, s.faults = path{loss: []float64{0.05, 0.1, 0.2}[seed%3], twice: 0.2, delay: 2 * time.Second}, time.Second, 0
			s.connect(0)
			s.run(2 * time.Minute)
			for _, e := range s.ends {
				want(t, len(e.engine.Clients()), 1, "connected")
			}
			down := 0
			for range 12 * 60 {
				s.run(time.Minute)
				if !s.works() {
					down++
				}
			}
			for _, e := range s.ends {
				if has(e, func(ev ikev1.ClientGone) bool { return true }) {
					t.Errorf("%s has lost the other end", e.name)
				}
			}
			if down > 3 {
				t.Errorf("at %d of 720 times no child worked", down)
			}
			t.Logf("down %d; %d ISAKMP SAs, %d children", down, s.sas, s.children)
			if t.Failed() {
				s.report()
			}
		})
	}
}

// works says whether the newest SA that each end sends with is one that the other end receives with.
func (s *simulation) works() bool {
	for _, e := range s.ends {
		var newest ikev1.ChildSA
		for _, sa := range e.outbound {
			if sa.Child > newest.Child {
				newest = sa
			}
		}
		if _, ok := e.other.inbound[newest.SPI]; !ok {
			return false
		}
	}
	return true
}
