package concentrator

import (
	"context"
	"io"
	"sync"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

// defaultEvents is how many events are remembered.
const defaultEvents = 1024

// maxEventText bounds each text of an event, much of which a peer may have written; in octets.
const maxEventText = 4096

// A journal remembers the latest events. The loop writes, any goroutine reads, and no reader ever holds up the loop: who is too slow
// finds that the oldest are gone.
type journal struct {
	mu     sync.Mutex
	ring   []control.Event // event number n is at (n-1) % len
	latest uint64          // number of the latest event, 0 for none
	news   chan struct{}   // closed when there is one more, or will be none; nil while nobody waits
	closed bool
}

func newJournal(size int) *journal {
	if size <= 0 {
		size = defaultEvents
	}
	return &journal{ring: make([]control.Event, size)}
}

// add gives an event its number and remembers it.
func (j *journal) add(e control.Event) {
	for _, text := range []*string{&e.Text, &e.Hint, &e.Identity, &e.User, &e.Offered, &e.Allowed} {
		if len(*text) > maxEventText {
			*text = (*text)[:maxEventText]
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.latest++
	e.Seq = j.latest
	j.ring[(e.Seq-1)%uint64(len(j.ring))] = e
	j.wake()
}

// close says that there will be no more events.
func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.wake()
}

// wake ends the waiting of all readers. The caller holds mu.
func (j *journal) wake() {
	if j.news != nil {
		close(j.news)
		j.news = nil
	}
}

// read returns the events that q selects, the oldest first, and the number of the latest event of all.
func (j *journal) read(q control.EventQuery) ([]control.Event, uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.since(q), j.latest
}

// since copies the events that q selects. The caller holds mu.
func (j *journal) since(q control.EventQuery) []control.Event {
	first := q.Since + 1
	if q.Since > j.latest {
		first = 1 // a number of another run
	}
	kept := uint64(len(j.ring))
	if q.Limit > 0 {
		kept = min(kept, uint64(q.Limit))
	}
	if j.latest > kept {
		first = max(first, j.latest-kept+1)
	}
	events := make([]control.Event, 0, j.latest+1-first)
	for n := first; n <= j.latest; n++ {
		events = append(events, j.ring[(n-1)%uint64(len(j.ring))])
	}
	return events
}

// next waits until there are events after number since, and returns those that are remembered; io.EOF if there will be none.
func (j *journal) next(ctx context.Context, since uint64) ([]control.Event, error) {
	for {
		j.mu.Lock()
		events := j.since(control.EventQuery{Since: since})
		if len(events) > 0 || j.closed {
			j.mu.Unlock()
			if len(events) == 0 {
				return nil, io.EOF
			}
			return events, nil
		}
		if j.news == nil {
			j.news = make(chan struct{})
		}
		news := j.news
		j.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
