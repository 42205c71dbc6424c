package protocol

import (
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// SAMove gives an SA other addresses.
type SAMove struct {
	ID xfrm.ID    `cbor:"1,keyasint"`
	To xfrm.Place `cbor:"2,keyasint"`
}

// Tunnel is to be created on the connected socket of the port ID.
type Tunnel struct {
	ID     uint16 `cbor:"1,keyasint"`
	PeerID uint16 `cbor:"2,keyasint"`
}

// TunnelID names a tunnel.
type TunnelID struct {
	ID uint32 `cbor:"1,keyasint"`
}

// Session is to be opened.
type Session struct {
	Tunnel      uint16 `cbor:"1,keyasint"`
	Session     uint16 `cbor:"2,keyasint"`
	PeerTunnel  uint16 `cbor:"3,keyasint"`
	PeerSession uint16 `cbor:"4,keyasint"`
}

// SessionID names a session.
type SessionID struct {
	Tunnel  uint32 `cbor:"1,keyasint"`
	Session uint32 `cbor:"2,keyasint"`
}

// OpenClient opens the unconnected socket of a slot.
type OpenClient struct {
	Local netip.Addr `cbor:"1,keyasint"`
	Port  uint16     `cbor:"2,keyasint"`
	Mark  uint32     `cbor:"3,keyasint"`
}

// Connect opens the connected socket of a slot, or connects it to elsewhere.
type Connect struct {
	Port   uint16         `cbor:"1,keyasint"`
	Remote netip.AddrPort `cbor:"2,keyasint"`
}

// Port names a slot.
type Port struct {
	Port uint16 `cbor:"1,keyasint"`
}

// PPP is a pppd.Session whose socket the keeper has.
type PPP struct {
	Name         string        `cbor:"1,keyasint"`
	Interface    string        `cbor:"2,keyasint"`
	Tunnel       uint16        `cbor:"3,keyasint"`
	Session      uint16        `cbor:"4,keyasint"`
	LocalIP      netip.Addr    `cbor:"5,keyasint"`
	DNS          []netip.Addr  `cbor:"6,keyasint,omitempty"`
	MTU          int           `cbor:"7,keyasint,omitempty"`
	MRU          int           `cbor:"8,keyasint,omitempty"`
	Auth         uint8         `cbor:"9,keyasint"`
	EchoInterval time.Duration `cbor:"10,keyasint,omitempty"`
	EchoFailure  int           `cbor:"11,keyasint,omitempty"`
	Peer         netip.Addr    `cbor:"12,keyasint"`
}

// PPPOf puts a session into a message, but for its socket and where its log goes.
func PPPOf(s pppd.Session) PPP {
	return PPP{
		Name: s.Name, Interface: s.Interface, Tunnel: s.TunnelID, Session: s.SessionID, LocalIP: s.LocalIP, DNS: s.DNS,
		MTU: s.MTU, MRU: s.MRU, Auth: uint8(s.Auth), EchoInterval: s.EchoInterval, EchoFailure: s.EchoFailure, Peer: s.Peer,
	}
}

// PPPD takes the session out of a message.
func (p PPP) PPPD() pppd.Session {
	return pppd.Session{
		Name: p.Name, Interface: p.Interface, TunnelID: p.Tunnel, SessionID: p.Session, LocalIP: p.LocalIP, DNS: p.DNS,
		MTU: p.MTU, MRU: p.MRU, Auth: pppd.Auth(p.Auth), EchoInterval: p.EchoInterval, EchoFailure: p.EchoFailure, Peer: p.Peer,
	}
}

// Line is what a pppd said.
type Line struct {
	Interface string `cbor:"1,keyasint"`
	Text      string `cbor:"2,keyasint"`
}

// Counters are those of the steering table, in packets.
type Counters struct {
	Packets map[string]uint64 `cbor:"1,keyasint"`
}

// Intact says whether the steering table is as it was installed.
type Intact struct {
	Intact bool `cbor:"1,keyasint"`
}

// Way is from where to where an SA is to be tried.
type Way struct {
	Local  netip.Addr `cbor:"1,keyasint"`
	Remote netip.Addr `cbor:"2,keyasint"`
	ReqID  uint32     `cbor:"3,keyasint"`
}

// Restoration is a steering.Restoration.
type Restoration struct {
	Missing bool   `cbor:"1,keyasint,omitempty"`
	PID     int    `cbor:"2,keyasint,omitempty"`
	Process string `cbor:"3,keyasint,omitempty"`
	Err     *Error `cbor:"4,keyasint,omitempty"`
}
