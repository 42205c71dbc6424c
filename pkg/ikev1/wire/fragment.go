package wire

import (
	"encoding/binary"
	"fmt"
)

// FragmentHeaderLen is what a Fragment payload adds to its data, in octets, the generic header included.
const FragmentHeaderLen = genericHeaderLen + 4

// lastFragment is the flag of the last fragment of a message.
const lastFragment = 1

// Fragment is the body of a Fragment payload (MS-IKEE section 2.2.3; the same as Cisco's): a part of a message, the ISAKMP header of
// which is at the beginning of the first part. It is the only payload of its own message, and never encrypted itself.
type Fragment struct {
	// ID is the same in all fragments of a message.
	ID uint16

	// Number counts the fragments of a message from 1.
	Number uint8
	Last   bool

	// Data has at least one octet.
	Data []byte
}

// ParseFragment reads the body of a Fragment payload. Flags that have no meaning are ignored.
func ParseFragment(b []byte) (Fragment, error) {
	if len(b) < 4 {
		return Fragment{}, fmt.Errorf("fragment: %d octets: %w", len(b), ErrShort)
	}
	f := Fragment{ID: binary.BigEndian.Uint16(b), Number: b[2], Last: b[3]&lastFragment != 0, Data: b[4:]}
	if f.Number == 0 {
		return Fragment{}, fmt.Errorf("fragment number 0: %w", ErrValue)
	}
	if len(f.Data) == 0 {
		return Fragment{}, fmt.Errorf("fragment without data: %w", ErrValue)
	}
	return f, nil
}

// Type returns PayloadFragment.
func (Fragment) Type() PayloadType { return PayloadFragment }

// AppendBody appends the body of the payload.
func (f Fragment) AppendBody(dst []byte) []byte {
	var flags byte
	if f.Last {
		flags = lastFragment
	}
	dst = binary.BigEndian.AppendUint16(dst, f.ID)
	return append(append(dst, f.Number, flags), f.Data...)
}
