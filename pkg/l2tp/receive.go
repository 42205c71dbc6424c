package l2tp

import (
	"errors"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// maxEarly is the longest datagram that is kept until its turn comes, in octets. Real messages are far shorter.
const maxEarly = 4096

// receive takes a message of a tunnel: its acknowledgement first, then its content, in the order of Ns. fault is what was wrong
// with its AVPs.
func (st *step) receive(t *tunnel, d Datagram, m wire.Message, fault error) {
	c := &t.channel
	if !c.acknowledged(m.Nr, st.now) {
		st.drop(d, DropBadAck)
		return
	}
	t.heard = st.now
	if t.state == tunnelClosing && len(c.queue) == 0 {
		st.setState(t, tunnelClosed)
	}
	if m.IsZLB() && fault == nil {
		return
	}
	switch c.classify(m.Ns) {
	case orderDuplicate:
		c.owe(ackNow, st.now)
		st.drop(d, DropDuplicate)
	case orderTooFar:
		st.drop(d, DropOutOfWindow)
	case orderEarly:
		if len(d.Payload) > maxEarly {
			st.drop(d, DropOutOfWindow)
			return
		}
		c.keep(m.Ns, d.Payload)
	case orderNext:
		st.process(t, d, m, fault)
		for {
			payload, ok := c.takeEarly()
			if !ok {
				return
			}
			m, fault = wire.Parse(payload)
			st.process(t, d, m, fault)
		}
	}
}

// process acts on the next message in order.
func (st *step) process(t *tunnel, d Datagram, m wire.Message, fault error) {
	t.channel.nr++
	kind, mandatory, ok := m.Type()
	if ok && kind == wire.ICRQ {
		t.channel.owe(ackLater, st.now) // ICRP will carry it
	} else {
		t.channel.owe(ackNow, st.now)
	}
	b := m.Decode(nil)
	switch {
	case ok && kind == wire.StopCCN: // a farewell is understood in any form
		st.stopped(t, resultOf(b.Result))
	case t.state >= tunnelClosing:
		st.drop(d, DropClosed)
	case ok && kind == wire.CDN:
		st.disconnected(t, d, m, &b)
	case errors.Is(fault, wire.ErrAVP):
		st.closeTunnel(t, Result{Code: StopError, Error: ErrorLength}, "malformed control message: "+fault.Error())
	case !ok:
		st.drop(d, DropNoFirstType)
	case !kind.Known() && mandatory:
		st.closeTunnel(t, Result{Code: StopError, Error: ErrorUnknownAVP}, "unknown "+kind.String())
	case !kind.Known():
		st.drop(d, DropUnsupported)
	case isCall(kind):
		st.processCall(t, d, m, kind, &b)
	case len(b.Unrecognized) > 0:
		st.closeTunnel(t, Result{Code: StopError, Error: ErrorUnknownAVP},
			kind.String()+" with unknown mandatory "+b.Unrecognized[0].String())
	default:
		st.processTunnel(t, kind)
	}
}

// processTunnel acts on a message about the tunnel itself (RFC 2661 7.2.1).
func (st *step) processTunnel(t *tunnel, kind wire.MessageType) {
	switch {
	case kind == wire.HELLO:
	case kind == wire.SCCCN && t.state == tunnelConnecting:
		st.setState(t, tunnelEstablished)
		st.event(TunnelUp{
			Tunnel: t.slot.id, PeerTunnel: t.channel.peer, Remote: t.remote, HostName: t.hostName, VendorName: t.vendorName,
		})
	default:
		st.outOfState(t, kind)
	}
}

// outOfState ends a tunnel whose peer does not keep to the order of messages.
func (st *step) outOfState(t *tunnel, kind wire.MessageType) {
	st.closeTunnel(t, Result{Code: StopFSM}, kind.String()+" while "+t.state.String())
}

// isCall tells whether a message is about a session.
func isCall(kind wire.MessageType) bool { return kind >= wire.OCRQ && kind <= wire.SLI }

// processCall acts on a message about a session, CDN excepted (RFC 2661 7.4.2).
func (st *step) processCall(t *tunnel, d Datagram, m wire.Message, kind wire.MessageType, b *wire.Body) {
	if t.state != tunnelEstablished {
		st.outOfState(t, kind)
		return
	}
	if kind == wire.ICRQ || kind == wire.OCRQ {
		st.processRequest(t, kind, b)
		return
	}
	c := t.sessions[m.SessionID]
	switch {
	case c == nil:
		st.drop(d, DropUnknownSession)
	case len(b.Unrecognized) > 0:
		st.closeSession(c, Result{Code: CDNError, Error: ErrorUnknownAVP},
			kind.String()+" with unknown mandatory "+b.Unrecognized[0].String())
	case kind == wire.ICCN:
		st.callConnected(c, b)
	case kind == wire.WEN || kind == wire.SLI: // about the LAC's serial line; nothing to do
	default:
		st.closeSession(c, Result{Code: CDNError}, kind.String()+" while "+c.state.String())
	}
}

// processRequest acts on the two messages that ask for a call.
func (st *step) processRequest(t *tunnel, kind wire.MessageType, b *wire.Body) {
	peer := b.AssignedSessionID
	switch {
	case peer == 0: // not even to be refused, for want of a number
		result := Result{Code: StopError, Error: ErrorRange}
		if _, malformed, _ := b.Missing(wire.AttrAssignedSessionID); malformed {
			result.Error = ErrorLength
		}
		st.closeTunnel(t, result, kind.String()+" without Assigned Session ID")
	case len(b.Unrecognized) > 0:
		st.refuseCall(t, peer, Result{Code: CDNError, Error: ErrorUnknownAVP},
			kind.String()+" with unknown mandatory "+b.Unrecognized[0].String())
	case kind == wire.OCRQ:
		st.refuseCall(t, peer, Result{Code: CDNPermanent}, "outgoing calls are not supported")
	default:
		st.callRequested(t, b)
	}
}

// disconnected handles CDN. A peer that has not got ICRP yet does not know our session id and sends 0; its own is in the message.
// Otherwise the header counts: the AVP is wrong in what some old clients send.
func (st *step) disconnected(t *tunnel, d Datagram, m wire.Message, b *wire.Body) {
	c := t.sessions[m.SessionID]
	if m.SessionID == 0 {
		for _, candidate := range t.sessions {
			if candidate.peer == b.AssignedSessionID {
				c = candidate
			}
		}
	}
	if c == nil {
		st.drop(d, DropUnknownSession)
		return
	}
	st.endSession(c, ending{reason: "CDN received", result: resultOf(b.Result), byPeer: true})
}
