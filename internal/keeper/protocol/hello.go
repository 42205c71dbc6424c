package protocol

import (
	"fmt"
	"net/netip"

	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// Hello is the daemon's first message, and may be said again after a Refusal for the version's sake.
type Hello struct {
	Protocol uint32 `cbor:"1,keyasint"`
	Build    string `cbor:"2,keyasint"`
}

// Welcome answers a Hello. The first file of the message is the UDP socket of RADIUS on loopback.
type Welcome struct {
	Protocol uint32 `cbor:"1,keyasint"`
	Build    string `cbor:"2,keyasint"`
	PID      int    `cbor:"3,keyasint"`
	// ForServe says that the keeper was started by a daemon, and ends when that stops.
	ForServe bool   `cbor:"4,keyasint,omitempty"`
	Secret   string `cbor:"5,keyasint"` // of RADIUS
	Setup    *Setup `cbor:"6,keyasint,omitempty"`
}

// Format implements fmt.Formatter for every verb, so that the secret gets into no log.
func (w Welcome) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "keeper %s, protocol %d, process %d", w.Build, w.Protocol, w.PID)
}

// Refusal is the other answer to a Hello, and part of the [Error] of its reply.
type Refusal struct {
	Oldest   uint32 `cbor:"1,keyasint,omitempty"` // and Newest: the versions that the keeper speaks; 0 if that is not why
	Newest   uint32 `cbor:"2,keyasint,omitempty"`
	Build    string `cbor:"3,keyasint"`
	BusyWith int    `cbor:"4,keyasint,omitempty"` // the process of another daemon that is connected
}

// Setup is what the keeper has to do and to hold the machine for.
type Setup struct {
	Listen   []netip.Addr    `cbor:"1,keyasint"` // for IKE; none: all addresses
	Steering steering.Config `cbor:"2,keyasint"`
	// Marker is what the ipparam argument of every pppd begins with.
	Marker string `cbor:"3,keyasint"`
}
