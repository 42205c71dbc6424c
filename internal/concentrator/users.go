package concentrator

import (
	"cmp"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// reasonSuperseded is why a session ends whose address its user has got with another.
const reasonSuperseded = "the user has connected again"

func (c *Concentrator) closeAAA(s *session) {
	if c.byNAS[s.nas] == s {
		delete(c.byNAS, s.nas)
		c.AAA.Close(s.nas)
		c.ledger.remove(loginKey(s.nas))
	}
}

// HandleAAA hands a fact from the RADIUS server to the loop.
func (c *Concentrator) HandleAAA(e aaa.Event) {
	c.post(func() { c.onAAA(time.Now(), e) })
}

func (c *Concentrator) onAAA(now time.Time, event aaa.Event) {
	switch e := event.(type) {
	case aaa.Authenticated:
		if s := c.byNAS[e.NASID]; s != nil {
			s.user, s.method, s.address = e.User, string(e.Method), e.Address
			s.client.proved = true
			c.ledger.client(s.client)
			c.ledger.session(s)
			c.counters.authenticated++
		}
	case aaa.Superseded:
		if s := c.byNAS[e.NASID]; s != nil {
			c.disconnect(now, s, reasonSuperseded)
		}
	case aaa.Rejected:
		if s := c.byNAS[e.NASID]; s != nil {
			c.reject(s, e.User, rejection(e.Reason))
		}
	case aaa.Started:
		if s := c.byNAS[e.NASID]; s != nil {
			c.ledger.session(s)
			again := !s.up.IsZero() // IPCP was negotiated anew
			s.address = e.Address
			if again {
				return
			}
			s.up, s.failed = now, false
			if s.state != sessionClosing { // it may be on its way out
				s.state, s.reason = sessionEstablished, ""
			}
			c.counters.sessionsUp++
			ev := s.event(eventSessionUp)
			ev.Text = fmt.Sprintf("%s on %s", s.address, s.iface)
			c.record("session up", ev, append(s.fields(), zap.Duration("setup", now.Sub(s.client.opened).Round(time.Millisecond)))...)
		}
	}
}

// reject notes that a session comes to nothing for want of a user. name is what the peer calls itself, if it has come so far.
func (c *Concentrator) reject(s *session, name string, why cause, more ...zap.Field) {
	c.counters.rejected++
	s.failed, s.reason = true, "authentication failed: "+why.text
	c.ledger.session(s)
	ev := s.event(eventAuthRejected)
	ev.Severity = control.SeverityWarning
	ev.User = cmp.Or(ev.User, name)
	why.explain(&ev)
	c.record("authentication failed", ev, append(append(s.fields(), zap.String("tried_as", name)), more...)...)
}
