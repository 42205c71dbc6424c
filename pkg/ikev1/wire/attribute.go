package wire

import (
	"encoding/binary"
	"fmt"
)

// Attributes of phase 1 (RFC 2409 Appendix A).
const (
	AttrEncryption   uint16 = 1
	AttrHash         uint16 = 2
	AttrAuthMethod   uint16 = 3
	AttrGroup        uint16 = 4
	AttrLifeType     uint16 = 11
	AttrLifeDuration uint16 = 12
	AttrKeyLength    uint16 = 14
)

// Attributes of phase 2 (RFC 2407 section 4.5).
const (
	AttrSALifeType     uint16 = 1
	AttrSALifeDuration uint16 = 2
	AttrSAGroup        uint16 = 3
	AttrEncapsulation  uint16 = 4
	AttrAuthAlgorithm  uint16 = 5
	AttrSAKeyLength    uint16 = 6

	AttrSAExtendedSequence uint16 = 11 // RFC 4304
)

// Attribute is a data attribute (RFC 2408 section 3.3). Whether it has the short form (TV) or the long one (TLV) is kept, so
// that it marshals to the octets that it was parsed from.
type Attribute struct {
	Type  uint16 // 15 bits
	Short bool
	Value []byte // 2 octets if Short
}

// ShortAttribute returns an attribute of the short form.
func ShortAttribute(kind, value uint16) Attribute {
	return Attribute{Type: kind, Short: true, Value: binary.BigEndian.AppendUint16(nil, value)}
}

// LongAttribute returns an attribute of the long form with a value of 4 octets.
func LongAttribute(kind uint16, value uint32) Attribute {
	return Attribute{Type: kind, Value: binary.BigEndian.AppendUint32(nil, value)}
}

// Uint returns the value as a number; false if it is empty or does not fit.
func (a Attribute) Uint() (uint64, bool) {
	if len(a.Value) == 0 {
		return 0, false
	}
	var n uint64
	for _, b := range a.Value {
		if n >= 1<<56 {
			return 0, false
		}
		n = n<<8 | uint64(b)
	}
	return n, true
}

// parseAttribute reads the first attribute of b and returns the octets after it.
func parseAttribute(b []byte) (a Attribute, rest []byte, err error) {
	if len(b) < 4 {
		return Attribute{}, nil, ErrShort
	}
	head, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	if head&0x8000 != 0 {
		return Attribute{Type: head & 0x7fff, Short: true, Value: b[2:4:4]}, b[4:], nil
	}
	if len(b) < 4+n {
		return Attribute{}, nil, fmt.Errorf("value of %d octets: %w", n, ErrShort)
	}
	return Attribute{Type: head, Value: b[4 : 4+n : 4+n]}, b[4+n:], nil
}

func (a Attribute) append(dst []byte) []byte {
	if a.Short {
		dst = binary.BigEndian.AppendUint16(dst, a.Type|0x8000)
		return append(dst, a.Value...)
	}
	dst = binary.BigEndian.AppendUint16(dst, a.Type)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(a.Value)))
	return append(dst, a.Value...)
}

// ParseAttributes reads a list of attributes that is all of b, such as the data of a RESPONDER-LIFETIME notification.
func ParseAttributes(b []byte) ([]Attribute, error) {
	var list []Attribute
	for len(b) > 0 {
		if len(list) == MaxAttributes {
			return nil, fmt.Errorf("attributes: %w", ErrLimit)
		}
		a, rest, err := parseAttribute(b)
		if err != nil {
			return nil, fmt.Errorf("attribute %d: %w", len(list)+1, err)
		}
		list = append(list, a)
		b = rest
	}
	return list, nil
}

// AppendAttributes appends a list of attributes.
func AppendAttributes(dst []byte, list ...Attribute) []byte {
	for _, a := range list {
		dst = a.append(dst)
	}
	return dst
}
