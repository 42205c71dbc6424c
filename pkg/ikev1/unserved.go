package ikev1

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// refuseExchange tells an authentic client that there is no exchange of this kind here. New Group Mode (RFC 2409 section 5.6) and the
// Transaction exchange of XAUTH and Mode Config begin with a HASH like that of an Informational exchange. Of all others the message is
// counted and no more.
func (e *Engine) refuseExchange(d Datagram, h wire.Header, reason DropReason, name string) {
	sa := e.find(d, h)
	if sa == nil || sa.state != established || h.Flags&wire.FlagEncryption == 0 || h.MessageID == 0 {
		e.drop(d, reason)
		return
	}
	if _, ok := sa.openFirst(h, d.Payload); !ok {
		e.drop(d, DropHash)
		return
	}
	if sa.used(h.MessageID) {
		e.drop(d, DropDuplicate)
		return
	}
	sa.theirIDs.add(h.MessageID)
	e.heard(sa, d)
	e.failQuick(sa.client, reason, because(CauseExchange, Facts{Detail: name}))
	if sa.client.refusals.allow(e.now, time.Minute, failuresPerMinute) {
		e.inform(sa, wire.Notification{
			DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyUnsupportedExchangeType, SPI: sa.name.spi(),
		})
	}
}
