package l2tp

import (
	"container/heap"
	"time"
)

// slot is what one peer is heard in. It exists while it has a tunnel or a kernel tunnel that is not gone.
type slot struct {
	id     uint16
	tunnel *tunnel // the newest; nil once it is forgotten
	owner  *tunnel // whose kernel tunnel has the number now; may be a predecessor of tunnel
	// calls and tunnels are what was accepted of late. They belong to the slot: a peer that replaces its tunnel gets no new ones.
	calls, tunnels budget
	next           time.Time
	index          int // in the schedule; -1: not there

	asked    ActionID // the latest action in it
	recorded []byte   // its latest Record's State; nil: there is none
	touched  bool     // its Record may be due at the end of the call
}

// empty tells that nothing is left of a slot.
func (s *slot) empty() bool { return s.tunnel == nil && s.owner == nil }

// schedule is a heap of the slots that wait for a time.
type schedule []*slot

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].next.Before(s[j].next) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push implements heap.Interface.
func (s *schedule) Push(x any) {
	entry := x.(*slot)
	entry.index = len(*s)
	*s = append(*s, entry)
}

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	old := *s
	entry := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	entry.index = -1
	return entry
}

// settle brings the schedule and the table of slots up to date after something happened in a slot.
func (st *step) settle(s *slot) {
	e := st.e
	if e.cfg.Records && !s.touched {
		s.touched = true
		st.touched = append(st.touched, s)
	}
	s.next = time.Time{}
	if s.tunnel != nil {
		s.next = s.tunnel.deadline()
	}
	switch {
	case s.next.IsZero() && s.index >= 0:
		heap.Remove(&e.schedule, s.index)
	case !s.next.IsZero() && s.index < 0:
		heap.Push(&e.schedule, s)
	case !s.next.IsZero():
		heap.Fix(&e.schedule, s.index)
	}
	if s.empty() {
		delete(e.slots, s.id)
	}
}
