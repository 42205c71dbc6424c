package concentrator

import (
	"errors"
	"strings"
	"testing"

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
