package wire

import (
	"encoding/binary"
	"fmt"
)

// Body is what the AVPs of a message say. Has tells a zero from an absent value. Octet strings share the datagram's memory and
// are as the peer sent them: not printable, not bounded, possibly with a trailing NUL.
type Body struct {
	Has AttributeSet

	Result            ResultCode
	ProtocolVersion   uint16 // 0x0100 is version 1, revision 0
	FramingCaps       uint32
	BearerCaps        uint32
	FirmwareRevision  uint16
	HostName          []byte
	VendorName        []byte
	AssignedTunnelID  uint16
	ReceiveWindow     uint16
	Challenge         []byte
	AssignedSessionID uint16
	CallSerial        uint32
	FramingType       uint32
	CalledNumber      []byte
	CallingNumber     []byte
	TxConnectSpeed    uint32 // bit/s
	RxConnectSpeed    uint32 // bit/s

	// Unrecognized are the AVPs with the M bit that mean nothing to us: of another vendor or unknown type, with reserved bits, or
	// hidden and not to be revealed. They end the session or the tunnel that the message is about (RFC 2661 4.1).
	Unrecognized []AVP
	// Faults are the known AVPs whose value has an impossible length; they count as absent.
	Faults []AVP
}

// AttributeSet is a set of IETF attributes below 64.
type AttributeSet uint64

// Contains tells whether t is in the set.
func (s AttributeSet) Contains(t AttributeType) bool { return t < 64 && s&(1<<t) != 0 }

// Decode reads the message's AVPs; of a repeated attribute the first counts. Hidden AVPs are revealed with secret, which
// is nil where no tunnel secret is configured.
func (m Message) Decode(secret []byte) Body {
	var b Body
	var vector []byte // "the most recent Random Vector AVP that precedes the hidden one" (RFC 2661 4.3)
	for _, a := range m.AVPs {
		if a.Hidden {
			revealed, err := a.reveal(secret, vector)
			if err != nil {
				b.unrecognized(a)
				continue
			}
			a = revealed
		}
		known, ok := attributes[a.Type]
		switch {
		case a.Vendor != 0 || a.Reserved != 0 || !ok:
			b.unrecognized(a)
		case len(a.Value) < known.min || len(a.Value) > known.max:
			b.Faults = append(b.Faults, a)
		case a.Type == AttrRandomVector:
			vector = a.Value
		case !b.Has.Contains(a.Type):
			b.Has |= 1 << a.Type
			if known.decode != nil {
				known.decode(&b, a.Value)
			}
		}
	}
	return b
}

func (b *Body) unrecognized(a AVP) {
	if a.Mandatory {
		b.Unrecognized = append(b.Unrecognized, a)
	}
}

// Missing returns the first of the wanted attributes that the message lacks, and whether it is there with an impossible length.
func (b *Body) Missing(wanted ...AttributeType) (t AttributeType, malformed, missing bool) {
	for _, t := range wanted {
		if b.Has.Contains(t) {
			continue
		}
		for _, a := range b.Faults {
			if a.Is(t) {
				return t, true, true
			}
		}
		return t, false, true
	}
	return 0, false, false
}

// ResultCode is the value of a Result Code AVP (RFC 2661 4.4.2).
type ResultCode struct {
	Code    uint16
	Error   uint16
	Message []byte // advisory text, as received
}

// decodeResult understands every form that was seen: the RFC's 2 octets of code, 2 of error and text; without error code (MikroTik,
// Android); and Apple's 8 octets with the code in little-endian order. What is shorter than a code is code 0: a
// disconnection stays one even if its reason cannot be read.
func decodeResult(v []byte) ResultCode {
	var r ResultCode
	if len(v) >= 2 {
		if r.Code = be16(v); r.Code >= 0x100 && r.Code&0xff == 0 {
			r.Code >>= 8
		}
	}
	if len(v) >= 4 {
		r.Error, r.Message = be16(v[2:]), v[4:]
	}
	return r
}

// Value returns the Result Code AVP in the RFC's form, with error code. Text that does not fit is cut.
func (r ResultCode) Value() AVP {
	v := binary.BigEndian.AppendUint16(nil, r.Code)
	v = binary.BigEndian.AppendUint16(v, r.Error)
	v = append(v, r.Message[:min(len(r.Message), MaxValueLen-len(v))]...)
	return Bytes(AttrResultCode, v)
}

func (r ResultCode) String() string { return fmt.Sprintf("%d/%d %q", r.Code, r.Error, r.Message) }

func be16(v []byte) uint16 { return binary.BigEndian.Uint16(v) }

func be32(v []byte) uint32 { return binary.BigEndian.Uint32(v) }
