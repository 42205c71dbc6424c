package l2tp

import (
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// Datagram is a UDP payload to or from a peer.
type Datagram struct {
	Tunnel  uint16         // the slot; in received ones the only valid local tunnel id, not zero
	Remote  netip.AddrPort // the peer
	Payload []byte         // the engine keeps no reference to what it is given
}

// Output is what the owner has to do after a call: perform the actions in order, write the records down, send the datagrams, tell the
// events.
type Output struct {
	Actions []Action
	Records []Record // only with Config.Records: of what this call changed, each slot once
	Send    []Datagram
	Events  []Event
}

// Engine is the state of all control connections. Create it with New.
type Engine struct {
	cfg        *Config // of tunnels that begin now; a tunnel keeps that which it began with
	slots      map[uint16]*slot
	schedule   schedule
	requests   map[ActionID]request
	lastAction ActionID
	ids        sessionIDs
	shutdown   bool
	codec      codec
}

// New makes an engine without tunnels. rand, normally crypto/rand.Reader, is read for session ids, during calls of the
// engine's methods only.
func New(cfg Config, rand io.Reader) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if rand == nil {
		return nil, errors.New("l2tp: no source of randomness")
	}
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	return &Engine{
		cfg:      &cfg,
		codec:    codec,
		slots:    make(map[uint16]*slot),
		requests: make(map[ActionID]request),
		ids:      newSessionIDs(rand),
	}, nil
}

// step is one call of the engine: the time it happens at and what comes of it.
type step struct {
	e       *Engine
	now     time.Time
	out     Output
	touched []*slot
}

func (e *Engine) begin(now time.Time) *step { return &step{e: e, now: now} }

// end returns what came of the call.
func (st *step) end() Output {
	for _, s := range st.touched {
		s.touched = false
		st.record(s)
	}
	return st.out
}

func (st *step) event(event Event) { st.out.Events = append(st.out.Events, event) }

func (st *step) drop(d Datagram, reason DropReason) {
	st.event(Dropped{Tunnel: d.Tunnel, Remote: d.Remote, Reason: reason})
}

// Handle takes a datagram from a peer.
func (e *Engine) Handle(now time.Time, d Datagram) Output {
	st := e.begin(now)
	if st.handle(d) {
		if s := e.slots[d.Tunnel]; s != nil {
			st.settle(s)
		}
	}
	return st.end()
}

// Advance lets time pass. It may be called at any time; early calls do nothing.
func (e *Engine) Advance(now time.Time) Output {
	st := e.begin(now)
	for len(e.schedule) > 0 && !e.schedule[0].next.After(now) {
		s := e.schedule[0]
		st.advance(s.tunnel)
		st.settle(s)
	}
	return st.end()
}

// Next returns when Advance has to be called at the latest; zero for never.
func (e *Engine) Next() time.Time {
	if len(e.schedule) == 0 {
		return time.Time{}
	}
	return e.schedule[0].next
}

// Complete reports that an action was performed, or failed with err. Reports of unknown or already reported actions are ignored.
func (e *Engine) Complete(now time.Time, id ActionID, err error) Output {
	st := e.begin(now)
	if r, ok := e.requests[id]; ok {
		delete(e.requests, id)
		st.finished(r, err)
		st.settle(r.slot)
	}
	return st.end()
}

// Refuse makes a tunnel refuse new calls, with CDN, and its replacement by another, while the owner ends the PPP engines in it. It
// does nothing if there is no tunnel.
func (e *Engine) Refuse(now time.Time, slot uint16) Output {
	return e.command(now, slot, func(_ *step, t *tunnel) { t.refusing = true })
}

// CloseTunnel ends a tunnel and its sessions with StopCCN, whose Result Code is result. It does nothing if there is none.
func (e *Engine) CloseTunnel(now time.Time, slot uint16, result Result) Output {
	return e.command(now, slot, func(st *step, t *tunnel) {
		st.closeTunnel(t, result, "closed on request")
	})
}

// CloseSession ends a session with CDN, whose Result Code is result. It does nothing if there is none.
func (e *Engine) CloseSession(now time.Time, slot, id uint16, result Result) Output {
	return e.command(now, slot, func(st *step, t *tunnel) {
		if c := t.sessions[id]; c != nil {
			st.closeSession(c, result, "closed on request")
		}
	})
}

// Forget ends a tunnel without a message to the peer, which cannot be reached any more: its IPsec SA is gone.
func (e *Engine) Forget(now time.Time, slot uint16) Output {
	return e.command(now, slot, func(st *step, t *tunnel) {
		st.endTunnel(t, ending{reason: "the path to the peer is gone"})
		t.slot.tunnel = nil
	})
}

// Shutdown ends all tunnels with StopCCN and refuses new ones. The engine is at rest when Tunnels returns none that is not closed.
func (e *Engine) Shutdown(now time.Time) Output {
	e.shutdown = true
	st := e.begin(now)
	for _, id := range slices.Sorted(maps.Keys(e.slots)) {
		st.command(id, func(st *step, t *tunnel) {
			st.closeTunnel(t, Result{Code: StopShutdown}, "shutdown")
		})
	}
	return st.end()
}

func (e *Engine) command(now time.Time, id uint16, do func(*step, *tunnel)) Output {
	st := e.begin(now)
	st.command(id, do)
	return st.end()
}

func (st *step) command(id uint16, do func(*step, *tunnel)) {
	s := st.e.slots[id]
	if s == nil || s.tunnel == nil {
		return
	}
	do(st, s.tunnel)
	if s.tunnel != nil {
		st.flush(s.tunnel)
	}
	st.settle(s)
}

// Tunnels returns all tunnels in order of their numbers, closed ones too as long as they are remembered.
func (e *Engine) Tunnels() []TunnelInfo {
	var list []TunnelInfo
	for _, id := range slices.Sorted(maps.Keys(e.slots)) {
		if t := e.slots[id].tunnel; t != nil {
			list = append(list, t.info())
		}
	}
	return list
}

// Stopping reports whether the tunnel of a slot has ended with a StopCCN that the peer has not acknowledged yet. It is repeated meanwhile.
func (e *Engine) Stopping(slot uint16) bool {
	s := e.slots[slot]
	return s != nil && s.tunnel != nil && s.tunnel.state == tunnelClosing
}

// Tunnel returns the tunnel of a slot; false: there is none.
func (e *Engine) Tunnel(slot uint16) (TunnelInfo, bool) {
	if s := e.slots[slot]; s != nil && s.tunnel != nil {
		return s.tunnel.info(), true
	}
	return TunnelInfo{}, false
}

// handle finds the tunnel that a datagram belongs to. It returns false for what is no message to us and changes nothing.
func (st *step) handle(d Datagram) bool {
	m, err := wire.Parse(d.Payload)
	switch {
	case errors.Is(err, wire.ErrData):
		st.drop(d, DropData)
		return false
	case errors.Is(err, wire.ErrVersion):
		st.drop(d, DropVersion)
		return false
	case err != nil && !errors.Is(err, wire.ErrAVP):
		st.drop(d, DropMalformed)
		return false
	case m.TunnelID != 0 && m.TunnelID != d.Tunnel, d.Tunnel == 0:
		st.drop(d, DropForgedTunnel)
		return false
	}
	var t *tunnel
	if s := st.e.slots[d.Tunnel]; s != nil {
		t = s.tunnel
	}
	kind, _, _ := m.Type()
	switch {
	case m.TunnelID == 0 && kind == wire.SCCRQ:
		st.setup(d, m, err)
	case m.TunnelID == 0 && !st.stopsUnknown(t, d, m, kind):
		st.drop(d, DropEarly)
	case t == nil:
		st.drop(d, DropUnknownTunnel)
	case t.remote != d.Remote:
		st.drop(d, DropForgedSource)
	case st.stale(t, d, m, kind):
		st.drop(d, DropStale)
	default:
		st.receive(t, d, m, err)
	}
	if s := st.e.slots[d.Tunnel]; s != nil && s.tunnel != nil {
		st.flush(s.tunnel)
	}
	return true
}

// stopsUnknown tells whether a message without tunnel id is a StopCCN of a peer that has not heard ours yet: "the Assigned Tunnel
// ID AVP allows the peer to identify the appropriate tunnel" (RFC 2661 4.4.3).
func (st *step) stopsUnknown(t *tunnel, d Datagram, m wire.Message, kind wire.MessageType) bool {
	if t == nil || kind != wire.StopCCN || t.remote != d.Remote {
		return false
	}
	return m.Decode(nil).AssignedTunnelID == t.channel.peer
}

// stale acknowledges a StopCCN that a peer still repeats for the tunnel that it has replaced. Both tunnels have our one number, but
// the peer's own number is in the message.
func (st *step) stale(t *tunnel, d Datagram, m wire.Message, kind wire.MessageType) bool {
	if t.replaced == 0 || kind != wire.StopCCN || m.Decode(nil).AssignedTunnelID != t.replaced {
		return false
	}
	st.send(t, wire.Message{TunnelID: t.replaced, Ns: m.Nr, Nr: m.Ns + 1})
	return true
}

// send writes a message to a tunnel's peer.
func (st *step) send(t *tunnel, m wire.Message) {
	payload, err := m.Append(nil)
	if err != nil {
		st.event(Dropped{Tunnel: t.slot.id, Remote: t.remote, Reason: DropUnsendable})
		return
	}
	st.out.Send = append(st.out.Send, Datagram{Tunnel: t.slot.id, Remote: t.remote, Payload: payload})
}
