// Package wire is the codec of IKEv1 messages (RFC 2408), with the payload contents of the IPsec DOI (RFC 2407), NAT traversal
// (RFC 3947) and dead peer detection (RFC 3706).
//
// Parsing is strict about lengths and limits and keeps everything else as it is, so that what was parsed marshals to the
// same octets, except that reserved fields become zero. Parsed values refer to the octets they were parsed from.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of what is parsed.
const (
	MaxMessage    = 16 << 10 // octets of a message, which may have come in fragments
	MaxPayloads   = 48       // payloads of a message
	MaxProposals  = 32       // proposals of an SA payload
	MaxTransforms = 128      // transforms of an SA payload, all proposals together
	MaxAttributes = 16       // attributes of a transform
	MaxSPIs       = 64       // SPIs of a Delete payload

	MaxCertificate = 16 << 10 // octets of the data of a Certificate or Certificate Request payload
)

// The classes of error that every parser's error wraps one of.
var (
	ErrShort = errors.New("truncated")
	ErrValue = errors.New("invalid value")
	ErrLimit = errors.New("too many elements")
)

// PayloadType is the type of an ISAKMP payload (IANA "Next Payload Types").
type PayloadType uint8

// The payload types of RFC 2408, RFC 3947 and, marked as such, private ones in use.
const (
	PayloadNone         PayloadType = 0
	PayloadSA           PayloadType = 1
	PayloadProposal     PayloadType = 2
	PayloadTransform    PayloadType = 3
	PayloadKE           PayloadType = 4
	PayloadID           PayloadType = 5
	PayloadCert         PayloadType = 6
	PayloadCertRequest  PayloadType = 7
	PayloadHash         PayloadType = 8
	PayloadSignature    PayloadType = 9
	PayloadNonce        PayloadType = 10
	PayloadNotification PayloadType = 11
	PayloadDelete       PayloadType = 12
	PayloadVendorID     PayloadType = 13
	PayloadNATD         PayloadType = 20
	PayloadNATOA        PayloadType = 21
	PayloadNATDDraft    PayloadType = 130 // draft-ietf-ipsec-nat-t-ike-00 to -03
	PayloadNATOADraft   PayloadType = 131 // the same
	PayloadFragment     PayloadType = 132 // MS-IKEE, Cisco
)

// Protocol is a protocol identifier of the IPsec DOI (RFC 2407 section 4.4.1).
type Protocol uint8

// The protocols.
const (
	ProtocolISAKMP Protocol = 1
	ProtocolAH     Protocol = 2
	ProtocolESP    Protocol = 3
	ProtocolIPComp Protocol = 4
)

// DOIIPsec is the IPsec domain of interpretation (RFC 2407).
const DOIIPsec uint32 = 1

// Payload is something that can be put into a message.
type Payload interface {
	// Type is the number that the payload before announces it with.
	Type() PayloadType

	// AppendBody appends what follows the generic payload header.
	AppendBody(dst []byte) []byte
}

// genericHeaderLen is the length of the header that every payload starts with (RFC 2408 section 3.2).
const genericHeaderLen = 4

// appendSized appends a generic header and what body appends, and fills in the length.
func appendSized(dst []byte, next PayloadType, body func([]byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, byte(next), 0, 0, 0)
	dst = body(dst)
	binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start))
	return dst
}

// splitSized cuts the first payload off b: what it announces to follow, its body, the octets after it.
func splitSized(b []byte) (next PayloadType, body, rest []byte, err error) {
	if len(b) < genericHeaderLen {
		return 0, nil, nil, fmt.Errorf("payload header: %w", ErrShort)
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < genericHeaderLen {
		return 0, nil, nil, fmt.Errorf("payload length %d: %w", n, ErrValue)
	}
	if n > len(b) {
		return 0, nil, nil, fmt.Errorf("payload length %d of %d octets: %w", n, len(b), ErrShort)
	}
	return PayloadType(b[0]), b[genericHeaderLen:n:n], b[n:], nil
}
