package l2tp

import (
	"fmt"
	"net/netip"
)

// Event is a fact for the log, the audit trail and the metrics. Text that came from the peer is printable and bounded.
type Event interface {
	fmt.Stringer
	event()
}

// TunnelUp reports that a control connection is established (SCCCN received).
type TunnelUp struct {
	Tunnel     uint16
	PeerTunnel uint16
	Remote     netip.AddrPort
	HostName   string // of the peer, printable
	VendorName string // of the peer, printable, often empty
}

// TunnelDown reports that a control connection has ended, once for each SCCRQ that was taken up; also for one that was never
// established. SessionDown was reported for its sessions before.
type TunnelDown struct {
	Tunnel      uint16
	PeerTunnel  uint16
	Remote      netip.AddrPort
	Reason      string // in words
	Result      Result // what StopCCN said, ours or theirs; zero if none was sent
	ByPeer      bool
	Silent      bool // the peer was given up because it acknowledges nothing any more
	Established bool // whether TunnelUp was reported
}

// TunnelMoved reports that the peer of a tunnel is at another address.
type TunnelMoved struct {
	Tunnel uint16
	Remote netip.AddrPort
}

// SessionUp reports that an incoming call is established (ICCN received): the owner starts PPP on it now.
type SessionUp struct {
	Tunnel         uint16
	PeerTunnel     uint16
	Session        uint16
	PeerSession    uint16
	CallSerial     uint32 // Call Serial Number of the ICRQ
	TxConnectSpeed uint32 // bit/s as the peer says; 0 if it does not
	CallingNumber  string // printable, mostly empty
	CalledNumber   string // printable, mostly empty
}

// SessionDown reports that a call has ended, once for each ICRQ that was taken up; also for one that was never established.
type SessionDown struct {
	Tunnel      uint16
	Session     uint16
	PeerSession uint16
	Reason      string // in words
	Result      Result // what CDN said, ours or theirs; zero if none was sent
	ByPeer      bool
	Established bool // whether SessionUp was reported
}

// ChallengeIgnored reports that a peer wants us to prove a tunnel secret, which we do not have. The set-up goes on without an
// answer; the peer will probably end it.
type ChallengeIgnored struct {
	Tunnel uint16
	Remote netip.AddrPort
}

// CallRefused reports an ICRQ or OCRQ that was answered with CDN and left no state. Calls beyond
// Config.CallsPerMinute, and those after Engine.Refuse, are reported as Dropped instead.
type CallRefused struct {
	Tunnel      uint16
	PeerSession uint16
	Reason      string
	Result      Result
}

// Dropped reports a datagram, or a message in it, that had no effect.
type Dropped struct {
	Tunnel uint16
	Remote netip.AddrPort
	Reason DropReason
}

func (TunnelUp) event()         {}
func (TunnelDown) event()       {}
func (TunnelMoved) event()      {}
func (SessionUp) event()        {}
func (SessionDown) event()      {}
func (ChallengeIgnored) event() {}
func (CallRefused) event()      {}
func (Dropped) event()          {}

func (e TunnelUp) String() string {
	return fmt.Sprintf("tunnel %d up (peer %d, %v, host %q, vendor %q)", e.Tunnel, e.PeerTunnel, e.Remote, e.HostName, e.VendorName)
}

func (e TunnelDown) String() string {
	return fmt.Sprintf("tunnel %d down %s: %s%s", e.Tunnel, side(e.ByPeer), e.Reason, e.Result.suffix())
}

func (e TunnelMoved) String() string {
	return fmt.Sprintf("tunnel %d moved to %v", e.Tunnel, e.Remote)
}

func (e SessionUp) String() string {
	return fmt.Sprintf("session %d/%d up (peer %d)", e.Tunnel, e.Session, e.PeerSession)
}

func (e SessionDown) String() string {
	return fmt.Sprintf("session %d/%d down %s: %s%s", e.Tunnel, e.Session, side(e.ByPeer), e.Reason, e.Result.suffix())
}

func (e ChallengeIgnored) String() string {
	return fmt.Sprintf("tunnel %d: the peer sent a Challenge, but no tunnel secret is configured", e.Tunnel)
}

func (e CallRefused) String() string {
	return fmt.Sprintf("tunnel %d: call %d refused: %s%s", e.Tunnel, e.PeerSession, e.Reason, e.Result.suffix())
}

func (e Dropped) String() string { return fmt.Sprintf("tunnel %d: dropped: %s", e.Tunnel, e.Reason) }

func side(byPeer bool) string {
	if byPeer {
		return "by peer"
	}
	return "by us"
}
