package doctor

import (
	"context"
	"fmt"
)

// Drift is a difference between what the running daemon wants in the kernel and what is there.
type Drift struct{ What, Problem string }

// checkDrift passes on what the daemon has found. It repairs by itself, in seconds; so what is found here is new, or lasts.
func checkDrift(_ context.Context, o Options, _ probes) []Finding {
	if o.Drift == nil {
		return nil
	}
	const name, fix = "drift", "look at l2tpctl events for who removes things, and run doctor again: the daemon repairs, or ends the session, within seconds; restart it if this lasts"
	if len(o.Drift) == 0 {
		return []Finding{ok(name, "the kernel has what the daemon wants, and nothing else of ours")}
	}
	var out []Finding
	for i, d := range o.Drift {
		if i == maxNamed {
			out = append(out, warn(name, fix, "and %d more", len(o.Drift)-maxNamed))
			break
		}
		out = append(out, warn(name, fix, "%s", fmt.Sprintf("%s: %s", d.What, d.Problem)))
	}
	return out
}
