package ikev1_test

import (
	"strings"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// invariants checks what has to be true at any time.
func (s *simulation) invariants(when string) {
	s.t.Helper()
	for _, e := range s.ends {
		owners := map[uint32]ikev1.ChildID{}
		children := 0
		for _, c := range e.engine.Clients() {
			most := e.config.MaxChildren
			if most == 0 {
				most = ikev1.DefaultMaxChildren
			}
			if len(c.Children) > most+1 {
				s.t.Errorf("%s, after %s: client %d has %d children", e.name, when, c.ID, len(c.Children))
			}
			for _, ch := range c.Children {
				if _, twice := owners[ch.SPIIn]; twice {
					s.t.Errorf("%s, after %s: two children have SPI %#x", e.name, when, ch.SPIIn)
				}
				owners[ch.SPIIn] = ch.ID
				children++
				in, haveIn := e.inbound[ch.SPIIn]
				out, haveOut := e.outbound[ch.SPIOut]
				if !haveIn || !haveOut || in.Child != ch.ID || out.Child != ch.ID {
					s.t.Errorf("%s, after %s: child %d is established, its SAs %#x and %#x are not installed", e.name, when, ch.ID, ch.SPIIn, ch.SPIOut)
				}
			}
		}
		for spi, sa := range e.inbound {
			if theirs, ok := e.other.outbound[spi]; ok && !same(sa, theirs) {
				s.t.Errorf("after %s: the ends disagree about SPI %#x", when, spi)
			}
		}
		// Each client may have a few Quick Modes under way.
		if n := len(e.inbound); n > children+6*len(e.engine.Clients()) {
			s.t.Errorf("%s, after %s: %d SAs for %d children", e.name, when, n, children)
		}
		if n := ikev1.SAs(e.engine); n > 60 {
			s.t.Errorf("%s, after %s: %d ISAKMP SAs", e.name, when, n)
		}
	}
}

// ledger keeps account of what the events of an end say.
type ledger struct {
	clients  map[ikev1.ClientID]bool // whether they are gone
	children map[ikev1.ChildID]bool
}

// memory is the life of an end until it forgets everything. Restarts do not end it.
type memory struct {
	end  *end
	life int
}

// ledger returns that of what an end remembers now.
func (s *simulation) ledger(e *end) *ledger {
	m := memory{e, e.memories}
	l := s.ledgers[m]
	if l == nil {
		l = &ledger{map[ikev1.ClientID]bool{}, map[ikev1.ChildID]bool{}}
		s.ledgers[m] = l
	}
	return l
}

// enter takes an event. Nothing happens to a client or a child that was not there, or is gone.
func (l *ledger) enter(s *simulation, e *end, ev ikev1.Event) {
	s.note("%s: %v", e.name, ev)
	alive := func(id ikev1.ClientID) {
		if gone, known := l.clients[id]; gone || !known {
			s.t.Errorf("%s: %v, but client %d is not there", e.name, ev, id)
		}
	}
	switch ev := ev.(type) {
	case ikev1.Phase1Established:
		if gone := l.clients[ev.Client]; gone {
			s.t.Errorf("%s: client %d comes again", e.name, ev.Client)
		}
		l.clients[ev.Client] = false
		s.sas++
	case ikev1.ChildEstablished:
		alive(ev.Client)
		if _, known := l.children[ev.Child]; known {
			s.t.Errorf("%s: child %d is established again", e.name, ev.Child)
		}
		l.children[ev.Child] = false
		s.children++
		if ev.Rekey {
			s.rekeys++
		}
	case ikev1.ChildClosed:
		alive(ev.Client)
		if closed, known := l.children[ev.Child]; closed || !known {
			s.t.Errorf("%s: child %d is closed, but was not there", e.name, ev.Child)
		}
		l.children[ev.Child] = true
		if s.calm && strings.Contains(ev.Reason, "dead peer") {
			s.t.Errorf("%s: though nothing was lost: %v", e.name, ev)
		}
	case ikev1.ClientGone:
		alive(ev.Client)
		l.clients[ev.Client] = true
		// An end that dies in the midst of a Main Mode may leave an ISAKMP SA without children to the other one.
		if s.calm && (strings.Contains(ev.Reason, "dead peer") && e.restarts == 0 && e.other.restarts == 0 || strings.Contains(ev.Reason, "lifetime")) {
			s.t.Errorf("%s: though nothing was lost: %v", e.name, ev)
		}
	}
}

// close checks that everything that came has gone.
func (l *ledger) close(s *simulation, e *end) {
	for id, gone := range l.clients {
		if !gone {
			s.t.Errorf("%s: client %d has never gone", e.name, id)
		}
	}
	for id, closed := range l.children {
		if !closed {
			s.t.Errorf("%s: child %d was never closed", e.name, id)
		}
	}
}
