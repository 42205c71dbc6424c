package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// IDType is a type of identification (RFC 2407 section 4.6.2.1).
type IDType uint8

// The identification types.
const (
	IDIPv4Addr   IDType = 1
	IDFQDN       IDType = 2
	IDUserFQDN   IDType = 3
	IDIPv4Subnet IDType = 4
	IDIPv6Addr   IDType = 5
	IDIPv6Subnet IDType = 6
	IDIPv4Range  IDType = 7
	IDIPv6Range  IDType = 8
	IDDERDN      IDType = 9
	IDDERGN      IDType = 10
	IDKeyID      IDType = 11
)

// ID is the body of an Identification payload (RFC 2407 section 4.6.2).
type ID struct {
	Kind     IDType
	Protocol uint8 // IP protocol, 0 for any
	Port     uint16
	Data     []byte
}

// ParseID reads the body of an ID payload. Data of an address type has the length of the address.
func ParseID(b []byte) (ID, error) {
	if len(b) < 4 {
		return ID{}, fmt.Errorf("ID payload: %d octets: %w", len(b), ErrShort)
	}
	id := ID{Kind: IDType(b[0]), Protocol: b[1], Port: binary.BigEndian.Uint16(b[2:]), Data: b[4:]}
	if want, known := addrLen(id.Kind); known && len(id.Data) != want {
		return ID{}, fmt.Errorf("ID payload: address of %d octets: %w", len(id.Data), ErrValue)
	}
	return id, nil
}

// AddrID returns the ID of an address.
func AddrID(addr netip.Addr, protocol uint8, port uint16) ID {
	addr = addr.Unmap()
	return ID{Kind: addrIDType(addr), Protocol: protocol, Port: port, Data: addr.AsSlice()}
}

// Type returns PayloadID.
func (ID) Type() PayloadType { return PayloadID }

// AppendBody appends the body of the payload.
func (id ID) AppendBody(dst []byte) []byte {
	dst = append(dst, byte(id.Kind), id.Protocol)
	dst = binary.BigEndian.AppendUint16(dst, id.Port)
	return append(dst, id.Data...)
}

// Addr returns the address, if the ID is of an address type.
func (id ID) Addr() (netip.Addr, bool) {
	if want, known := addrLen(id.Kind); !known || len(id.Data) != want {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(id.Data)
}

// String returns the identity without protocol and port. What a peer sent as text is quoted where it is not printable.
func (id ID) String() string {
	if a, ok := id.Addr(); ok {
		return a.String()
	}
	switch id.Kind {
	case IDFQDN, IDUserFQDN, IDKeyID:
		if id.Kind == IDKeyID && !isText(id.Data) {
			break
		}
		q := strconv.QuoteToASCII(string(id.Data))
		return q[1 : len(q)-1]
	}
	return fmt.Sprintf("type%d:%s", id.Kind, hex.EncodeToString(id.Data))
}

// isText says whether a key ID, which may be any octets, is the name that a user has typed.
func isText(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, unicode.IsControl)
}

// addrLen returns the length of the addresses of an ID type; false if it is not an address type.
func addrLen(t IDType) (int, bool) {
	switch t {
	case IDIPv4Addr:
		return 4, true
	case IDIPv6Addr:
		return 16, true
	}
	return 0, false
}

func addrIDType(a netip.Addr) IDType {
	if a.Is4() {
		return IDIPv4Addr
	}
	return IDIPv6Addr
}
