package ikev1

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// flagResponse is the R flag of the IKEv2 header (RFC 7296 section 3.1).
const flagResponse wire.Flags = 0x20

// refuseIKEv2 tells whoever begins with IKEv2 that there is only IKEv1 here. The closest version that we speak is that of the answer's
// header (RFC 7296 section 3.10.1), so it is a message of IKEv1; SPIs and message ID are those of the request. Only requests are
// answered, and with less than they are, so that two servers cannot be made to talk to each other.
func (e *Engine) refuseIKEv2(d Datagram, h wire.Header) {
	e.drop(d, DropIKEv2)
	if e.stopped || h.Flags&flagResponse != 0 || h.InitiatorCookie == (wire.Cookie{}) {
		return
	}
	notify := wire.Message(wire.Header{
		InitiatorCookie: h.InitiatorCookie, ResponderCookie: h.ResponderCookie, Exchange: wire.ExchangeInformational, MessageID: h.MessageID,
	}, wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyInvalidMajorVersion})
	if len(notify) > len(d.Payload) || !e.versions.allow(e.now, time.Second, answersPerSec) {
		return
	}
	e.out.Send = append(e.out.Send, Datagram{Local: d.Local, Remote: d.Remote, Encapsulated: d.Encapsulated, Payload: notify})
}
