package wire

import (
	"encoding/binary"
	"fmt"
)

// Notification is the body of a Notification payload (RFC 2408 section 3.14).
type Notification struct {
	DOI      uint32
	Protocol Protocol
	Kind     NotifyType
	SPI      []byte
	Data     []byte
}

// ParseNotification reads the body of a Notification payload.
func ParseNotification(b []byte) (Notification, error) {
	if len(b) < 8 {
		return Notification{}, fmt.Errorf("notification: %d octets: %w", len(b), ErrShort)
	}
	n := Notification{
		DOI:      binary.BigEndian.Uint32(b),
		Protocol: Protocol(b[4]),
		Kind:     NotifyType(binary.BigEndian.Uint16(b[6:])),
	}
	spiLen := int(b[5])
	b = b[8:]
	if len(b) < spiLen {
		return Notification{}, fmt.Errorf("notification: SPI of %d octets: %w", spiLen, ErrShort)
	}
	n.SPI, n.Data = b[:spiLen:spiLen], b[spiLen:]
	return n, nil
}

// Type returns PayloadNotification.
func (Notification) Type() PayloadType { return PayloadNotification }

// AppendBody appends the body of the payload.
func (n Notification) AppendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, n.DOI)
	dst = append(dst, byte(n.Protocol), byte(len(n.SPI)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(n.Kind))
	dst = append(dst, n.SPI...)
	return append(dst, n.Data...)
}
