package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bits of the first two octets (RFC 2661 3.1).
const (
	flagType     = 0x8000 // T: control message
	flagLength   = 0x4000 // L: Length field present
	flagSequence = 0x0800 // S: Ns and Nr present
	flagOffset   = 0x0200 // O: Offset Size present
	maskVersion  = 0x000f

	// controlFlags is what control messages are sent with. Android compares the octets.
	controlFlags = flagType | flagLength | flagSequence | version
	version      = 2
)

// HeaderLen is the length of a control message's header, and of a whole ZLB, in octets.
const HeaderLen = 12

// Errors of Parse; compare with errors.Is.
var (
	// ErrData means a data message (T bit 0).
	ErrData = errors.New("l2tp data message")
	// ErrVersion means another version of L2TP, such as L2TPv3 or L2F.
	ErrVersion = errors.New("l2tp version is not 2")
	// ErrHeader means that the fixed header is not one of a control message.
	ErrHeader = errors.New("malformed l2tp control header")
)

// header is the fixed part of a control message.
type header struct {
	length  int
	tunnel  uint16
	session uint16
	ns, nr  uint16
}

// parseHeader reads the header of a control message and checks that its Length is within b. Octets after Length belong to
// nobody. The P bit and the reserved bits are ignored on receipt.
func parseHeader(b []byte) (header, error) {
	if len(b) < 2 {
		return header{}, fmt.Errorf("%w: %d octets", ErrHeader, len(b))
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&maskVersion != version {
		return header{}, fmt.Errorf("%w but %d", ErrVersion, flags&maskVersion)
	}
	if flags&flagType == 0 {
		return header{}, ErrData
	}
	if flags&(flagLength|flagSequence|flagOffset) != flagLength|flagSequence {
		return header{}, fmt.Errorf("%w: flags %#04x", ErrHeader, flags)
	}
	if len(b) < HeaderLen {
		return header{}, fmt.Errorf("%w: %d octets", ErrHeader, len(b))
	}
	h := header{
		length:  int(binary.BigEndian.Uint16(b[2:])),
		tunnel:  binary.BigEndian.Uint16(b[4:]),
		session: binary.BigEndian.Uint16(b[6:]),
		ns:      binary.BigEndian.Uint16(b[8:]),
		nr:      binary.BigEndian.Uint16(b[10:]),
	}
	if h.length < HeaderLen || h.length > len(b) {
		return header{}, fmt.Errorf("%w: length %d in a datagram of %d octets", ErrHeader, h.length, len(b))
	}
	return h, nil
}

func (h header) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, controlFlags)
	b = binary.BigEndian.AppendUint16(b, uint16(h.length))
	b = binary.BigEndian.AppendUint16(b, h.tunnel)
	b = binary.BigEndian.AppendUint16(b, h.session)
	b = binary.BigEndian.AppendUint16(b, h.ns)
	return binary.BigEndian.AppendUint16(b, h.nr)
}
