package concentrator

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// TestRestorationIsTold: each restoration is an event that says who did it; what cannot be restored is told once, and counted.
func TestRestorationIsTold(t *testing.T) {
	play(t, 80, func(t *testing.T, b *bench) {
		refused := steering.Restoration{Missing: true, Err: errors.New("no memory")}
		for _, r := range []steering.Restoration{
			{Missing: true, PID: 42, Process: "nft"}, refused, refused, {}, refused,
		} {
			b.c.HandleRestoration(r)
		}
		stats, err := b.c.API().Stats(t.Context())
		if err != nil || stats.Errors.Restored != 2 || stats.Errors.Unrestored != 3 {
			t.Errorf("the counters are %+v, %v; want 2 restorations and 3 failures", stats.Errors, err)
		}
		events, _, err := b.c.API().Events(t.Context(), control.EventQuery{})
		if err != nil {
			t.Fatal(err)
		}
		events = events[1:] // the start
		want := []struct{ kind, severity, text, hint string }{
			{eventSteeringRestored, control.SeverityWarning, "was gone, by nft (pid 42)", "keep nft from"},
			{eventSteeringMissing, control.SeverityError, "was gone, by another program, and cannot be put back", "doctor"},
			{eventSteeringRestored, control.SeverityWarning, "was changed, by another program", "nftables.conf"},
			{eventSteeringMissing, control.SeverityError, "cannot be put back", "doctor"},
		}
		if len(events) != len(want) {
			t.Fatalf("%d events, want %d: %+v", len(events), len(want), events)
		}
		for i, w := range want {
			e := events[i]
			if e.Kind != w.kind || e.Severity != w.severity || !strings.Contains(e.Text, w.text) || !strings.Contains(e.Hint, w.hint) {
				t.Errorf("event %+v, want %+v", e, w)
			}
		}
	})
}

// TestUnsteeredClientsEnd: a table that comes back in time ends nobody; else everybody goes, also who comes meanwhile, until it is there again.
func TestUnsteeredClientsEnd(t *testing.T) {
	play(t, 81, func(t *testing.T, b *bench) {
		tries := func(seconds int) {
			for range seconds {
				b.c.HandleRestoration(steering.Restoration{Missing: true, Err: errors.New("no memory")})
				time.Sleep(time.Second)
			}
		}
		s := b.connected(1)
		one := counts{sas: 2, sockets: 1, tunnels: 1, sessions: 1, processes: 1, logins: 1}
		tries(25)
		b.c.HandleRestoration(steering.Restoration{Missing: true})
		tries(25)
		b.want("it came back meanwhile", one)
		tries(10)
		b.until("everybody goes", func() bool { return b.m.counts() == counts{} })
		if down := b.events(eventSessionDown); len(down) != 1 || down[0].Text != "the steering table cannot be put back" || s.up(1) {
			t.Errorf("the end: %+v; the client is up: %v", down, s.up(1))
		}
		b.connected(2)
		tries(3)
		b.until("nobody stays", func() bool { return b.m.counts() == counts{} })
		b.c.HandleRestoration(steering.Restoration{Missing: true})
		b.connected(3)
		time.Sleep(time.Minute)
		b.want("with the table", one)
	})
}
