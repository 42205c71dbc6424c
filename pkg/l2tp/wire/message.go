package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Message is one control message. Without AVPs it is a ZLB, an acknowledgement that consumes no sequence number.
type Message struct {
	TunnelID  uint16 // the receiver's; 0 before the sender knows it
	SessionID uint16 // the receiver's; 0 before the sender knows it, and in messages about the tunnel
	Ns        uint16
	Nr        uint16
	AVPs      []AVP
}

// Parse reads a control message. The AVPs share b's memory.
//
// Errors wrap ErrData, ErrVersion or ErrHeader, and then the Message is empty; or ErrAVP: then it has its header and the AVPs
// before the broken one, so that a peer's last words can be understood in spite of their form.
func Parse(b []byte) (Message, error) {
	h, err := parseHeader(b)
	if err != nil {
		return Message{}, err
	}
	m := Message{TunnelID: h.tunnel, SessionID: h.session, Ns: h.ns, Nr: h.nr}
	for rest := b[HeaderLen:h.length]; len(rest) > 0; {
		var a AVP
		if a, rest, err = parseAVP(rest); err != nil {
			return m, fmt.Errorf("after %d AVPs: %w", len(m.AVPs), err)
		}
		m.AVPs = append(m.AVPs, a)
	}
	return m, nil
}

// Append writes the message after b. It fails, wrapping ErrAVP, if a value is longer than MaxValueLen or the whole message than
// 65,535 octets.
func (m Message) Append(b []byte) ([]byte, error) {
	start := len(b)
	out := header{tunnel: m.TunnelID, session: m.SessionID, ns: m.Ns, nr: m.Nr}.append(b)
	for _, a := range m.AVPs {
		var err error
		if out, err = a.append(out); err != nil {
			return b, err
		}
	}
	length := len(out) - start
	if length > math.MaxUint16 {
		return b, fmt.Errorf("%w: a message of %d octets", ErrAVP, length)
	}
	binary.BigEndian.PutUint16(out[start+2:], uint16(length))
	return out, nil
}

// IsZLB tells whether the message is a zero-length body acknowledgement.
func (m Message) IsZLB() bool { return len(m.AVPs) == 0 }

// Type returns the message's type and whether its M bit is set. The Message Type must be the first AVP (RFC 2661 4.4.1) in clear
// and two octets long; ok is false if it is not.
func (m Message) Type() (t MessageType, mandatory, ok bool) {
	if m.IsZLB() {
		return 0, false, false
	}
	a := m.AVPs[0]
	if !a.Is(AttrMessageType) || a.Hidden || a.Reserved != 0 || len(a.Value) != 2 {
		return 0, false, false
	}
	return MessageType(binary.BigEndian.Uint16(a.Value)), a.Mandatory, true
}
