package concentrator

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// HandleRestoration hands to the loop that the steering table was put back, or could not be.
func (c *Concentrator) HandleRestoration(r steering.Restoration) {
	c.post(func() { c.onRestoration(r) })
}

func (c *Concentrator) onRestoration(r steering.Restoration) {
	what := "was changed"
	if r.Missing {
		what = "was gone"
	}
	by, who := "another program", "whoever did it"
	if r.Process != "" {
		by = fmt.Sprintf("%s (pid %d)", r.Process, r.PID)
		who = r.Process
	}
	fields := []zap.Field{zap.String("process", r.Process), zap.Int("pid", r.PID)}
	if r.Err != nil {
		c.counters.unrestored++
		if c.unsteered {
			return // said already
		}
		c.unsteered = true
		ev := control.Event{Kind: eventSteeringMissing, Severity: control.SeverityError}
		causeSteering.explain(&ev)
		ev.Text = fmt.Sprintf("the steering table %s, by %s, and cannot be put back: clients hear nothing, and nothing keeps them apart", what, by)
		c.record("the steering table cannot be put back", ev, append(fields, zap.Error(r.Err))...)
		return
	}
	c.unsteered = false
	c.counters.restored++
	c.record("the steering table was put back", control.Event{
		Kind: eventSteeringRestored, Severity: control.SeverityWarning,
		Text: fmt.Sprintf("the steering table %s, by %s, and was put back", what, by),
		Hint: fmt.Sprintf("keep %s from \"flush ruleset\": a firewall script should flush its own tables only; on systems with the nftables service, look into /etc/nftables.conf", who),
	}, fields...)
}
