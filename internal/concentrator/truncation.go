package concentrator

import (
	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// inspect looks at what the inbound SA of a client has counted that never got as far as a tunnel. Kernels of old Androids cut
// HMAC-SHA2-256 off after 96 bits, where RFC 4868 has 128: all negotiations succeed, and then every single packet is refused.
func (c *Concentrator) inspect(cl *client, ch *child, counted xfrm.Stats) {
	if cl.dialed || cl.judged || ch.integrity != ikev1.HMACSHA256_128 {
		return
	}
	if counted.IntegrityFailed == 0 || counted.Packets > 0 {
		return
	}
	cl.judged = true
	c.ledger.client(cl)
	ev := cl.event(eventClientFailed)
	ev.Severity, ev.Cause = control.SeverityWarning, string(ikev1.CauseSHA256Truncation)
	ev.Text, ev.Hint = ikev1.CauseSHA256Truncation.Explain(ikev1.Facts{Client: cl.remote.Addr(), Kind: cl.peer.kind, Identity: cl.peer.identity})
	c.record("ESP failed", ev, zap.Uint32("integrity_errors", counted.IntegrityFailed))
}
