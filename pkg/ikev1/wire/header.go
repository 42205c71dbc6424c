package wire

import (
	"encoding/binary"
	"fmt"
)

// HeaderLen is the length of the ISAKMP header in octets.
const HeaderLen = 28

// Version1 is the version octet of IKEv1: major 1, minor 0.
const Version1 uint8 = 0x10

// Cookie is the initiator's or the responder's half of the name of an ISAKMP SA.
type Cookie [8]byte

// ExchangeType is an ISAKMP exchange type.
type ExchangeType uint8

// The exchange types of RFC 2408 section 3.1 and RFC 2409; Transaction is XAUTH and Mode Config.
const (
	ExchangeBase          ExchangeType = 1
	ExchangeMain          ExchangeType = 2
	ExchangeAuthOnly      ExchangeType = 3
	ExchangeAggressive    ExchangeType = 4
	ExchangeInformational ExchangeType = 5
	ExchangeTransaction   ExchangeType = 6
	ExchangeQuick         ExchangeType = 32
	ExchangeNewGroup      ExchangeType = 33
)

// Flags are the flags of the header.
type Flags uint8

// The flags of RFC 2408 section 3.1.
const (
	FlagEncryption Flags = 1
	FlagCommit     Flags = 2
	FlagAuthOnly   Flags = 4
)

// Header is the ISAKMP header (RFC 2408 section 3.1).
type Header struct {
	InitiatorCookie, ResponderCookie Cookie

	NextPayload PayloadType
	Version     uint8
	Exchange    ExchangeType
	Flags       Flags
	MessageID   uint32

	// Length is that of the whole message in octets.
	Length uint32
}

// ParseHeader reads the header of a message and checks that Length octets are there. More are not an error: some clients
// pad datagrams.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, fmt.Errorf("ISAKMP header: %d octets: %w", len(b), ErrShort)
	}
	h := Header{
		InitiatorCookie: Cookie(b[0:8]),
		ResponderCookie: Cookie(b[8:16]),
		NextPayload:     PayloadType(b[16]),
		Version:         b[17],
		Exchange:        ExchangeType(b[18]),
		Flags:           Flags(b[19]),
		MessageID:       binary.BigEndian.Uint32(b[20:]),
		Length:          binary.BigEndian.Uint32(b[24:]),
	}
	if h.Length < HeaderLen {
		return Header{}, fmt.Errorf("ISAKMP header: length %d: %w", h.Length, ErrValue)
	}
	if uint64(h.Length) > uint64(len(b)) {
		return Header{}, fmt.Errorf("ISAKMP header: length %d of %d octets: %w", h.Length, len(b), ErrShort)
	}
	return h, nil
}

// Append appends the 28 octets of the header.
func (h Header) Append(dst []byte) []byte {
	dst = append(dst, h.InitiatorCookie[:]...)
	dst = append(dst, h.ResponderCookie[:]...)
	dst = append(dst, byte(h.NextPayload), h.Version, byte(h.Exchange), byte(h.Flags))
	dst = binary.BigEndian.AppendUint32(dst, h.MessageID)
	return binary.BigEndian.AppendUint32(dst, h.Length)
}

// Message returns a whole message in the clear. NextPayload, Version and Length of h are filled in.
func Message(h Header, payloads ...Payload) []byte {
	h.Version = Version1
	h.NextPayload = First(payloads)
	b := AppendChain(h.Append(nil), payloads...)
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	return b
}

// Sealed returns a message whose payloads, first of type first, are body: a ciphertext. The encryption flag, Version and
// Length of h are filled in.
func Sealed(h Header, first PayloadType, body []byte) []byte {
	h.Version = Version1
	h.NextPayload = first
	h.Flags |= FlagEncryption
	h.Length = uint32(HeaderLen + len(body))
	return append(h.Append(make([]byte, 0, h.Length)), body...)
}
