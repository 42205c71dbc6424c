package ikev1

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
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
	e.suspects.client = sa.client
	e.touch(sa.client)
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

// dpdPause is how long a question waits for its answer before it is repeated.
func (e *Engine) dpdPause() time.Duration { return max(e.cfg.DPDTimeout/10, time.Second) }

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
		if slices.ContainsFunc(sa.client.sas, func(other *isakmpSA) bool { return other.dpd.heard.After(dpd.asked) }) {
			e.deleteSA(sa, "the peer lives, but does not know this ISAKMP SA")
			return
		}
		e.closeClient(sa.client, fmt.Sprintf("dead peer: no answer for %v", e.cfg.DPDTimeout), false)
		return
	}
	dpd.again = e.now.Add(e.dpdPause())
	e.inform(sa, sa.dpdNotify(wire.NotifyRUThere, binary.BigEndian.AppendUint32(nil, dpd.sequence)))
}

// isDPD says whether n is part of RFC 3706.
func isDPD(n wire.Notification) bool {
	return n.Kind == wire.NotifyRUThere || n.Kind == wire.NotifyRUThereAck
}

// checkSequence says whether a notification is new, if it is one of DPD: a question with a higher number than all before, or the answer to
// our latest question, which has none yet. Otherwise it returns why the message is to be dropped, or no reason if that was a repeated
// question, which it has answered.
func (e *Engine) checkSequence(sa *isakmpSA, n wire.Notification) (DropReason, bool) {
	if !isDPD(n) {
		return "", true
	}
	if len(n.Data) != 4 || n.Kind == wire.NotifyRUThere && !bytes.Equal(n.SPI, sa.name.spi()) {
		return DropMalformed, false
	}
	dpd, sequence := &sa.dpd, binary.BigEndian.Uint32(n.Data)
	if n.Kind == wire.NotifyRUThereAck {
		return DropSequence, !dpd.asked.IsZero() && sequence == dpd.sequence
	}
	if dpd.peerAsked && sequence == dpd.peerSequence {
		return e.answerAgain(sa, n), false
	}
	return DropSequence, !dpd.peerAsked || int32(sequence-dpd.peerSequence) > 0
}

// peerAsks answers a new R-U-THERE.
func (e *Engine) peerAsks(sa *isakmpSA, n wire.Notification) {
	sa.dpd.peerAsked, sa.dpd.peerSequence, sa.dpd.repeats = true, binary.BigEndian.Uint32(n.Data), 0
	e.inform(sa, sa.dpdNotify(wire.NotifyRUThereAck, bytes.Clone(n.Data)))
}

// answerAgain answers a repeated R-U-THERE, a few times only: the answer may have been lost.
func (e *Engine) answerAgain(sa *isakmpSA, n wire.Notification) DropReason {
	if sa.dpd.repeats >= maxDuplicates {
		return DropDuplicate
	}
	sa.dpd.repeats++
	e.touch(sa.client)
	e.inform(sa, sa.dpdNotify(wire.NotifyRUThereAck, bytes.Clone(n.Data)))
	return ""
}

// dpdNotify returns a DPD notification (RFC 3706 section 5.2).
func (sa *isakmpSA) dpdNotify(kind wire.NotifyType, sequence []byte) wire.Notification {
	return wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: kind, SPI: sa.name.spi(), Data: sequence}
}
