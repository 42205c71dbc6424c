package revocation

import (
	"fmt"
	"sync"
	"time"
)

// Limits of holdoff.
const (
	maxHeld     = 1024 // URLs that are remembered
	firstHold   = 5 * time.Second
	longestHold = 5 * time.Minute
)

// holdoff remembers URLs that fail, so that a storm of reconnecting peers does not wait for each of them in turn.
// It is safe for concurrent use.
type holdoff struct {
	mu   sync.Mutex
	urls map[string]held
}

type held struct {
	until time.Time
	hold  time.Duration
}

// check returns an error while a URL is not to be asked.
func (h *holdoff) check(now time.Time, location string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.urls[location]; ok && now.Before(s.until) {
		return fmt.Errorf("%q failed before and is not asked again for %v", location, s.until.Sub(now).Round(time.Second))
	}
	return nil
}

// failed holds a URL off, each time for twice as long. It returns how long, and whether this is news: what fails together with
// others counts once.
func (h *holdoff) failed(now time.Time, location string) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, known := h.urls[location]
	if known && now.Before(s.until) {
		return s.until.Sub(now), false
	}
	if !known && len(h.urls) >= maxHeld {
		h.forget(now)
	}
	if now.Sub(s.until) > longestHold {
		s.hold = 0 // that was another time
	}
	s.hold = min(max(2*s.hold, firstHold), longestHold)
	s.until = now.Add(s.hold)
	h.urls[location] = s
	return s.hold, true
}

// answered lets a URL be asked again.
func (h *holdoff) answered(location string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.urls, location)
}

// forget makes room: first of all URLs that may be asked again, or else of any.
func (h *holdoff) forget(now time.Time) {
	for name, s := range h.urls {
		if !now.Before(s.until) {
			delete(h.urls, name)
		}
	}
	for name := range h.urls {
		if len(h.urls) < maxHeld {
			return
		}
		delete(h.urls, name)
	}
}
