package wire

import (
	"encoding/binary"
	"fmt"
)

// Delete is the body of a Delete payload (RFC 2408 section 3.15).
type Delete struct {
	DOI      uint32
	Protocol Protocol

	// SPILen is the length of each SPI in octets: 4 for ESP and AH, 16 (both cookies) for ISAKMP.
	SPILen uint8
	SPIs   [][]byte
}

// ParseDelete reads the body of a Delete payload.
func ParseDelete(b []byte) (Delete, error) {
	if len(b) < 8 {
		return Delete{}, fmt.Errorf("delete: %d octets: %w", len(b), ErrShort)
	}
	d := Delete{DOI: binary.BigEndian.Uint32(b), Protocol: Protocol(b[4]), SPILen: b[5]}
	count, size := int(binary.BigEndian.Uint16(b[6:])), int(d.SPILen)
	if count > MaxSPIs {
		return Delete{}, fmt.Errorf("delete: %d SPIs: %w", count, ErrLimit)
	}
	if b = b[8:]; len(b) != count*size {
		return Delete{}, fmt.Errorf("delete: %d octets for %d SPIs of %d: %w", len(b), count, size, ErrValue)
	}
	for i := range count {
		d.SPIs = append(d.SPIs, b[i*size:(i+1)*size:(i+1)*size])
	}
	return d, nil
}

// Type returns PayloadDelete.
func (Delete) Type() PayloadType { return PayloadDelete }

// AppendBody appends the body of the payload.
func (d Delete) AppendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, d.DOI)
	dst = append(dst, byte(d.Protocol), d.SPILen)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(d.SPIs)))
	for _, spi := range d.SPIs {
		dst = append(dst, spi...)
	}
	return dst
}
