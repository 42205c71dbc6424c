package site

import (
	"context"
	"fmt"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// Mark is a place in the events of a site: now.
func (s *Site) Mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// Events returns what there was since a mark.
func (s *Site) Events(mark int) []ikev1.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]ikev1.Event(nil), s.events[mark:]...)
}

// All returns the events of one kind since a mark.
func All[E ikev1.Event](s *Site, mark int) (list []E) {
	for _, event := range s.Events(mark) {
		if e, ok := event.(E); ok {
			list = append(list, e)
		}
	}
	return list
}

// Await waits until there have been n events of one kind since a mark, and returns the last of them.
func Await[E ikev1.Event](ctx context.Context, s *Site, mark, n int, limit time.Duration) (E, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if list := All[E](s, mark); len(list) >= n {
			return list[n-1], nil
		}
		select {
		case <-ctx.Done():
			var none E
			return none, fmt.Errorf("no %d %T within %v, but %v", n, none, limit, s.Events(mark))
		case <-tick.C:
		}
	}
}
