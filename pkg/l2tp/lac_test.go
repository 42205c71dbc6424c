package l2tp

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// lac is a client for the lossy tests with a reliable delivery of its own, written apart from the engine's: it sends one message
// at a time or a window of them, repeats the whole window after a second, and puts nothing into order (what comes early is
// dropped, as small devices do).
type lac struct {
	tunnel  uint16 // own tunnel id
	window  int
	calls   int           // sessions to open
	stay    time.Duration // how long it uses them
	vanish  bool          // leaves without a word
	lazyAck bool          // acknowledges only what it has to

	peer   uint16 // the LNS's tunnel id
	ns, nr uint16
	queue  []wire.Message // the first has number una
	una    uint16
	resend time.Time
	tries  int

	up       map[uint16]uint16 // own session id to the LNS's
	opened   int
	leaveAt  time.Time
	stopping bool
	done     bool
	failed   bool // gave up or was refused
	out      [][]byte
}

func (l *lac) emit(m wire.Message) {
	m.TunnelID, m.Nr = l.peer, l.nr
	payload, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	l.out = append(l.out, payload)
}

// post queues a message and sends it if the window allows.
func (l *lac) post(now time.Time, session uint16, avps ...wire.AVP) {
	m := wire.Message{SessionID: session, Ns: l.ns, AVPs: avps}
	l.ns++
	l.queue = append(l.queue, m)
	if len(l.queue) <= l.window {
		l.emit(m)
	}
	if len(l.queue) == 1 {
		l.resend = now.Add(time.Second)
	}
}

func (l *lac) start(now time.Time) {
	l.up = make(map[uint16]uint16)
	l.post(now, 0, wire.SCCRQ.Value(), wire.Uint16(wire.AttrProtocolVersion, 0x100), wire.Uint32(wire.AttrFramingCaps, 3),
		wire.Bytes(wire.AttrHostName, "lac"), wire.Uint16(wire.AttrAssignedTunnelID, l.tunnel),
		wire.Uint16(wire.AttrReceiveWindow, uint16(l.window)))
}

func (l *lac) receive(now time.Time, payload []byte) {
	m, err := wire.Parse(payload)
	if l.done || err != nil || m.TunnelID != l.tunnel {
		return
	}
	for n := int16(m.Nr - l.una); n > 0 && len(l.queue) > 0; n-- {
		l.queue = l.queue[1:]
		l.una++
		l.tries = 0
		l.resend = now.Add(time.Second)
		if len(l.queue) >= l.window {
			l.emit(l.queue[l.window-1])
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
	if len(l.out) == 0 && (!l.lazyAck || m.Ns != l.nr-1 || len(l.queue) == 0) {
		l.emit(wire.Message{Ns: l.ns})
	}
}

func (l *lac) act(now time.Time, m wire.Message) {
	kind, _, _ := m.Type()
	b := m.Decode(nil)
	switch kind {
	case wire.SCCRP:
		l.peer = b.AssignedTunnelID
		l.post(now, 0, wire.SCCCN.Value())
		for id := range l.calls {
			l.post(now, 0, wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, uint16(id+1)), wire.Uint32(wire.AttrCallSerial, 1))
		}
		l.leaveAt = now.Add(l.stay)
	case wire.ICRP:
		l.up[m.SessionID] = b.AssignedSessionID
		l.opened++
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

// next returns when tick has to be called.
func (l *lac) next() time.Time {
	var d time.Time
	if l.done {
		return d
	}
	if len(l.queue) > 0 {
		d = l.resend
	}
	if !l.stopping {
		d = earliest(d, l.leaveAt)
	}
	return d
}

func (l *lac) tick(now time.Time) {
	if l.done {
		return
	}
	if !l.stopping && !l.leaveAt.IsZero() && !now.Before(l.leaveAt) {
		l.stopping = true
		if l.vanish {
			l.done = true
			return
		}
		for id, peer := range l.up {
			l.post(now, peer, wire.CDN.Value(), wire.Bytes(wire.AttrResultCode, "\x00\x03\x00\x00"), wire.Uint16(wire.AttrAssignedSessionID, id))
		}
		l.post(now, 0, wire.StopCCN.Value(), wire.Uint16(wire.AttrAssignedTunnelID, l.tunnel), wire.Bytes(wire.AttrResultCode, "\x00\x01\x00\x00"))
	}
	if len(l.queue) > 0 && !now.Before(l.resend) {
		if l.tries++; l.tries > 12 {
			l.done, l.failed = true, !l.stopping
			return
		}
		l.resend = now.Add(time.Second)
		for _, m := range l.queue[:min(len(l.queue), l.window)] {
			l.emit(m)
		}
	}
}
