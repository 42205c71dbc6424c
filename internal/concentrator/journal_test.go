package concentrator

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

func numbers(events []control.Event) (list []uint64) {
	for _, e := range events {
		list = append(list, e.Seq)
	}
	return list
}

func TestJournal(t *testing.T) {
	j := newJournal(5)
	if events, latest := j.read(control.EventQuery{}); events == nil || len(events) != 0 || latest != 0 {
		t.Errorf("an empty one has %v, %d", events, latest)
	}
	for n := 1; n <= 12; n++ {
		j.add(control.Event{Kind: strings.Repeat("x", n)})
		for _, q := range []control.EventQuery{{}, {Since: 3}, {Since: 9}, {Since: 12}, {Since: 100}, {Limit: 2}, {Limit: 99}, {Since: 8, Limit: 1}} {
			events, latest := j.read(q)
			// What there is to be: all numbers, the latest five of them, what was asked for of these.
			var want []uint64
			for k := max(1, n-4); k <= n; k++ {
				if q.Since > uint64(n) || uint64(k) > q.Since {
					want = append(want, uint64(k))
				}
			}
			if q.Limit > 0 && len(want) > q.Limit {
				want = want[len(want)-q.Limit:]
			}
			got := numbers(events)
			if latest != uint64(n) || len(got) != len(want) {
				t.Fatalf("%+v after %d: %v, want %v", q, n, got, want)
			}
			for i := range want {
				if got[i] != want[i] || len(events[i].Kind) != int(want[i]) {
					t.Fatalf("%+v after %d: %v, want %v", q, n, got, want)
				}
			}
		}
	}
	j.add(control.Event{Text: strings.Repeat("x", 1<<20)})
	if events, _ := j.read(control.EventQuery{Limit: 1}); len(events[0].Text) != maxEventText {
		t.Errorf("a text of %d octets is kept", len(events[0].Text))
	}
}

// Readers wait for news; one that does not read finds the latest when it comes back.
func TestJournalReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal(4)
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				for last := uint64(0); ; {
					events, err := j.next(t.Context(), last)
					if errors.Is(err, io.EOF) {
						if last != 7 {
							t.Errorf("ended after %d", last)
						}
						return
					}
					if err != nil || len(events) == 0 || events[0].Seq != last+1 {
						t.Errorf("after %d: %v, %v", last, numbers(events), err)
						return
					}
					last = events[len(events)-1].Seq
				}
			})
		}
		for range 7 {
			synctest.Wait() // all of them are waiting
			j.add(control.Event{})
		}
		if events, err := j.next(t.Context(), 1); err != nil || len(events) != 4 || events[0].Seq != 4 {
			t.Errorf("a slow reader gets %v, %v", numbers(events), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		readers.Go(func() {
			if _, err := j.next(ctx, 7); !errors.Is(err, context.Canceled) {
				t.Errorf("a reader that goes gets %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		j.close()
		readers.Wait()
		if _, err := j.next(t.Context(), 7); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
		if events, err := j.next(t.Context(), 6); err != nil || len(events) != 1 {
			t.Errorf("what was not read before the end: %v, %v", numbers(events), err)
		}
	})
}
