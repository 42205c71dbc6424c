package l2tp

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// tunnelState is the state of a control connection, LNS side (RFC 2661 7.2.1).
type tunnelState uint8

const (
	// tunnelCreating: SCCRQ received, the kernel tunnel is being made; nothing was sent.
	tunnelCreating tunnelState = iota
	// tunnelConnecting: SCCRP sent, "wait-ctl-conn".
	tunnelConnecting
	// tunnelEstablished: SCCCN received.
	tunnelEstablished
	// tunnelClosing: StopCCN sent and not acknowledged. Kernel objects are given up already.
	tunnelClosing
	// tunnelClosed: closed for both; remembered for "a full retransmission cycle" to acknowledge again (RFC 2661 5.7).
	tunnelClosed
)

var tunnelStateNames = [...]string{"creating", "connecting", "established", "closing", "closed"}

func (s tunnelState) String() string { return tunnelStateNames[s] }

// tunnel is one control connection.
type tunnel struct {
	slot     *slot
	remote   netip.AddrPort
	state    tunnelState
	channel  channel
	object   object
	sessions map[uint16]*session
	leaving  map[uint16]*session // ended ones whose kernel objects are not gone

	refusing bool // the owner is ending it: no new calls

	request  digest // of the SCCRQ datagram, to know it again
	replaced uint16 // peer's id of the tunnel that this one replaced; 0: none

	hostName, vendorName string
	firmware             uint16

	created     time.Time
	established time.Time
	heard       time.Time // last message from the peer
	changed     time.Time // last change of state
	setupBy     time.Time // established until then; zero: no limit
	idleAt      time.Time // end of a tunnel without sessions; zero: not idle
	removeAt    time.Time // end of tunnelClosed
}

// leave keeps an ended session until its kernel object is gone.
func (t *tunnel) leave(c *session) {
	if t.leaving == nil {
		t.leaving = make(map[uint16]*session)
	}
	t.leaving[c.id] = c
}

// ending says why a tunnel or a session is over.
type ending struct {
	reason string
	result Result
	byPeer bool
	silent bool
}

func (st *step) setState(t *tunnel, state tunnelState) {
	t.state = state
	t.changed = st.now
	t.setupBy, t.idleAt, t.removeAt = time.Time{}, time.Time{}, time.Time{}
	switch state {
	case tunnelCreating, tunnelConnecting:
		t.setupBy = t.created.Add(t.channel.cfg.SetupTimeout)
	case tunnelEstablished:
		t.established = st.now
		st.restartIdle(t)
	case tunnelClosed:
		t.removeAt = st.now.Add(t.channel.cfg.linger())
	}
}

// restartIdle arms the limit for tunnels that carry nothing.
func (st *step) restartIdle(t *tunnel) {
	t.idleAt = time.Time{}
	if t.state == tunnelEstablished && len(t.sessions) == 0 && t.channel.cfg.IdleTimeout > 0 {
		t.idleAt = st.now.Add(t.channel.cfg.IdleTimeout)
	}
}

// tunnelCreated goes on with the set-up after the kernel tunnel was made, or refuses it.
func (st *step) tunnelCreated(t *tunnel, err error) {
	if t.state != tunnelCreating {
		return
	}
	if err != nil {
		st.closeTunnel(t, Result{Code: StopError, Error: ErrorResources}, "kernel tunnel: "+err.Error())
	} else {
		st.setState(t, tunnelConnecting)
		st.enqueue(t, 0, t.channel.cfg.replyToSetup(t.slot.id)...)
	}
	st.flush(t)
}

// enqueue queues a message. A peer that acknowledges nothing loses its tunnel rather than fill our memory.
func (st *step) enqueue(t *tunnel, session uint16, avps ...wire.AVP) {
	if err := t.channel.enqueue(session, avps...); err != nil {
		st.closeTunnel(t, Result{Code: StopError, Error: ErrorResources}, err.Error())
	}
}

// flush sends what may be sent now, and a ZLB if an acknowledgement is due and found nothing to ride on.
func (st *step) flush(t *tunnel) {
	for _, m := range t.channel.pump(st.now) {
		st.send(t, m)
	}
	if t.channel.ack == ackNow {
		st.send(t, t.channel.zlb())
	}
}

// closeTunnel ends a tunnel from our side: with StopCCN, which is repeated until it is acknowledged. "A StopCCN implicitly clears
// all sessions": no CDN is sent for them.
func (st *step) closeTunnel(t *tunnel, result Result, reason string) {
	if t.state >= tunnelClosing {
		return
	}
	st.endTunnel(t, ending{reason: reason, result: result})
	st.setState(t, tunnelClosing)
	t.channel.last(
		wire.StopCCN.Value(),
		wire.Uint16(wire.AttrAssignedTunnelID, t.slot.id),
		result.wire().Value(),
	)
}

// stopped handles the peer's StopCCN.
func (st *step) stopped(t *tunnel, result Result) {
	st.endTunnel(t, ending{reason: "StopCCN received", result: result, byPeer: true})
	t.channel.clear()
	t.channel.owe(ackNow, st.now)
	st.setState(t, tunnelClosed)
}

// endTunnel reports the end of a tunnel and its sessions, once, and gives the kernel objects up.
func (st *step) endTunnel(t *tunnel, why ending) {
	if t.state >= tunnelClosing {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(t.sessions)) {
		st.endSession(t.sessions[id], ending{reason: "tunnel: " + why.reason, byPeer: why.byPeer})
	}
	st.event(TunnelDown{
		Tunnel: t.slot.id, PeerTunnel: t.channel.peer, Remote: t.remote,
		Reason: why.reason, Result: why.result, ByPeer: why.byPeer, Silent: why.silent, Established: !t.established.IsZero(),
	})
	st.setState(t, tunnelClosed)
	st.releaseTunnel(t)
}

// advance does what is due in a tunnel.
func (st *step) advance(t *tunnel) {
	if st.due(t.removeAt) {
		t.slot.tunnel = nil
		return
	}
	if st.due(t.setupBy) {
		st.closeTunnel(t, Result{Code: StopGeneral}, "not established in time")
	}
	for _, id := range slices.Sorted(maps.Keys(t.sessions)) {
		if c := t.sessions[id]; c != nil && st.due(c.setupBy) {
			st.closeSession(c, Result{Code: CDNTimeout}, "not established in time")
		}
	}
	if st.due(t.idleAt) {
		st.closeTunnel(t, Result{Code: StopGeneral}, "no session in it")
	}
	if !t.channel.expire(st.now) {
		st.endTunnel(t, ending{reason: "the peer does not answer", silent: true})
		t.slot.tunnel = nil
		return
	}
	if t.channel.ack == ackLater && st.due(t.channel.ackAt) {
		t.channel.owe(ackNow, st.now)
	}
	if st.due(t.helloAt()) {
		st.enqueue(t, 0, wire.HELLO.Value())
	}
	st.flush(t)
}

func (st *step) due(at time.Time) bool { return !at.IsZero() && !at.After(st.now) }

// helloAt returns when silence calls for a HELLO. While a message of ours is unacknowledged, that one is the probe.
func (t *tunnel) helloAt() time.Time {
	if t.state != tunnelEstablished || t.channel.cfg.HelloInterval < 0 || len(t.channel.queue) > 0 {
		return time.Time{}
	}
	return t.heard.Add(t.channel.cfg.HelloInterval)
}

// deadline returns when advance has something to do.
func (t *tunnel) deadline() time.Time {
	d := t.channel.deadline()
	for _, at := range [...]time.Time{t.removeAt, t.setupBy, t.idleAt, t.helloAt()} {
		d = earliest(d, at)
	}
	for _, c := range t.sessions {
		d = earliest(d, c.setupBy)
	}
	return d
}

func (t *tunnel) info() TunnelInfo {
	info := TunnelInfo{
		Tunnel: t.slot.id, PeerTunnel: t.channel.peer, Remote: t.remote, State: t.state.String(),
		HostName: t.hostName, VendorName: t.vendorName, FirmwareRevision: t.firmware,
		PeerWindow: uint16(t.channel.window.peer), Created: t.created, Established: t.established,
	}
	for _, id := range slices.Sorted(maps.Keys(t.sessions)) {
		info.Sessions = append(info.Sessions, t.sessions[id].info())
	}
	return info
}
