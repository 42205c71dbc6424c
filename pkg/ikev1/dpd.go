package ikev1

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// deadPeerDetection is the state of RFC 3706 in one ISAKMP SA.
type deadPeerDetection struct {
	heard time.Time // when the peer sent something authenticated

	// asked is when the question that is not answered yet was put for the first time, zero for none; again is when to
	// repeat it.
	asked, again time.Time
	sequence     uint32 // of our latest question, 0 before the first

	// peerSequence is that of the peer's latest question, if peerAsked.
	peerSequence uint32
	peerAsked    bool
	repeats      int
}

// heard notes that an authenticated message arrived: the peer lives, and is where it came from.
func (e *Engine) heard(sa *isakmpSA, d Datagram) {
	sa.dpd.heard = e.now
	sa.dpd.asked = time.Time{}
	e.move(sa, d)
	e.rearm(sa)
}

// dpdDeadline returns when the peer has to be asked or given up, zero for never. Only the newest SA of a client asks.
func (e *Engine) dpdDeadline(sa *isakmpSA) time.Time {
	switch {
	case !sa.peer.dpd || e.cfg.DPDInterval < 0 || sa.client == nil || sa.client.newest() != sa:
		return time.Time{}
	case sa.dpd.asked.IsZero():
		return sa.dpd.heard.Add(e.cfg.DPDInterval)
	}
	return earliest(sa.dpd.again, sa.dpd.asked.Add(e.cfg.DPDTimeout))
}

// checkPeer asks the peer whether it lives, or gives it up.
func (e *Engine) checkPeer(sa *isakmpSA) {
	defer e.rearm(sa)
	if due := e.dpdDeadline(sa); due.IsZero() || e.now.Before(due) {
		return
	}
	dpd := &sa.dpd
	switch {
	case dpd.asked.IsZero():
		if dpd.sequence == 0 {
			b, err := e.random(4)
			if err != nil {
				dpd.heard = e.now // ask later
				return
			}
			// RFC 3706 section 6.2: the first number is random, with its high bit cleared.
			dpd.sequence = binary.BigEndian.Uint32(b) & 0x7fffffff
		}
		dpd.sequence++
		dpd.asked = e.now
	case !e.now.Before(dpd.asked.Add(e.cfg.DPDTimeout)):
		e.closeClient(sa.client, fmt.Sprintf("dead peer: no answer for %v", e.cfg.DPDTimeout), false)
		return
	}
	dpd.again = e.now.Add(max(e.cfg.DPDTimeout/5, time.Second))
	e.inform(sa, sa.dpdNotify(wire.NotifyRUThere, binary.BigEndian.AppendUint32(nil, dpd.sequence)))
}

// peerAsks answers an R-U-THERE, unless its number is from the past.
func (e *Engine) peerAsks(sa *isakmpSA, d Datagram, n wire.Notification) {
	if !bytes.Equal(n.SPI, sa.name.spi()) || len(n.Data) != 4 {
		e.drop(d, DropMalformed)
		return
	}
	dpd, sequence := &sa.dpd, binary.BigEndian.Uint32(n.Data)
	if dpd.peerAsked && int32(sequence-dpd.peerSequence) < 0 {
		e.drop(d, DropSequence)
		return
	}
	dpd.peerAsked, dpd.peerSequence, dpd.repeats = true, sequence, 0
	e.inform(sa, sa.dpdNotify(wire.NotifyRUThereAck, bytes.Clone(n.Data)))
}

// answerAgain answers a retransmitted R-U-THERE, a few times only; false: it is none, or not the latest.
func (e *Engine) answerAgain(sa *isakmpSA, p payloads) bool {
	body, ok := p.only(wire.PayloadNotification)
	if !ok || len(p) != 2 {
		return false
	}
	n, err := wire.ParseNotification(body)
	if err != nil || n.Kind != wire.NotifyRUThere || len(n.Data) != 4 {
		return false
	}
	dpd := &sa.dpd
	if !dpd.peerAsked || binary.BigEndian.Uint32(n.Data) != dpd.peerSequence || dpd.repeats >= maxDuplicates {
		return false
	}
	dpd.repeats++
	e.inform(sa, sa.dpdNotify(wire.NotifyRUThereAck, bytes.Clone(n.Data)))
	return true
}

// isStaleAnswer says whether n is an R-U-THERE-ACK that does not carry the number of our latest question.
func (sa *isakmpSA) isStaleAnswer(n wire.Notification) bool {
	return n.Kind == wire.NotifyRUThereAck && (len(n.Data) != 4 || binary.BigEndian.Uint32(n.Data) != sa.dpd.sequence)
}

// dpdNotify returns a DPD notification (RFC 3706 section 5.2).
func (sa *isakmpSA) dpdNotify(kind wire.NotifyType, sequence []byte) wire.Notification {
	return wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: kind, SPI: sa.name.spi(), Data: sequence}
}
