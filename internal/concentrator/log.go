package concentrator

import (
	"fmt"
	"net/netip"
	"strings"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

// maxListed bounds the proposals of one list in the log.
const maxListed = 12

// logIKE writes an event of the IKE engine, with the tunnel that operators know the client by.
func (c *Concentrator) logIKE(event ikev1.Event) {
	switch e := event.(type) {
	case ikev1.Phase1Established:
		c.Log.Info("phase 1 established", append(c.tunnelOf(e.Client), zap.Stringer("peer", e.Remote), zap.String("identity", e.Identity),
			zap.String("proposal", e.Proposal), zap.String("kind", e.VendorKind), zap.Bool("again", e.Rekey))...)
	case ikev1.Phase1Failed:
		c.Log.Warn("phase 1 failed", failure(e.Remote, e.Cause, e.Offered, e.Allowed, e.Hint)...)
	case ikev1.Phase2Failed:
		c.Log.Warn("phase 2 failed", append(c.tunnelOf(e.Client), failure(e.Remote, e.Cause, e.Offered, e.Allowed, e.Hint)...)...)
	case ikev1.ChildEstablished:
		c.Log.Info("IPsec established", append(c.tunnelOf(e.Client), zap.Stringer("peer", e.Remote), zap.String("proposal", e.Proposal),
			zap.String("spi_in", spi(e.SPIIn)), zap.String("spi_out", spi(e.SPIOut)), zap.Bool("again", e.Rekey))...)
	case ikev1.ChildClosed:
		c.Log.Debug("IPsec closed", append(c.tunnelOf(e.Client), zap.String("spi_in", spi(e.SPIIn)), zap.String("reason", e.Reason), zap.Bool("by_peer", e.ByPeer))...)
	case ikev1.ClientMoved:
		c.Log.Info("client moved to another port", append(c.tunnelOf(e.Client), zap.Stringer("peer", e.Remote))...)
	case ikev1.ClientGone:
		c.Log.Info("client gone", append(c.tunnelOf(e.Client), zap.Stringer("peer", e.Remote), zap.String("reason", e.Reason))...)
	case ikev1.Dropped:
		c.Log.Debug("IKE message dropped", zap.Stringer("peer", e.Remote), zap.String("reason", string(e.Reason)))
	}
}

// logL2TP writes an event of the L2TP engine. What becomes of sessions is told in terms of PPP instead.
func (c *Concentrator) logL2TP(event l2tp.Event) {
	switch e := event.(type) {
	case l2tp.TunnelUp:
		c.Log.Info("tunnel up", zap.Uint16("tunnel", e.Tunnel), zap.Uint16("peer_tunnel", e.PeerTunnel), zap.String("peer_name", e.HostName),
			zap.String("vendor", e.VendorName))
	case l2tp.TunnelDown:
		c.Log.Info("tunnel down", zap.Uint16("tunnel", e.Tunnel), zap.String("reason", e.Reason), zap.Bool("by_peer", e.ByPeer))
	case l2tp.ChallengeIgnored:
		c.Log.Warn("the client asks for a tunnel secret, which is not supported; remove it from the client", zap.Uint16("tunnel", e.Tunnel))
	case l2tp.CallRefused:
		c.Log.Info("call refused", zap.Uint16("tunnel", e.Tunnel), zap.String("reason", e.Reason))
	case l2tp.SessionUp, l2tp.SessionDown:
		c.Log.Debug(event.String())
	case l2tp.Dropped:
		c.Log.Debug("L2TP message dropped", zap.Uint16("tunnel", e.Tunnel), zap.String("reason", string(e.Reason)))
	}
}

// tunnelOf names the tunnel of a client, if it has got that far.
func (c *Concentrator) tunnelOf(id ikev1.ClientID) []zap.Field {
	if cl := c.clients[id]; cl != nil {
		return []zap.Field{zap.Uint16("tunnel", uint16(cl.port))}
	}
	return nil
}

// failure says why a negotiation failed, and what would cure it.
func failure(peer netip.AddrPort, cause string, offered, allowed []string, hint string) []zap.Field {
	fields := []zap.Field{zap.Stringer("peer", peer), zap.String("cause", cause)}
	if len(offered)+len(allowed) > 0 {
		fields = append(fields, zap.String("offered", list(offered)), zap.String("allowed", list(allowed)))
	}
	if hint != "" {
		fields = append(fields, zap.String("hint", hint))
	}
	return fields
}

func list(proposals []string) string {
	if more := len(proposals) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(proposals[:maxListed], " "), more)
	}
	return strings.Join(proposals, " ")
}
