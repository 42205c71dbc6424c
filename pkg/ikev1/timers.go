package ikev1

import (
	"container/heap"
	"time"
)

// expirer is something with a deadline. expire is called at or after it; the timer is off then.
type expirer interface{ expire(e *Engine) }

// timer is a deadline of its owner. It is off while at is zero.
type timer struct {
	at    time.Time
	owner expirer
	index int
}

// timerHeap holds the timers that are on, the earliest first.
type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop is for container/heap.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}

// set turns t on, or off if at is zero.
func (h *timerHeap) set(t *timer, at time.Time) {
	switch wasOn, on := !t.at.IsZero(), !at.IsZero(); {
	case wasOn && on:
		t.at = at
		heap.Fix(h, t.index)
	case wasOn:
		heap.Remove(h, t.index)
		t.at = at
	case on:
		t.at = at
		heap.Push(h, t)
	}
}

// start sets a timer that was read from a record: whatever its deadline, it is off.
func (h *timerHeap) start(t *timer, at time.Time) {
	t.at = time.Time{}
	h.set(t, at)
}

// due returns a timer whose deadline is not after now, turned off, or nil.
func (h *timerHeap) due(now time.Time) *timer {
	if len(*h) == 0 || (*h)[0].at.After(now) {
		return nil
	}
	t := heap.Pop(h).(*timer)
	t.at = time.Time{}
	return t
}

// next returns the earliest deadline, zero for none.
func (h timerHeap) next() time.Time {
	if len(h) == 0 {
		return time.Time{}
	}
	return h[0].at
}

// earliest returns the earliest of the times that are not zero.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
