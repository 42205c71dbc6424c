package ikev1_test

import (
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// restarts is how many TestSimulationOfRestarts plays; L2TPCTL_RESTARTS asks for more, and L2TPCTL_RESTART for a single one.
const restarts = 16

// TestSimulationOfRestarts is [TestSimulation] with programs that die at any time, in the midst of carrying out what their engine asks for,
// and go on after a while, with another engine, from the records. Neither end may lose anything by that, and each engine that begins
// must know what the one before has said.
func TestSimulationOfRestarts(t *testing.T) {
	var all tally
	died := 0
	n := simulate(t, "L2TPCTL_RESTART", restarts, func(s *simulation) {
		s.mortal()
		s.play()
		all.add(s.tally)
		died += s.ends[0].restarts + s.ends[1].restarts
	})
	t.Logf("%d simulations, %v: %d restarts, %d ISAKMP SAs and %d children, %d of them replacements; %d were up at the end",
		n, all.time, died, all.sas, all.children, all.rekeys, all.up)
	if n >= restarts && (died < int(n)*10 || all.sas < int(n)*10 || all.children < int(n)*10 || all.rekeys < int(n)*5 || all.up < int(n)/2) {
		t.Error("that is not much for so many")
	}
}

// mortal lets the programs of both ends die now and then.
func (s *simulation) mortal() {
	s.mortality = []float64{0.005, 0.03, 0.15}[s.seed%3]
	longest := []time.Duration{0, time.Second, 15 * time.Second, 10 * time.Minute}[s.seed/2%4]
	if s.calm {
		s.mortality = min(s.mortality, 0.03)   // no exchange would come to an end in time
		longest = min(longest, 15*time.Second) // the other end must not give up
	}
	learn := s.learn
	s.learn = func(e *end, ev ikev1.Event) {
		learn(e, ev)
		if failed, ok := ev.(ikev1.Phase1Failed); ok && failed.Connection != 0 && e.dies != nil {
			s.reconnect(slices.Index(s.ends[:], e))
		}
	}
	for _, e := range s.ends {
		e.downtime = func() time.Duration { return s.upTo(longest) }
		e.dies = func(e *end) death {
			if s.rng.Float64() >= s.mortality {
				return lives
			}
			where := death(1 + s.rng.IntN(3))
			if s.calm {
				where = afterSend // what was not sent, or taken and not recorded, is lost
			}
			s.note("%s dies, at %d", e.name, where)
			return where
		}
		e.restored = s.restored
	}
}

// restored checks that an engine knows all that the one before has said, and that connections that were up are.
func (s *simulation) restored(e *end) {
	s.note("%s is back", e.name)
	l := s.ledger(e)
	clients, children := map[ikev1.ClientID]bool{}, map[ikev1.ChildID]bool{}
	for _, c := range e.engine.Clients() {
		clients[c.ID] = true
		if gone, known := l.clients[c.ID]; gone || !known {
			s.t.Errorf("%s: the client %d was restored, and is not there", e.name, c.ID)
		}
		for _, ch := range c.Children {
			children[ch.ID] = true
			if closed, known := l.children[ch.ID]; closed || !known {
				s.t.Errorf("%s: the child %d was restored, and is not there", e.name, ch.ID)
			}
		}
	}
	for id, gone := range l.clients {
		if !gone && !clients[id] {
			s.t.Errorf("%s: the client %d was not restored", e.name, id)
		}
		if gone {
			delete(l.clients, id) // its ID may be used again
		}
	}
	for id, closed := range l.children {
		if !closed && !children[id] {
			s.t.Errorf("%s: the child %d was not restored", e.name, id)
		}
		if closed {
			delete(l.children, id)
		}
	}
	i := slices.Index(s.ends[:], e)
	up := ikev1.Connections(e.engine)
	s.connections[i] = nil
	for range up {
		id, out, err := e.engine.Connect(e.now, s.connection(i))
		if _, known := up[id]; err != nil || !known || len(out.Send)+len(out.Actions)+len(out.Records) > 0 || slices.Contains(s.connections[i], id) {
			s.t.Errorf("%s: connecting again: connection %d of %v, %v, %v", e.name, id, up, out, err)
		}
		s.connections[i] = append(s.connections[i], id)
	}
	for range e.wanted - len(up) {
		s.reconnect(i)
	}
}

// reconnect connects again soon, unless all is over by then, or nobody can call the other end.
func (s *simulation) reconnect(i int) {
	s.after(time.Second, func() {
		if s.ends[i].dies != nil && (i == 0 || s.ends[0].nat == nil) {
			s.connect(i)
		}
	})
}
