package ikev1

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// What is needed of IKEv2 (RFC 7296 sections 3.1 and 3.10).
const (
	version2       uint8            = 0x20
	flagResponse   wire.Flags       = 0x20
	payloadNotify2 wire.PayloadType = 41
)

// refuseIKEv2 tells whoever begins with IKEv2 that there is none here: a response in the clear with nothing but INVALID_MAJOR_VERSION, with
// SPIs, exchange and message ID of the request (RFC 7296 section 1.5). It is a message of IKEv2, because such peers ignore one of
// IKEv1 and go on asking. Only requests are answered, and with less than they are, so that two servers cannot be made to talk to
// each other. The operator is told as often.
func (e *Engine) refuseIKEv2(d Datagram, h wire.Header) {
	e.drop(d, DropIKEv2)
	if e.stopped || h.Flags&flagResponse != 0 || h.InitiatorCookie == (wire.Cookie{}) {
		return
	}
	notify := []byte{0, 0, 0, 8, 0, 0, 0, byte(wire.NotifyInvalidMajorVersion)} // no protocol, no SPI
	answer := wire.Header{
		InitiatorCookie: h.InitiatorCookie, ResponderCookie: h.ResponderCookie, NextPayload: payloadNotify2, Version: version2,
		Exchange: h.Exchange, Flags: flagResponse, MessageID: h.MessageID, Length: uint32(wire.HeaderLen + len(notify)),
	}
	if int(answer.Length) > len(d.Payload) || !e.versions.allow(e.now, time.Second, answersPerSec) {
		return
	}
	e.out.Send = append(e.out.Send, Datagram{Local: d.Local, Remote: d.Remote, Encapsulated: d.Encapsulated, Payload: append(answer.Append(nil), notify...)})
	e.emit(diagnosis{cause: CauseIKEv2}.phase1Failed(d))
}
