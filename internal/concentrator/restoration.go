package concentrator

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// unsteeredWait is how long clients stay while the steering table cannot be put back. Those that keep to the protocol hear nothing meanwhile, and the
// others are not kept from what is not theirs.
const unsteeredWait = 30 * time.Second

// HandleRestoration hands to the loop that the steering table was put back, or could not be.
func (c *Concentrator) HandleRestoration(r steering.Restoration) {
	c.post(func() { c.onRestoration(time.Now(), r) })
}

func (c *Concentrator) onRestoration(now time.Time, r steering.Restoration) {
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
		if !c.unsteered.IsZero() { // said already
			c.endUnsteered(now)
			return
		}
		c.unsteered = now
		ev := control.Event{Kind: eventSteeringMissing, Severity: control.SeverityError}
		causeSteering.explain(&ev)
		ev.Text = fmt.Sprintf("the steering table %s, by %s, and cannot be put back: clients hear nothing, and nothing keeps them apart", what, by)
		c.record("the steering table cannot be put back", ev, append(fields, zap.Error(r.Err))...)
		return
	}
	c.unsteered = time.Time{}
	c.counters.restored++
	c.record("the steering table was put back", control.Event{
		Kind: eventSteeringRestored, Severity: control.SeverityWarning,
		Text: fmt.Sprintf("the steering table %s, by %s, and was put back", what, by),
		Hint: fmt.Sprintf("keep %s from \"flush ruleset\": a firewall script should flush its own tables only; on systems with the nftables service, look into /etc/nftables.conf", who),
	}, fields...)
}

// endUnsteered ends who is there after unsteeredWait, and who has come since the last attempt to put the table back.
func (c *Concentrator) endUnsteered(now time.Time) {
	if now.Sub(c.unsteered) < unsteeredWait {
		return
	}
	for _, cl := range c.clients {
		if cl.ending == "" {
			c.endClient(now, cl, "the steering table cannot be put back")
		}
	}
}
