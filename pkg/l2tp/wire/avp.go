package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Lengths of an attribute-value pair in octets (RFC 2661 4.1): 6 of header and up to 1023 in all.
const (
	avpHeaderLen = 6
	// MaxValueLen is the longest value that an AVP can carry, in octets.
	MaxValueLen = maskLength - avpHeaderLen
)

// Bits of an AVP's first two octets (RFC 2661 4.1).
const (
	flagMandatory = 0x8000
	flagHidden    = 0x4000
	maskReserved  = 0x3c00
	maskLength    = 0x03ff
)

// ErrAVP means that an AVP's length is below 6, leaves the message or, when writing, above 1023.
var ErrAVP = errors.New("malformed l2tp AVP")

// AVP is one attribute-value pair as it is on the wire. An attribute is named by Vendor and Type together: Windows sends
// attribute 1 of vendor 311, which is not the Result Code.
type AVP struct {
	Mandatory bool
	Hidden    bool
	Reserved  uint8 // 4 bits; if not zero the AVP "MUST be treated as an unrecognized AVP" (RFC 2661 4.1)
	Vendor    uint16
	Type      AttributeType
	Value     []byte
}

// Is tells whether the AVP is the IETF attribute t.
func (a AVP) Is(t AttributeType) bool { return a.Vendor == 0 && a.Type == t }

func (a AVP) String() string {
	name := fmt.Sprintf("vendor %d attribute %d", a.Vendor, uint16(a.Type))
	if a.Vendor == 0 {
		name = a.Type.String()
	}
	if a.Hidden {
		name = "hidden " + name
	}
	return fmt.Sprintf("%s (%d octets)", name, len(a.Value))
}

// parseAVP reads the first AVP of b and returns what follows it. The value shares b's memory.
func parseAVP(b []byte) (AVP, []byte, error) {
	if len(b) < avpHeaderLen {
		return AVP{}, nil, fmt.Errorf("%w: %d octets are left", ErrAVP, len(b))
	}
	flags := binary.BigEndian.Uint16(b)
	length := int(flags & maskLength)
	if length < avpHeaderLen || length > len(b) {
		return AVP{}, nil, fmt.Errorf("%w: length %d where %d octets are left", ErrAVP, length, len(b))
	}
	return AVP{
		Mandatory: flags&flagMandatory != 0,
		Hidden:    flags&flagHidden != 0,
		Reserved:  uint8(flags & maskReserved >> 10),
		Vendor:    binary.BigEndian.Uint16(b[2:]),
		Type:      AttributeType(binary.BigEndian.Uint16(b[4:])),
		Value:     b[avpHeaderLen:length:length],
	}, b[length:], nil
}

func (a AVP) append(b []byte) ([]byte, error) {
	if len(a.Value) > MaxValueLen {
		return b, fmt.Errorf("%w: %v is longer than %d", ErrAVP, a, MaxValueLen)
	}
	flags := uint16(avpHeaderLen+len(a.Value)) | uint16(a.Reserved)<<10&maskReserved
	if a.Mandatory {
		flags |= flagMandatory
	}
	if a.Hidden {
		flags |= flagHidden
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, a.Vendor)
	b = binary.BigEndian.AppendUint16(b, uint16(a.Type))
	return append(b, a.Value...), nil
}

// Bytes makes an AVP with the M bit set from raw octets or text.
func Bytes[T string | []byte](t AttributeType, value T) AVP {
	return AVP{Mandatory: true, Type: t, Value: []byte(value)}
}

// Uint16 makes an AVP with the M bit set from a 2-octet number.
func Uint16(t AttributeType, value uint16) AVP {
	return AVP{Mandatory: true, Type: t, Value: binary.BigEndian.AppendUint16(nil, value)}
}

// Uint32 makes an AVP with the M bit set from a 4-octet number.
func Uint32(t AttributeType, value uint32) AVP {
	return AVP{Mandatory: true, Type: t, Value: binary.BigEndian.AppendUint32(nil, value)}
}

// Optional returns the AVP with the M bit clear.
func (a AVP) Optional() AVP {
	a.Mandatory = false
	return a
}
