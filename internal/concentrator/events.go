package concentrator

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

// The kinds of events.
const (
	eventStarted         = "daemon_started"
	eventStopping        = "daemon_stopping"
	eventAdopted         = "daemon_adopted"   // it goes on where another has left off
	eventClientConnected = "client_connected" // phase 1 is through
	eventClientFailed    = "client_failed"    // a negotiation came to nothing
	eventClientMoved     = "client_moved"
	eventClientGone      = "client_gone"
	eventIPsecUp         = "ipsec_up" // the first pair of ESP SAs
	eventTunnelUp        = "tunnel_up"
	eventTunnelDown      = "tunnel_down"
	eventTunnelSecret    = "tunnel_secret_refused"
	eventCallRefused     = "call_refused"
	eventSessionUp       = "session_up"
	eventSessionDown     = "session_down"
	eventSessionFailed   = "session_failed" // there is no PPP endpoint for it
	eventAuthRejected    = "auth_rejected"

	eventReloaded     = "configuration_reloaded"
	eventReloadFailed = "reload_failed"

	eventSteeringRestored = "steering_restored"
	eventSteeringMissing  = "steering_missing"
	eventSALost           = "sa_lost"
	eventTunnelLost       = "tunnel_lost"
	eventSessionLost      = "session_lost"
	eventInterfaceLost    = "interface_lost"
	eventSlotsLow         = "slots_low"
	eventSlotsExhausted   = "slots_exhausted"
	eventPortTaken        = "slot_port_taken"
	eventPlainRefused     = "plain_refused"
)

// levels are those of the log by severity.
var levels = map[string]zapcore.Level{
	control.SeverityInfo: zapcore.InfoLevel, control.SeverityWarning: zapcore.WarnLevel, control.SeverityError: zapcore.ErrorLevel,
}

// maxListed bounds the proposals of one list in the log.
const maxListed = 12

// peer is what IKE knows of a client.
type peer struct{ identity, kind string }

// record is where facts become events: it writes one to the log, with fields that only the log has, and to the journal.
func (c *Concentrator) record(message string, e control.Event, fields ...zap.Field) {
	if e.Severity == "" {
		e.Severity = control.SeverityInfo
	}
	c.Log.Log(levels[e.Severity], message, append(eventFields(e), fields...)...)
	e.Time = time.Now()
	c.journal.add(e)
}

// eventFields are the fields of the log that say what an event says. Its text stands in the message, or in a field of its own.
func eventFields(e control.Event) []zap.Field {
	var fields []zap.Field
	text := func(key, value string) {
		if value != "" {
			fields = append(fields, zap.String(key, value))
		}
	}
	text("session", e.SessionID)
	if e.TunnelID != 0 && e.SessionID == "" {
		fields = append(fields, zap.Uint16("tunnel", e.TunnelID))
	}
	if e.Peer.IsValid() {
		fields = append(fields, zap.Stringer("peer", e.Peer))
	}
	if e.TunnelID == 0 || e.Cause != "" {
		text("identity", e.Identity)
		text("client_kind", e.ClientKind)
	}
	text("user", e.User)
	if e.Cause != "" {
		text("code", e.Cause)
		text("cause", e.Text)
	}
	if e.Offered+e.Allowed != "" {
		fields = append(fields, zap.String("offered", abridged(e.Offered)), zap.String("allowed", abridged(e.Allowed)))
	}
	text("hint", e.Hint)
	return fields
}

const listSeparator = ", "

func joined(list []string) string { return strings.Join(list, listSeparator) }

// abridged keeps the beginning of a list: the preferred proposals.
func abridged(list string) string {
	parts := strings.Split(list, listSeparator)
	if more := len(parts) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", joined(parts[:maxListed]), more)
	}
	return list
}

// ofPeer begins an event about a client that IKE knows.
func (c *Concentrator) ofPeer(kind string, id ikev1.ClientID, at netip.AddrPort) control.Event {
	p := c.peers[id]
	e := control.Event{Kind: kind, ClientID: uint64(id), Peer: at, Identity: p.identity, ClientKind: p.kind}
	if cl := c.clients[id]; cl != nil {
		e.TunnelID = uint16(cl.port)
	}
	return e
}

// event begins an event about a client that has a slot.
func (cl *client) event(kind string) control.Event {
	e := control.Event{
		Kind: kind, ClientID: uint64(cl.id), TunnelID: uint16(cl.port), Peer: cl.remote, Identity: cl.peer.identity, ClientKind: cl.peer.kind,
	}
	if cl.plain != nil {
		e.ClientID = 0 // IKE knows none
	}
	return e
}

// event begins an event about a session.
func (s *session) event(kind string) control.Event {
	e := s.client.event(kind)
	e.SessionID, e.User = s.name(), s.user
	return e
}

// recordIKE tells of an event of the IKE engine. What each of thousands of clients does every hour goes to the log alone.
func (c *Concentrator) recordIKE(event ikev1.Event) {
	switch e := event.(type) {
	case ikev1.Phase1Established:
		ev := c.ofPeer(eventClientConnected, e.Client, e.Remote)
		ev.Text = "phase 1 established with " + e.Proposal
		var fields []zap.Field
		if e.RevocationUnknown {
			ev.Text += "; nobody could tell whether its certificate was revoked"
			fields = append(fields, zap.Bool("revocation_unknown", true))
		}
		if e.Rekey {
			c.Log.Info("phase 1 established", append(append(eventFields(ev), fields...), zap.String("proposal", e.Proposal), zap.Bool("again", true))...)
			return
		}
		c.record("phase 1 established", ev, append(fields, zap.String("proposal", e.Proposal))...)
	case ikev1.Phase1Failed:
		c.record("phase 1 failed", control.Event{
			Kind: eventClientFailed, Severity: control.SeverityWarning, Peer: e.Remote, Identity: e.Identity, ClientKind: e.VendorKind,
			Cause: string(e.Code), Text: e.Cause, Hint: e.Hint, Offered: joined(e.Offered), Allowed: joined(e.Allowed),
		})
	case ikev1.Phase2Failed:
		ev := c.ofPeer(eventClientFailed, e.Client, e.Remote)
		ev.Severity, ev.Cause, ev.Text, ev.Hint = control.SeverityWarning, string(e.Code), e.Cause, e.Hint
		ev.Offered, ev.Allowed = joined(e.Offered), joined(e.Allowed)
		c.record("phase 2 failed", ev)
	case ikev1.ChildEstablished:
		ev := c.ofPeer(eventIPsecUp, e.Client, e.Remote)
		ev.Text = "ESP with " + e.Proposal
		fields := []zap.Field{zap.String("proposal", e.Proposal), zap.String("spi_in", spi(e.SPIIn)), zap.String("spi_out", spi(e.SPIOut))}
		if e.Rekey {
			c.Log.Info("IPsec established", append(append(eventFields(ev), fields...), zap.Bool("again", true))...)
			return
		}
		c.record("IPsec established", ev, fields...)
	case ikev1.ChildClosed:
		c.Log.Debug("IPsec closed", append(eventFields(c.ofPeer("", e.Client, netip.AddrPort{})), zap.String("spi_in", spi(e.SPIIn)),
			zap.String("reason", e.Reason), zap.Bool("by_peer", e.ByPeer))...)
	case ikev1.ClientMoved:
		ev := c.ofPeer(eventClientMoved, e.Client, e.Remote)
		ev.Text = "the client has another address, or a NAT gave it another port"
		c.record("client moved", ev)
	case ikev1.ClientGone:
		ev := c.ofPeer(eventClientGone, e.Client, e.Remote)
		ev.Text = e.Reason
		c.record("client gone", ev, zap.String("reason", e.Reason))
	case ikev1.Panicked:
		c.Log.Error("recovered from a panic; please report it", zap.Stringer("peer", e.Remote), zap.String("panic", e.What), zap.String("stack", e.Stack))
	case ikev1.Dropped:
		c.Log.Debug("IKE message dropped", zap.Stringer("peer", e.Remote), zap.String("reason", string(e.Reason)))
	}
}

// recordL2TP tells of an event of the L2TP engine. What becomes of sessions is told in terms of PPP instead.
func (c *Concentrator) recordL2TP(event l2tp.Event) {
	ofTunnel := func(kind string, tunnel uint16, text string) control.Event {
		ev := control.Event{Kind: kind, TunnelID: tunnel}
		if cl := c.ports[slot.Port(tunnel)]; cl != nil {
			ev = cl.event(kind)
		}
		ev.Text = text
		return ev
	}
	switch e := event.(type) {
	case l2tp.TunnelUp:
		c.record("tunnel up", ofTunnel(eventTunnelUp, e.Tunnel, strings.TrimSuffix(e.HostName+", "+e.VendorName, ", ")),
			zap.Uint16("peer_tunnel", e.PeerTunnel), zap.String("peer_name", e.HostName), zap.String("vendor", e.VendorName))
	case l2tp.TunnelDown:
		c.record("tunnel down", ofTunnel(eventTunnelDown, e.Tunnel, e.Reason), zap.String("reason", e.Reason), zap.Bool("by_peer", e.ByPeer))
	case l2tp.ChallengeIgnored:
		ev := ofTunnel(eventTunnelSecret, e.Tunnel, "")
		ev.Severity = control.SeverityWarning
		why := causeTunnelSecret
		if cl := c.ports[slot.Port(e.Tunnel)]; cl != nil && cl.plain != nil {
			why = causePlainSecret
		}
		why.explain(&ev)
		c.record("the client asks for a tunnel secret", ev)
	case l2tp.CallRefused:
		c.record("call refused", ofTunnel(eventCallRefused, e.Tunnel, e.Reason), zap.String("reason", e.Reason))
	case l2tp.SessionUp, l2tp.SessionDown, l2tp.TunnelMoved:
		c.Log.Debug(event.String())
	case l2tp.Dropped:
		c.Log.Debug("L2TP message dropped", zap.Uint16("tunnel", e.Tunnel), zap.String("reason", string(e.Reason)))
	}
}
