package concentrator

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
)

// A session is an L2TP call with its PPP endpoint.
type session struct {
	client   *client
	id       uint16 // L2TP session id
	n        int    // number of the session in its client, from 1
	nas      string // name towards the RADIUS server
	iface    string
	state    sessionState
	user     string
	method   string
	address  netip.Addr
	local    netip.Addr // our end of the link, once PPP was started
	mtu      int        // octets, likewise
	created  time.Time
	up       time.Time
	reason   string    // why it is being ended
	failed   bool      // it came to nothing: no user, or no PPP
	killAt   time.Time // when patience with the PPP endpoint ends
	unlinked bool      // its interface is gone
	check    bool      // a look whether the kernel still has it waits in the client's ops

	open    bool              // the kernel has the session, and with it its counters, until we let go
	process PPPProcess        // nil before its start and after its end
	dropped bool              // the kernel's part is gone or going
	absent  bool              // the kernel's part is gone, or could not be made
	down    *l2tp.SessionDown // nil while the L2TP engine has the session

	stats l2tpnl.Stats // known at its end
}

// errEnding refuses a call of a client that is to go when its last session has.
var errEnding = errors.New("the client is being closed")

type sessionState string

const (
	sessionConnecting     sessionState = "connecting"     // ICRQ seen
	sessionAuthenticating sessionState = "authenticating" // PPP runs
	sessionEstablished    sessionState = "established"    // IPCP is open
	sessionClosing        sessionState = "closing"
)

// createSession makes the kernel session at ICRQ, so that no PPP frame that follows ICCN is lost.
func (c *Concentrator) createSession(now time.Time, a l2tp.CreateSession, done func(error)) {
	s := &session{id: a.Session, nas: aaa.NewNASID(), state: sessionConnecting, created: now}
	// The engine may end the session before the kernel has made it, so it is entered now. It is there if it was taken over.
	if cl := c.ports[slot.Port(a.Tunnel)]; cl != nil && cl.sessions[s.id] != nil {
		s = cl.sessions[s.id]
	} else if cl != nil {
		cl.links++
		s.client, s.n = cl, cl.links
		s.iface = c.interfaceOf(s)
		cl.sessions[s.id] = s
		c.ledger.client(cl)
		c.ledger.session(s)
	}
	c.onClient(a.Tunnel,
		func(err error) {
			s.open, s.absent = err == nil, err != nil
			if s.client != nil {
				c.ledger.session(s)
			}
			done(err)
			c.finishSession(s)
		},
		func(cl *client) func() error {
			switch {
			case cl.ending != "" && s.open: // it was taken over
				drop := c.dropSession(s, new(l2tpnl.Stats))
				return func() error {
					if err := drop(); err != nil {
						return err
					}
					return errEnding
				}
			case cl.ending != "":
				return func() error { return errEnding }
			case s.open:
				return func() error { return nil }
			}
			return func() error { return c.Tunnels.OpenSession(a.Tunnel, a.Session, a.PeerTunnel, a.PeerSession) }
		})
}

// deleteSession ends the kernel's part of a session.
func (c *Concentrator) deleteSession(a l2tp.DeleteSession, done func(error)) {
	var s *session
	var last l2tpnl.Stats
	c.onClient(a.Tunnel,
		func(err error) {
			if s != nil {
				s.stats = last
			}
			done(err)
			if s != nil {
				s.absent = true
				c.ledger.session(s)
				c.finishSession(s)
			}
		},
		func(cl *client) func() error {
			s = cl.sessions[a.Session]
			return c.dropSession(s, &last)
		})
}

// dropSession ends the kernel's part of a session at once: it is gone with its last sockets, ours and the PPP endpoint's. Its
// counters go to last.
func (c *Concentrator) dropSession(s *session, last *l2tpnl.Stats) func() error {
	if s == nil || s.dropped {
		return func() error { return nil }
	}
	s.dropped = true
	c.ledger.session(s)
	process, open, tunnel := s.process, s.open, uint16(s.client.port)
	s.open = false
	return func() error {
		if got, err := c.Tunnels.Session(uint32(tunnel), uint32(s.id)); err == nil {
			*last = got.Stats
		}
		var err error
		if process != nil {
			err = process.Kill()
		}
		if open {
			if closing := c.Tunnels.CloseSession(tunnel, s.id); !errors.Is(closing, os.ErrNotExist) {
				err = errors.Join(err, closing)
			}
		}
		return err
	}
}

// sessionDown notes that the L2TP engine has let go of a session.
func (c *Concentrator) sessionDown(e l2tp.SessionDown) {
	cl := c.ports[slot.Port(e.Tunnel)]
	if cl == nil || cl.sessions[e.Session] == nil {
		return
	}
	s := cl.sessions[e.Session]
	c.blame(s, e.Reason)
	s.state, s.down = sessionClosing, &e
	c.ledger.session(s)
	c.finishSession(s)
}

// finishSession writes the record of a session and forgets it, when both the L2TP engine and the kernel have let go of it.
func (c *Concentrator) finishSession(s *session) {
	cl := s.client
	if s.down == nil || !s.absent || cl.sessions[s.id] != s {
		return
	}
	delete(cl.sessions, s.id)
	c.ledger.session(s)
	if s.process == nil {
		c.closeAAA(s)
	}
	now := time.Now()
	if !s.up.IsZero() {
		c.counters.sessionsDown++
	}
	ev := s.event(eventSessionDown)
	ev.Text = s.reason
	c.record("session down", ev, append(s.fields(), zap.String("reason", s.reason), zap.Bool("by_peer", s.down.ByPeer),
		zap.Duration("duration", now.Sub(s.created).Round(time.Millisecond)),
		zap.Uint64("rx_bytes", s.stats.RxBytes), zap.Uint64("tx_bytes", s.stats.TxBytes))...)
	if s.failed && len(cl.sessions) == 0 && cl.ending == "" && cl.plain == nil {
		c.doom(now, cl, s.reason) // a client whose only call failed has to begin anew
	}
	c.retire(now, cl)
}

// fields say in the log what events do not say of a session.
func (s *session) fields() []zap.Field {
	fields := []zap.Field{zap.String("interface", s.iface)}
	if s.user != "" {
		fields = append(fields, zap.Stringer("ip", s.address))
	}
	return fields
}

// interfaceOf is the name of a session's interface.
func (c *Concentrator) interfaceOf(s *session) string { return c.opt.PPP.InterfacePrefix + s.name() }

// name is the session's id for operators: unique in the daemon.
func (s *session) name() string { return fmt.Sprintf("%d-%d", s.client.port, s.n) }
