// Package l2tptest plays an L2TP access concentrator, which is what a client of L2TP/IPsec is, for tests of a network server.
//
// A [LAC] has no socket and no clock: a test gives it the time and what it receives, and carries what it says. Its reliable delivery
// is written apart from the server's: it repeats the whole window after a second, and puts nothing into order (what comes early is
// dropped, as small devices do).
package l2tptest

import (
	"maps"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

const (
	resendAfter = time.Second
	maxTries    = 12
	setupTime   = 60 * time.Second
)

// LAC is one tunnel of a client. Set the fields, then call Start.
type LAC struct {
	Tunnel  uint16        // own tunnel id, not zero
	Window  int           // messages under way at a time, at least 1
	Calls   int           // sessions to open when the tunnel is up
	Stay    time.Duration // how long it uses them; zero: until it is told to leave
	Vanish  bool          // leaves without a word after Stay
	LazyAck bool          // acknowledges only what it has to
	Calling string        // whom it says it calls for; empty: it does not say

	peer     uint16 // the LNS's tunnel id
	ns, nr   uint16
	queue    []wire.Message // the first has number una
	una      uint16
	resend   time.Time
	tries    int
	lastCall uint16

	up       map[uint16]uint16 // own session id to the LNS's
	setupBy  time.Time         // answered until then
	leaveAt  time.Time
	stopping bool
	done     bool
	failed   bool
	out      [][]byte
}

// Start sends SCCRQ.
func (l *LAC) Start(now time.Time) {
	l.up = make(map[uint16]uint16)
	l.setupBy = now.Add(setupTime)
	l.post(now, 0, wire.SCCRQ.Value(), wire.Uint16(wire.AttrProtocolVersion, 0x100), wire.Uint32(wire.AttrFramingCaps, 3),
		wire.Bytes(wire.AttrHostName, "lac"), wire.Uint16(wire.AttrAssignedTunnelID, l.Tunnel),
		wire.Uint16(wire.AttrReceiveWindow, uint16(l.Window)))
}

// Call opens one more session with ICRQ.
func (l *LAC) Call(now time.Time) {
	l.lastCall++
	avps := []wire.AVP{wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, l.lastCall), wire.Uint32(wire.AttrCallSerial, 1)}
	if l.Calling != "" {
		avps = append(avps, wire.Bytes(wire.AttrCallingNumber, l.Calling))
	}
	l.post(now, 0, avps...)
}

// Hangup ends one of the sessions with CDN. It does nothing if there is no such session.
func (l *LAC) Hangup(now time.Time, session uint16) {
	if peer, ok := l.up[session]; ok && !l.stopping {
		delete(l.up, session)
		l.post(now, peer, wire.CDN.Value(), wire.Bytes(wire.AttrResultCode, "\x00\x03\x00\x00"), wire.Uint16(wire.AttrAssignedSessionID, session))
	}
}

// Stop ends the tunnel with StopCCN.
func (l *LAC) Stop(now time.Time) {
	if !l.stopping && !l.done {
		l.stopping = true
		l.post(now, 0, wire.StopCCN.Value(), wire.Uint16(wire.AttrAssignedTunnelID, l.Tunnel), wire.Bytes(wire.AttrResultCode, "\x00\x01\x00\x00"))
	}
}

// Receive takes a datagram.
func (l *LAC) Receive(now time.Time, payload []byte) {
	m, err := wire.Parse(payload)
	if l.done || err != nil || m.TunnelID != l.Tunnel {
		return
	}
	for n := int16(m.Nr - l.una); n > 0 && len(l.queue) > 0; n-- {
		l.queue = l.queue[1:]
		l.una++
		l.tries = 0
		l.resend = now.Add(resendAfter)
		if len(l.queue) >= l.Window {
			l.emit(l.queue[l.Window-1])
		}
	}
	if l.stopping && len(l.queue) == 0 {
		l.done = true
	}
	if m.IsZLB() {
		return
	}
	if m.Ns == l.nr {
		l.nr++
		l.act(now, m)
	}
	if len(l.out) == 0 && (!l.LazyAck || m.Ns != l.nr-1 || len(l.queue) == 0) {
		l.emit(wire.Message{Ns: l.ns})
	}
}

// Next returns when Tick has to be called; zero for never.
func (l *LAC) Next() time.Time {
	var next time.Time
	if l.done {
		return next
	}
	if len(l.queue) > 0 {
		next = l.resend
	}
	if l.peer == 0 && (next.IsZero() || l.setupBy.Before(next)) {
		next = l.setupBy
	}
	if !l.stopping && !l.leaveAt.IsZero() && (next.IsZero() || l.leaveAt.Before(next)) {
		next = l.leaveAt
	}
	return next
}

// Tick does what is due. Early calls do nothing.
func (l *LAC) Tick(now time.Time) {
	if l.done {
		return
	}
	if !l.stopping && !l.leaveAt.IsZero() && !now.Before(l.leaveAt) {
		if l.Vanish {
			l.done = true
			return
		}
		for _, id := range l.Sessions() {
			l.Hangup(now, id)
		}
		l.Stop(now)
	}
	if l.peer == 0 && !now.Before(l.setupBy) { // the request was acknowledged, and no answer came
		l.done, l.failed = true, !l.stopping
		return
	}
	if len(l.queue) > 0 && !now.Before(l.resend) {
		if l.tries++; l.tries > maxTries {
			l.done, l.failed = true, !l.stopping
			return
		}
		l.resend = now.Add(resendAfter)
		for _, m := range l.queue[:min(len(l.queue), l.Window)] {
			l.emit(m)
		}
	}
}

// Take returns the datagrams to be sent.
func (l *LAC) Take() [][]byte {
	out := l.out
	l.out = nil
	return out
}

// Sessions returns the ids of the sessions that are up, in order.
func (l *LAC) Sessions() []uint16 { return slices.Sorted(maps.Keys(l.up)) }

// Peer returns the LNS's id of the tunnel; zero before it is known.
func (l *LAC) Peer() uint16 { return l.peer }

// PeerSession returns the LNS's id of one of the sessions.
func (l *LAC) PeerSession(session uint16) uint16 { return l.up[session] }

// Hello sends HELLO; it is answered when Idle says so.
func (l *LAC) Hello(now time.Time) { l.post(now, 0, wire.HELLO.Value()) }

// Idle reports that all messages are acknowledged.
func (l *LAC) Idle() bool { return len(l.queue) == 0 }

// Established reports whether the server has accepted the tunnel, and it was not ended.
func (l *LAC) Established() bool { return l.peer != 0 && !l.stopping && !l.done }

// Done reports that the tunnel is over; Failed that it was not we who ended it.
func (l *LAC) Done() bool { return l.done }

// Failed reports that the server ended the tunnel or did not answer.
func (l *LAC) Failed() bool { return l.failed }

func (l *LAC) emit(m wire.Message) {
	m.TunnelID, m.Nr = l.peer, l.nr
	payload, err := m.Append(nil)
	if err != nil {
		l.done, l.failed = true, true
		return
	}
	l.out = append(l.out, payload)
}

// post queues a message and sends it if the window allows.
func (l *LAC) post(now time.Time, session uint16, avps ...wire.AVP) {
	m := wire.Message{SessionID: session, Ns: l.ns, AVPs: avps}
	l.ns++
	l.queue = append(l.queue, m)
	if len(l.queue) <= l.Window {
		l.emit(m)
	}
	if len(l.queue) == 1 {
		l.resend = now.Add(resendAfter)
	}
}

func (l *LAC) act(now time.Time, m wire.Message) {
	kind, _, _ := m.Type()
	b := m.Decode(nil)
	switch kind {
	case wire.SCCRP:
		l.peer = b.AssignedTunnelID
		l.post(now, 0, wire.SCCCN.Value())
		for range l.Calls {
			l.Call(now)
		}
		if l.Stay > 0 {
			l.leaveAt = now.Add(l.Stay)
		}
	case wire.ICRP:
		l.up[m.SessionID] = b.AssignedSessionID
		l.post(now, b.AssignedSessionID, wire.ICCN.Value(), wire.Uint32(wire.AttrTxConnectSpeed, 1000), wire.Uint32(wire.AttrFramingType, 3))
	case wire.CDN:
		delete(l.up, m.SessionID)
	case wire.StopCCN:
		// Gone at once and deaf to repetitions: their sender has to give up by itself.
		l.failed = !l.stopping
		l.emit(wire.Message{Ns: l.ns})
		l.done = true
	}
}
