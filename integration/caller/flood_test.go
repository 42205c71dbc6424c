//go:build integration

package caller_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/caller"
)

// TestFlood: clients get through to the engine behind real sockets while it is flooded with first messages that have false addresses, as many
// as this machine can send, up to 50,000 a second.
func TestFlood(t *testing.T) {
	const rate, calls, parallel = 50000, 200, 8
	s := newScene(t, ike[0])
	cpu, err := responders[1].start(t.Context(), s, ike[0])
	if err != nil {
		t.Fatal(err)
	}
	s.call(t, 1, 1) // it answers
	var flood *caller.Flood
	err = s.clients.Do(func() error {
		var err error
		flood, err = caller.OpenFlood(server)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sent := make(chan int)
	go func() {
		n, err := flood.Run(ctx, rate)
		if err != nil {
			t.Error(err)
		}
		sent <- n
	}()
	began := time.Now()
	time.Sleep(time.Second) // its table is full
	before, err := cpu()
	if err != nil {
		t.Fatal(err)
	}
	middle := time.Now()
	report := s.call(t, calls, parallel)
	after, err := cpu()
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(middle)
	stop()
	n := <-sent
	slices.Sort(report.Took)
	t.Logf("%.0f false messages a second; %d calls in %v, the slowest in %v, half of them within %v; the responder used %.0f%% of a core",
		float64(n)/time.Since(began).Seconds(), len(report.Took), took, report.Took[calls-1], report.Took[calls/2], 100*float64(after-before)/float64(took))
}
