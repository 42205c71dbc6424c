package control

import (
	"net/netip"
)

// Tunnel is an L2TP tunnel and the IPsec client that carries it, or a tunnel of a peer without IPsec. Counters come from the kernel.
type Tunnel struct {
	ID            uint16         `json:"id" table:"col"`       // local tunnel id = port of the client's slot
	PeerID        uint16         `json:"peer_id" table:"wide"` // tunnel id assigned by the peer; 0 before SCCRQ
	State         string         `json:"state" table:"col"`
	Role          string         `json:"role" table:"wide"`      // lns
	Peer          netip.AddrPort `json:"peer" table:"col"`       // outer public address and port
	PeerName      string         `json:"peer_name" table:"col"`  // Host Name AVP
	Identity      string         `json:"identity" table:"wide"`  // Phase 1 identity
	NATT          bool           `json:"nat_t" table:"col"`      // ESP in UDP
	Plain         bool           `json:"plain" table:"wide"`     // without IPsec
	Local         netip.AddrPort `json:"local" table:"wide"`     // our outer address and port
	IKEState      string         `json:"ike_state" table:"wide"` // of the newest ISAKMP SA
	IKEAuth       string         `json:"ike_auth" table:"wide"`  // how phase 1 authenticated: psk, rsa, ecdsa256, ecdsa384 or ecdsa521
	IKEProposal   string         `json:"ike_proposal" table:"wide"`
	ESPProposal   string         `json:"esp_proposal" table:"col"`
	SPIIn         string         `json:"spi_in" table:"wide"`  // 0x and 8 hexadecimal digits
	SPIOut        string         `json:"spi_out" table:"wide"` // 0x and 8 hexadecimal digits
	Offload       string         `json:"offload" table:"wide"` // device and mode of ESP in hardware, such as eth0/crypto, or empty
	Sessions      int            `json:"sessions" table:"col"`
	UptimeSeconds int64          `json:"uptime_seconds" table:"col,duration"`
	RxBytes       uint64         `json:"rx_bytes" table:"col,bytes"` // from the peer
	TxBytes       uint64         `json:"tx_bytes" table:"col,bytes"` // to the peer
}

// Session is a PPP session in a tunnel.
type Session struct {
	ID            string         `json:"id" table:"col"` // tunnel id, "-", number
	TunnelID      uint16         `json:"tunnel_id" table:"wide"`
	State         string         `json:"state" table:"col"`
	User          string         `json:"user" table:"col"` // empty before authentication
	IP            netip.Addr     `json:"ip" table:"col"`   // given to the peer; empty before IPCP
	IP6           netip.Addr     `json:"ip6" table:"wide"`
	Peer          netip.AddrPort `json:"peer" table:"col"` // outer public address and port
	Interface     string         `json:"interface" table:"col"`
	MTU           int            `json:"mtu" table:"wide"` // octets
	Auth          string         `json:"auth" table:"col"` // mschapv2, chap or pap
	UptimeSeconds int64          `json:"uptime_seconds" table:"col,duration"`
	RxBytes       uint64         `json:"rx_bytes" table:"col,bytes"`
	TxBytes       uint64         `json:"tx_bytes" table:"col,bytes"`
	RateLimit     string         `json:"rate_limit" table:"wide"`     // empty: none
	Offload       string         `json:"offload" table:"wide"`        // of the tunnel
	CallingNumber string         `json:"calling_number" table:"wide"` // whom the peer says it calls for; mostly empty
}

// SA is an ESP security association as the kernel has it.
type SA struct {
	TunnelID        uint16     `json:"tunnel_id" table:"col"`
	Direction       string     `json:"direction" table:"col"` // in or out
	SPI             string     `json:"spi" table:"col"`       // 0x and 8 hexadecimal digits
	Src             netip.Addr `json:"src" table:"col"`
	Dst             netip.Addr `json:"dst" table:"col"`
	ReqID           uint32     `json:"reqid" table:"wide,hex"`
	Mark            uint32     `json:"mark" table:"wide,hex"`
	Encryption      string     `json:"encryption" table:"col"`     // such as aes256 or aes128gcm16
	Integrity       string     `json:"integrity" table:"col"`      // such as sha1; empty for AEAD
	Encapsulation   string     `json:"encapsulation" table:"wide"` // "udp SPORT-DPORT" or empty
	Offload         string     `json:"offload" table:"wide"`       // device and mode of ESP in hardware, such as eth0/crypto, or empty
	Bytes           uint64     `json:"bytes" table:"col,bytes"`
	Packets         uint64     `json:"packets" table:"col"`
	AgeSeconds      int64      `json:"age_seconds" table:"col,duration"`
	ReplayErrors    uint64     `json:"replay_errors" table:"col"`    // packets outside the window or seen before
	IntegrityErrors uint64     `json:"integrity_errors" table:"col"` // packets whose check value was wrong
}

// Version says what a binary was built from.
type Version struct {
	Version  string `json:"version" table:"col"`
	Revision string `json:"revision" table:"col"`  // of the repository; empty if unknown
	Modified bool   `json:"modified" table:"wide"` // built from a changed checkout
	Go       string `json:"go" table:"col"`
	Platform string `json:"platform" table:"col"` // GOOS/GOARCH
}

// Stats are counters since the start of the daemon, except where they are said to be of now.
type Stats struct {
	UptimeSeconds int64             `json:"uptime_seconds"`
	Tunnels       int               `json:"tunnels"`    // now
	Sessions      int               `json:"sessions"`   // now
	Goroutines    int               `json:"goroutines"` // now
	IKE           IKEStats          `json:"ike"`
	L2TP          L2TPStats         `json:"l2tp"`
	PPP           PPPStats          `json:"ppp"`
	Slots         SlotStats         `json:"slots"`
	Plain         PlainStats        `json:"plain"`
	Offload       OffloadStats      `json:"offload"`
	Errors        ErrorStats        `json:"errors"`
	Steering      map[string]uint64 `json:"steering"`  // packets by rule of the nftables table; null if it could not be read
	XfrmStat      map[string]uint64 `json:"xfrm_stat"` // /proc/net/xfrm_stat; of this network namespace, ours or not; null if the kernel has none
}

// ErrorStats counts what should not happen, or not often.
type ErrorStats struct {
	InboxFull uint64 `json:"inbox_full"` // received messages that were dropped because the daemon was busy
	Panics    uint64 `json:"panics"`     // defects that one event ran into; the daemon went on
	Send      uint64 `json:"send"`       // messages that could not be sent
	Kernel    uint64 `json:"kernel"`     // operations on SAs, tunnels and sessions that the kernel refused
	Runts     uint64 `json:"runts"`      // datagrams to our ports that were no IKE, empty, or could not be answered

	Restored    uint64 `json:"steering_restored"`   // times that somebody removed or changed the steering table, and it was put back
	Unrestored  uint64 `json:"steering_unrestored"` // attempts to put it back that failed
	LostSAs     uint64 `json:"lost_sas"`            // pairs of SAs of which somebody else has removed one
	LostObjects uint64 `json:"lost_objects"`        // tunnels, sessions and interfaces that somebody else has removed
}

// IKEStats counts IKE messages and exchanges.
type IKEStats struct {
	Clients     int               `json:"clients"`   // now
	HalfOpen    int               `json:"half_open"` // now
	Received    uint64            `json:"received"`  // messages
	Sent        uint64            `json:"sent"`      // messages
	Established uint64            `json:"established"`
	Failed      uint64            `json:"failed"`
	Children    uint64            `json:"children"` // pairs of ESP SAs installed
	Drops       map[string]uint64 `json:"drops"`    // messages by reason
}

// L2TPStats counts L2TP control messages and tunnels.
type L2TPStats struct {
	Received     uint64            `json:"received"` // messages
	Sent         uint64            `json:"sent"`     // messages
	TunnelsUp    uint64            `json:"tunnels_up"`
	TunnelsDown  uint64            `json:"tunnels_down"`
	SessionsUp   uint64            `json:"sessions_up"`
	SessionsDown uint64            `json:"sessions_down"`
	Drops        map[string]uint64 `json:"drops"` // messages by reason
}

// PPPStats counts PPP sessions and logins.
type PPPStats struct {
	Processes     int    `json:"processes"` // now
	Authenticated uint64 `json:"authenticated"`
	Rejected      uint64 `json:"rejected"`
	PoolFree      int    `json:"pool_free"` // now; addresses
	PoolUsed      int    `json:"pool_used"` // now; addresses
}

// SlotStats is the use of the block of ports, now, and how often there was none.
type SlotStats struct {
	Used      int    `json:"used"`
	Resting   int    `json:"resting"` // given back a moment ago
	Free      int    `json:"free"`
	Exhausted uint64 `json:"exhausted"` // clients that were refused for want of a slot
	Taken     uint64 `json:"taken"`     // times that another program had the port of a slot, so that the next one was tried
}

// PlainStats is the use of the block of ports of tunnels without IPsec.
type PlainStats struct {
	Tunnels int    `json:"tunnels"` // now, those that ended a moment ago included
	Resting int    `json:"resting"` // now; given back a moment ago
	Free    int    `json:"free"`    // now
	Refused uint64 `json:"refused"` // tunnels for which their peer had too many, or there was no port
}

// OffloadStats is what network devices do of ESP.
type OffloadStats struct {
	Packet   int    `json:"packet"`   // SAs in packet mode; now
	Crypto   int    `json:"crypto"`   // SAs in crypto mode; now
	Software int    `json:"software"` // other SAs; now
	Refused  uint64 `json:"refused"`  // kinds of SA that a device did not take
	Moved    uint64 `json:"moved"`    // pairs of SAs whose packets leave by another device since
	Lost     uint64 `json:"lost"`     // SAs that were in a device and are gone, as when it goes down
}

// Reload is what came of reading the configuration again.
type Reload struct {
	Configuration string   `json:"configuration"` // path of the file
	Changes       []Change `json:"changes"`
	Notes         []string `json:"notes"`    // what goes on though the new configuration would not allow it
	Warnings      []string `json:"warnings"` // of the file, each with its place
}

// Change is a setting that differs from what was in force.
type Change struct {
	Effect string `json:"effect" table:"col"` // now; reconnect: for connections that begin; restart: not before a restart of the daemon
	Key    string `json:"key" table:"col"`    // dotted path; users[alice].password
	Old    string `json:"old" table:"col"`    // empty for secrets, and for what was added or removed
	New    string `json:"new" table:"col"`    // of those: changed, added, removed
}

// Closed is the answer to a request that closes something.
type Closed struct {
	Closed []string `json:"closed"` // ids
}
