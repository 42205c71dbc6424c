package l2tp

import (
	"crypto/sha256"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// repeatAge is how long after its tunnel was established or closed an identical SCCRQ is still taken for a late copy, not for
// a peer that starts anew with the same numbers.
const repeatAge = 10 * time.Second

// What we say in SCCRP (RFC 2661 4.4.3).
const (
	protocolVersion = 0x0100 // version 1, revision 0
	framingCaps     = 3      // synchronous and asynchronous
	bearerCaps      = 0      // no outgoing calls
)

// setup handles SCCRQ: a new tunnel in the slot, in place of the one that may be there, or the repetition of its request.
func (st *step) setup(d Datagram, m wire.Message, fault error) {
	b := m.Decode(nil)
	if fault != nil || m.Ns != 0 || b.AssignedTunnelID == 0 {
		st.drop(d, DropBadSetup)
		return
	}
	s := st.e.slots[d.Tunnel]
	if s == nil {
		s = &slot{id: d.Tunnel, index: -1}
		st.e.slots[d.Tunnel] = s
	}
	if s.tunnel != nil && st.repeated(s.tunnel, d, b.AssignedTunnelID) {
		return
	}

	if s.tunnel != nil && s.tunnel.refusing && s.tunnel.state < tunnelClosing {
		st.drop(d, DropRefusing) // the peer asks again, and is heard once the old tunnel is closed
		return
	}
	if !s.tunnels.take(st.now, st.e.cfg.TunnelsPerMinute) {
		st.drop(d, DropManyTunnels)
		return
	}

	t := st.newTunnel(s, d, &b)
	if old := s.tunnel; old != nil {
		st.endTunnel(old, ending{reason: "replaced by a new connection of the peer", byPeer: true})
		if old.channel.peer != t.channel.peer {
			t.replaced = old.channel.peer
		}
	}
	s.tunnel = t

	switch {
	case st.e.shutdown:
		st.closeTunnel(t, Result{Code: StopShutdown}, "shutdown")
	case b.Has.Contains(wire.AttrProtocolVersion) && b.ProtocolVersion>>8 != protocolVersion>>8:
		st.closeTunnel(t, Result{Code: StopVersion, Error: protocolVersion}, "protocol version of the peer")
	case len(b.Unrecognized) > 0:
		st.closeTunnel(t, Result{Code: StopError, Error: ErrorUnknownAVP}, "SCCRQ with unknown mandatory "+b.Unrecognized[0].String())
	default:
		if b.Has.Contains(wire.AttrChallenge) {
			st.event(ChallengeIgnored{Tunnel: s.id, Remote: t.remote})
		}
		st.createTunnel(t)
	}
}

// digest tells datagrams apart, so that a long one need not be kept.
type digest [16]byte

func digestOf(payload []byte) digest {
	sum := sha256.Sum256(payload)
	return digest(sum[:])
}

func (st *step) newTunnel(s *slot, d Datagram, b *wire.Body) *tunnel {
	window := defaultPeerWindow
	if b.Has.Contains(wire.AttrReceiveWindow) {
		window = int(b.ReceiveWindow)
	}
	t := &tunnel{
		slot:       s,
		remote:     d.Remote,
		channel:    newChannel(st.e.cfg, b.AssignedTunnelID, window),
		sessions:   make(map[uint16]*session),
		request:    digestOf(d.Payload),
		hostName:   printable(b.HostName),
		vendorName: printable(b.VendorName),
		firmware:   b.FirmwareRevision,
		created:    st.now,
		heard:      st.now,
	}
	t.channel.nr = 1
	t.channel.owe(ackRide, st.now)
	st.setState(t, tunnelCreating)
	return t
}

// repeated recognises the copy of a request that was taken up, and answers it as the original was answered.
func (st *step) repeated(t *tunnel, d Datagram, peer uint16) bool {
	if t.remote != d.Remote || t.channel.peer != peer {
		return false
	}
	switch t.state {
	case tunnelCreating:
	case tunnelConnecting:
		if m, ok := t.channel.again(); ok {
			st.send(t, m)
		} else {
			t.channel.owe(ackNow, st.now)
		}
	default:
		if t.request != digestOf(d.Payload) || st.now.Sub(t.changed) >= repeatAge {
			return false
		}
		t.channel.owe(ackNow, st.now)
	}
	st.drop(d, DropDuplicate)
	return true
}

// replyToSetup is the SCCRP that every client is known to accept. Message Type comes first and only known attributes follow.
func (c *Config) replyToSetup(local uint16) []wire.AVP {
	return []wire.AVP{
		wire.SCCRP.Value(),
		wire.Uint16(wire.AttrProtocolVersion, protocolVersion),
		wire.Uint32(wire.AttrFramingCaps, framingCaps),
		wire.Uint32(wire.AttrBearerCaps, bearerCaps),
		wire.Uint16(wire.AttrFirmwareRevision, c.FirmwareRevision).Optional(),
		wire.Bytes(wire.AttrHostName, c.HostName),
		wire.Bytes(wire.AttrVendorName, c.VendorName).Optional(),
		wire.Uint16(wire.AttrAssignedTunnelID, local),
		wire.Uint16(wire.AttrReceiveWindow, c.ReceiveWindow),
	}
}
