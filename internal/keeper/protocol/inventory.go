package protocol

import (
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// Inventory is all that the keeper has. Its parts name their files by the place in the message, counted from 1; 0 is none.
type Inventory struct {
	IKE       []IKESocket   `cbor:"1,keyasint"`
	Clients   []Client      `cbor:"2,keyasint"`
	Sessions  []SessionID   `cbor:"3,keyasint"`
	Processes []Process     `cbor:"4,keyasint"`
	Records   []Change      `cbor:"5,keyasint"`
	Held      []Held        `cbor:"6,keyasint"`
	Plain     []PlainSocket `cbor:"7,keyasint,omitempty"`
}

// IKESocket is one of the sockets of IKE.
type IKESocket struct {
	Local        netip.AddrPort `cbor:"1,keyasint"`
	Encapsulated bool           `cbor:"2,keyasint,omitempty"` // the NAT port
	Initials     bool           `cbor:"3,keyasint,omitempty"` // for first messages of phase 1 alone
	File         int            `cbor:"4,keyasint"`
}

// PlainSocket is a socket of port 1701, for the first messages of peers without IPsec.
type PlainSocket struct {
	Local netip.AddrPort `cbor:"1,keyasint"`
	File  int            `cbor:"2,keyasint"`
}

// Client is the pair of sockets of a slot.
type Client struct {
	Local  netip.AddrPort `cbor:"1,keyasint"`           // the port is the slot
	Remote netip.AddrPort `cbor:"2,keyasint,omitempty"` // what the tunnel's socket is connected to
	Open   int            `cbor:"3,keyasint"`
	Tunnel int            `cbor:"4,keyasint,omitempty"`
}

// Process is a pppd.
type Process struct {
	Interface string     `cbor:"1,keyasint"`
	Name      string     `cbor:"2,keyasint,omitempty"` // the NAS-Identifier
	Tunnel    uint16     `cbor:"3,keyasint,omitempty"`
	Session   uint16     `cbor:"4,keyasint,omitempty"`
	PID       int        `cbor:"5,keyasint,omitempty"`
	Started   int64      `cbor:"6,keyasint,omitempty"` // in nanoseconds since 1970
	Exit      *pppd.Exit `cbor:"7,keyasint,omitempty"` // nil while it runs
}

// StartTime is when the process was started.
func (p Process) StartTime() time.Time { return time.Unix(0, p.Started) }

// Change is a record, or with a nil value says that there is none any more.
type Change struct {
	_     struct{} `cbor:",toarray"`
	Key   string
	Value []byte
}

// Bounds of records, and of what is held.
const (
	MaxKey       = 128     // octets
	MaxValue     = 1 << 20 // octets
	MaxHeldName  = 256     // octets
	MaxHeldFiles = 64
)

// Store changes records.
type Store struct {
	Changes []Change `cbor:"1,keyasint"`
}

// Held is a file that is held under a name.
type Held struct {
	Name string `cbor:"1,keyasint"`
	File int    `cbor:"2,keyasint"`
}

// Name names a held file or an interface.
type Name struct {
	Name string `cbor:"1,keyasint"`
}
