package l2tp

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// sessionState is the state of an incoming call, LNS side (RFC 2661 7.4.2).
type sessionState uint8

const (
	// sessionCreating: ICRQ received, the kernel session is being made.
	sessionCreating sessionState = iota
	// sessionConnecting: ICRP sent, "wait-connect".
	sessionConnecting
	// sessionEstablished: ICCN received.
	sessionEstablished
)

var sessionStateNames = [...]string{"creating", "connecting", "established"}

func (s sessionState) String() string { return sessionStateNames[s] }

// session is one incoming call.
type session struct {
	tunnel *tunnel
	id     uint16
	peer   uint16
	state  sessionState
	object object

	callSerial              uint32
	txSpeed                 uint32
	callingNumber, calledNo string

	created     time.Time
	established time.Time
	setupBy     time.Time // zero once established
}

// callRequested handles ICRQ.
func (st *step) callRequested(t *tunnel, b *wire.Body) {
	peer := b.AssignedSessionID
	if t.refusing {
		st.dropCall(t, peer, Result{Code: CDNAdministrative}, DropRefusing)
		return
	}
	// A session that was ended counts until its kernel object is gone, or ICRQ and CDN in turn would make objects without limit.
	if len(t.sessions)+len(t.leaving) >= t.channel.cfg.MaxSessionsPerTunnel {
		st.refuseCall(t, peer, Result{Code: CDNTemporary}, "too many sessions in the tunnel")
		return
	}
	for _, c := range t.sessions {
		if c.peer == peer {
			st.refuseCall(t, peer, Result{Code: CDNError, Error: ErrorSession}, "the peer's session id is in use")
			return
		}
	}
	// For each call the owner starts a process, before any user has proved who he is.
	if !t.slot.calls.take(st.now, t.channel.cfg.CallsPerMinute) {
		st.dropCall(t, peer, Result{Code: CDNTemporary}, DropManyCalls)
		return
	}
	id, ok := st.e.ids.draw(t)
	if !ok {
		st.refuseCall(t, peer, Result{Code: CDNTemporary}, "no session id")
		return
	}
	c := &session{
		tunnel: t, id: id, peer: peer, state: sessionCreating,
		callSerial:    b.CallSerial,
		callingNumber: printable(b.CallingNumber),
		calledNo:      printable(b.CalledNumber),
		created:       st.now,
		setupBy:       st.now.Add(t.channel.cfg.SetupTimeout),
	}
	t.sessions[id] = c
	st.restartIdle(t)
	t.channel.owe(ackLater, st.now)
	st.createSession(c)
}

// sessionCreated goes on with the set-up of a call after the kernel session was made, or refuses it.
func (st *step) sessionCreated(c *session, err error) {
	if err != nil {
		st.closeSession(c, Result{Code: CDNTemporary}, "kernel session: "+err.Error())
	} else {
		c.state = sessionConnecting
		st.enqueue(c.tunnel, c.peer, wire.ICRP.Value(), wire.Uint16(wire.AttrAssignedSessionID, c.id))
	}
	st.flush(c.tunnel)
}

// callConnected handles ICCN. Huawei and Cisco leave out the speed and the framing type, which change nothing for us.
func (st *step) callConnected(c *session, b *wire.Body) {
	if c.state != sessionConnecting {
		st.closeSession(c, Result{Code: CDNError}, "ICCN while "+c.state.String())
		return
	}
	c.state = sessionEstablished
	c.established = st.now
	c.setupBy = time.Time{}
	c.txSpeed = b.TxConnectSpeed
	st.event(SessionUp{
		Tunnel: c.tunnel.slot.id, PeerTunnel: c.tunnel.channel.peer, Session: c.id, PeerSession: c.peer,
		CallSerial: c.callSerial, TxConnectSpeed: c.txSpeed, CallingNumber: c.callingNumber, CalledNumber: c.calledNo,
	})
}

// closeSession ends a call from our side.
func (st *step) closeSession(c *session, result Result, reason string) {
	st.endSession(c, ending{reason: reason, result: result})
	st.disconnect(c.tunnel, c.id, c.peer, result)
}

// refuseCall answers a request for a call that leaves no state.
func (st *step) refuseCall(t *tunnel, peer uint16, result Result, reason string) {
	id, _ := st.e.ids.draw(t)
	st.event(CallRefused{Tunnel: t.slot.id, PeerSession: peer, Reason: reason, Result: result})
	st.disconnect(t, id, peer, result)
}

// dropCall answers a request for a call that leaves no state, and of which there may be many.
func (st *step) dropCall(t *tunnel, peer uint16, result Result, reason DropReason) {
	id, _ := st.e.ids.draw(t)
	st.event(Dropped{Tunnel: t.slot.id, Remote: t.remote, Reason: reason})
	st.disconnect(t, id, peer, result)
}

// disconnect sends CDN. Both ids are in it, since the peer may not know ours yet.
func (st *step) disconnect(t *tunnel, id, peer uint16, result Result) {
	st.enqueue(t, peer, wire.CDN.Value(), result.wire().Value(), wire.Uint16(wire.AttrAssignedSessionID, id))
}

// endSession reports the end of a call, once, and gives the kernel session up.
func (st *step) endSession(c *session, why ending) {
	delete(c.tunnel.sessions, c.id)
	st.restartIdle(c.tunnel)
	st.event(SessionDown{
		Tunnel: c.tunnel.slot.id, Session: c.id, PeerSession: c.peer,
		Reason: why.reason, Result: why.result, ByPeer: why.byPeer, Established: !c.established.IsZero(),
	})
	st.releaseSession(c)
}

func (c *session) info() SessionInfo {
	return SessionInfo{
		Session: c.id, PeerSession: c.peer, State: c.state.String(), CallSerial: c.callSerial, TxConnectSpeed: c.txSpeed,
		CallingNumber: c.callingNumber, CalledNumber: c.calledNo,
		Created: c.created, Established: c.established,
	}
}
