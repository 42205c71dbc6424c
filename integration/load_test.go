//go:build integration

package integration

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

// crowd starts clients behind one NAT.
func (f *fixture) crowd(users []string) []*lab.Client {
	f.t.Helper()
	clients := make([]*lab.Client, len(users))
	for i, user := range users {
		var err error
		clients[i], err = f.HomeClient(user, options(user))
		f.must(err)
	}
	f.each(clients, func(c *lab.Client) error { return c.Start(f.ctx) })
	return clients
}

// each does something with all clients at once.
func (f *fixture) each(clients []*lab.Client, do func(*lab.Client) error) {
	f.t.Helper()
	var wait sync.WaitGroup
	failures := make(chan error, len(clients))
	for _, c := range clients {
		wait.Go(func() {
			if err := do(c); err != nil {
				failures <- fmt.Errorf("%s: %w", c.Name, err)
			}
		})
	}
	wait.Wait()
	close(failures)
	failed := false
	for err := range failures {
		failed = true
		f.t.Error(err)
	}
	if failed {
		f.t.FailNow()
	}
}

func names(n int) []string {
	users := make([]string, n)
	for i := range users {
		users[i] = fmt.Sprintf("user%02d", i)
	}
	return users
}

// took logs the median and the longest of some times.
func (f *fixture) took(what string, times []time.Duration) {
	f.t.Helper()
	slices.Sort(times)
	f.t.Logf("%s: median %v, longest %v of %d", what, times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond), len(times))
}

func TestTwentyAtOnce(t *testing.T) {
	users := names(20)
	f := setUp(t, config("", users...))
	clients := f.crowd(users)
	var mu sync.Mutex
	given := map[netip.Addr]string{}
	var times []time.Duration
	f.each(clients, func(c *lab.Client) error {
		begin := time.Now()
		address, err := c.Connect(f.ctx)
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Since(begin))
		if other, taken := given[address]; taken && err == nil {
			return fmt.Errorf("has the address %v of %s", address, other)
		}
		given[address] = c.Name
		return err
	})
	// A client is through with IPCP a moment before the server is.
	f.each(clients, func(c *lab.Client) error {
		_, err := f.Server.SessionOf(f.ctx, c.Options.User)
		return err
	})
	f.took("connecting all at once", times)
	f.each(clients, func(c *lab.Client) error {
		pings, err := c.Ping(f.ctx, inner, 5)
		if err == nil && pings.Lost() > 0 {
			err = fmt.Errorf("%d of %d pings lost", pings.Lost(), pings.Sent)
		}
		return err
	})
	sessions, err := f.Server.Sessions(f.ctx)
	f.must(err)
	if len(sessions) != len(users) {
		t.Errorf("%d sessions, want %d", len(sessions), len(users))
	}
	f.each(clients, func(c *lab.Client) error { return c.Disconnect(f.ctx) })
	f.empty()
}

// footprint is what the daemon holds when no client is connected.
type footprint struct {
	fds, goroutines, processes, slots, addresses int
	memory                                       uint64 // octets
}

func (f *fixture) footprint() footprint {
	f.t.Helper()
	fds, err := f.Server.FDs()
	f.must(err)
	memory, err := f.Server.RSS()
	f.must(err)
	stats := f.stats()
	return footprint{fds, stats.Goroutines, stats.PPP.Processes, stats.Slots.Used, stats.PPP.PoolUsed, memory}
}

// TestFiftyRounds connects and disconnects fifty times, in ten rounds of five clients at once, and compares what the daemon holds after
// the first two rounds and after the last.
func TestFiftyRounds(t *testing.T) {
	const rounds, warm = 10, 2
	users := names(5)
	f := setUp(t, config("", users...))
	clients := f.crowd(users)
	var mu sync.Mutex
	var times []time.Duration
	round := func() {
		t.Helper()
		f.each(clients, func(c *lab.Client) error {
			begin := time.Now()
			if _, err := c.Connect(f.ctx); err != nil {
				return err
			}
			mu.Lock()
			times = append(times, time.Since(begin))
			mu.Unlock()
			if _, err := f.Server.SessionOf(f.ctx, c.Options.User); err != nil {
				return err
			}
			if pings, err := c.Ping(f.ctx, inner, 1); err != nil || pings.Lost() > 0 {
				return fmt.Errorf("no answer to ping (%v)", err)
			}
			return c.Disconnect(f.ctx)
		})
		f.empty()
	}
	for range warm {
		round()
	}
	first := f.footprint()
	for range rounds - warm {
		round()
	}
	f.took("connecting in fives", times)
	var last footprint
	err := lab.Until(f.ctx, 60*time.Second, "the daemon holds what it held at first", func() error {
		if last = f.footprint(); last.fds > first.fds || last.goroutines > first.goroutines {
			return fmt.Errorf("it held %+v and holds %+v", first, last)
		}
		return nil
	})
	f.must(err)
	t.Logf("resident memory: %d KiB after %d rounds, %d KiB after %d", first.memory>>10, warm, last.memory>>10, rounds)
	if last.memory > first.memory*3/2 { // the collector's timing accounts for less
		t.Errorf("resident memory grew from %d to %d octets", first.memory, last.memory)
	}
	if last.processes != 0 || last.slots != 0 || last.addresses != 0 {
		t.Errorf("after the last round the daemon holds %+v", last)
	}
}
