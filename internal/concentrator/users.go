package concentrator

import (
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
)

func (c *Concentrator) closeAAA(s *session) {
	if c.byNAS[s.nas] == s {
		delete(c.byNAS, s.nas)
		c.AAA.Close(s.nas)
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
			c.counters.authenticated++
		}
	case aaa.Superseded:
		if s := c.byNAS[e.NASID]; s != nil {
			c.disconnect(now, s, "the user has connected again")
		}
	case aaa.Rejected:
		if s := c.byNAS[e.NASID]; s != nil {
			c.reject(s, string(e.Reason), zap.String("tried_as", e.User))
		}
	case aaa.Started:
		if s := c.byNAS[e.NASID]; s != nil {
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
			c.Log.Info("session up", append(s.fields(), zap.Duration("setup", now.Sub(s.client.opened).Round(time.Millisecond)))...)
		}
	}
}

// reject notes that a session comes to nothing for want of a user.
func (c *Concentrator) reject(s *session, reason string, more ...zap.Field) {
	c.counters.rejected++
	s.failed, s.reason = true, "authentication failed: "+reason
	c.Log.Warn("authentication failed", append(append(s.fields(), zap.String("reason", reason)), more...)...)
}
