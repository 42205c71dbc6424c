package l2tp

import (
	"net/netip"
	"time"
)

// TunnelInfo describes one control connection for lists.
type TunnelInfo struct {
	Tunnel           uint16
	PeerTunnel       uint16
	Remote           netip.AddrPort
	State            string // "creating", "connecting", "established", "closing", "closed"
	HostName         string // of the peer, printable
	VendorName       string // of the peer, printable
	FirmwareRevision uint16
	PeerWindow       uint16 // the peer's Receive Window Size
	Created          time.Time
	Established      time.Time // zero before
	Sessions         []SessionInfo
}

// SessionInfo describes one call of a tunnel.
type SessionInfo struct {
	Session        uint16
	PeerSession    uint16
	State          string // "creating", "connecting", "established"
	CallSerial     uint32
	TxConnectSpeed uint32 // bit/s as the peer says
	CallingNumber  string // printable, mostly empty
	CalledNumber   string // printable, mostly empty
	Created        time.Time
	Established    time.Time // zero before
}
