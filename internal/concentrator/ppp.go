package concentrator

import (
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// PPPOptions are the same for every session.
type PPPOptions struct {
	InterfacePrefix string
	LocalIP         netip.Addr
	DNS             []netip.Addr
	MTU             int // octets, also the MRU
	Auth            pppd.Auth
	EchoInterval    time.Duration
	EchoFailure     int
}

// errSessionOver says that a session has ended before its turn to get a PPP endpoint.
var errSessionOver = errors.New("the session is over")

// startPPP hands a session's socket to a new PPP endpoint.
func (c *Concentrator) startPPP(e l2tp.SessionUp) {
	cl := c.ports[slot.Port(e.Tunnel)]
	if cl == nil || cl.sessions[e.Session] == nil {
		return
	}
	s := cl.sessions[e.Session]
	var process PPPProcess
	c.enqueue(&cl.ops,
		func() func() error {
			if !s.open || s.down != nil {
				return func() error { return errSessionOver }
			}
			if err := c.AAA.Open(aaa.Session{NASID: s.nas, PeerAddr: cl.remote.Addr()}); err != nil {
				return func() error { return err }
			}
			c.byNAS[s.nas] = s
			s.state = sessionAuthenticating
			c.ledger.session(s)
			link := c.link(s)
			return func() (err error) {
				process, err = c.PPP.Start(link)
				return err
			}
		},
		func(err error) {
			now := time.Now()
			if errors.Is(err, errSessionOver) {
				return
			}
			if err != nil {
				ev := s.event(eventSessionFailed)
				ev.Severity = control.SeverityError
				causePPPStart.explain(&ev)
				c.record("starting PPP failed", ev, zap.String("interface", s.iface), zap.Error(err))
				c.pppEnded(now, s, pppd.Exit{Reason: "PPP could not be started"})
				return
			}
			c.attend(s, process)
			if s.reason != "" {
				c.endSession(now, s, s.reason)
			}
		})
}

// attend waits for the end of a session's PPP endpoint.
func (c *Concentrator) attend(s *session, process PPPProcess) {
	s.process = process
	c.ledger.session(s)
	go func() {
		<-process.Done()
		c.post(func() {
			s.process = nil
			c.ledger.session(s)
			c.pppEnded(time.Now(), s, process.Wait())
		})
	}()
}

// link describes the PPP endpoint of a session.
func (c *Concentrator) link(s *session) pppd.Session {
	opt := c.opt.PPP
	s.local, s.mtu = opt.LocalIP, opt.MTU
	return pppd.Session{
		Name:         s.nas,
		Interface:    s.iface,
		TunnelID:     uint16(s.client.port),
		SessionID:    s.id,
		LocalIP:      opt.LocalIP,
		DNS:          opt.DNS,
		MTU:          opt.MTU,
		MRU:          opt.MTU,
		Auth:         opt.Auth,
		EchoInterval: opt.EchoInterval,
		EchoFailure:  opt.EchoFailure,
		Peer:         s.client.remote.Addr(),
		Log:          c.pppdLog(s.iface),
	}
}

// pppdLog writes what the pppd of an interface says.
func (c *Concentrator) pppdLog(iface string) func(line string) {
	return func(line string) { c.Log.Debug("pppd", zap.String("interface", iface), zap.String("message", line)) }
}

// pppEnded tells the peer that the call is over, unless that is known already.
func (c *Concentrator) pppEnded(now time.Time, s *session, exit pppd.Exit) {
	s.killAt = time.Time{}
	c.ledger.session(s)
	c.closeAAA(s)
	if s.dropped {
		return
	}
	if exit.Code == pppd.ExitPeerAuthFailed && !s.failed { // without a word to the RADIUS server
		c.reject(s, "", causeNoMethod, zap.Stringer("accepted", c.opt.PPP.Auth))
	}
	s.failed = s.failed || s.up.IsZero()
	c.ledger.session(s)
	if exit.Code == pppd.ExitHangup {
		c.bury(s) // the end of its interface is what pppd takes for that
	}
	c.blame(s, exit.Reason)
	c.closeSession(now, s)
}

// endSession asks the PPP endpoint to say goodbye; the rest follows when it has ended.
func (c *Concentrator) endSession(now time.Time, s *session, reason string) {
	c.blame(s, reason)
	if s.process == nil {
		if s.state == sessionConnecting {
			c.pppEnded(now, s, pppd.Exit{Reason: reason})
		}
		return // it is being started, and startPPP sees the reason
	}
	s.state = sessionClosing
	c.ledger.session(s)
	s.killAt = now.Add(c.opt.TerminateWait)
	c.touch(s.client)
	if err := s.process.Terminate(); err != nil {
		c.Log.Warn("terminating PPP failed", zap.String("interface", s.iface), zap.Error(err))
	}
}

// kill ends the PPP endpoint without a goodbye.
func (s *session) kill() {
	if s.process != nil {
		s.process.Kill()
	}
}
