package concentrator

import (
	"context"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestSuccession: each ends when the next begins, and the last with the context.
func TestSuccession(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	group, running := errgroup.WithContext(ctx)
	s := &succession{ctx: running, group: group}
	said := make(chan string)
	one := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			said <- name + " begins"
			<-ctx.Done()
			said <- name + " ends"
			return nil
		}
	}
	expect := func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			got = append(got, <-said)
		}
		slices.Sort(got) // they are goroutines of their own
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	s.next(nil)
	s.next(one("a"))
	expect("a begins")
	s.next(one("b"))
	expect("a ends", "b begins")
	s.next(nil)
	expect("b ends")
	s.next(one("c"))
	expect("c begins")
	cancel()
	expect("c ends")
	if err := group.Wait(); err != nil {
		t.Error(err)
	}

	failing, running := errgroup.WithContext(t.Context())
	s = &succession{ctx: running, group: failing}
	s.next(func(context.Context) error { return errFault })
	if err := failing.Wait(); !errors.Is(err, errFault) {
		t.Errorf("a failure is lost: %v", err)
	}
}
