package wire

import "fmt"

// MessageType is the value of the Message Type AVP (RFC 2661 3.2).
type MessageType uint16

// Control messages of RFC 2661. 5, 13 and above 16 are not assigned there.
const (
	SCCRQ   MessageType = 1  // Start-Control-Connection-Request
	SCCRP   MessageType = 2  // Start-Control-Connection-Reply
	SCCCN   MessageType = 3  // Start-Control-Connection-Connected
	StopCCN MessageType = 4  // Stop-Control-Connection-Notification
	HELLO   MessageType = 6  // Hello
	OCRQ    MessageType = 7  // Outgoing-Call-Request
	OCRP    MessageType = 8  // Outgoing-Call-Reply
	OCCN    MessageType = 9  // Outgoing-Call-Connected
	ICRQ    MessageType = 10 // Incoming-Call-Request
	ICRP    MessageType = 11 // Incoming-Call-Reply
	ICCN    MessageType = 12 // Incoming-Call-Connected
	CDN     MessageType = 14 // Call-Disconnect-Notify
	WEN     MessageType = 15 // WAN-Error-Notify
	SLI     MessageType = 16 // Set-Link-Info
)

var messageNames = map[MessageType]string{
	SCCRQ: "SCCRQ", SCCRP: "SCCRP", SCCCN: "SCCCN", StopCCN: "StopCCN", HELLO: "HELLO",
	OCRQ: "OCRQ", OCRP: "OCRP", OCCN: "OCCN", ICRQ: "ICRQ", ICRP: "ICRP", ICCN: "ICCN", CDN: "CDN", WEN: "WEN", SLI: "SLI",
}

// String returns the RFC's abbreviation, or "message N".
func (t MessageType) String() string {
	if name, ok := messageNames[t]; ok {
		return name
	}
	return fmt.Sprintf("message %d", uint16(t))
}

// Known tells whether RFC 2661 defines the type.
func (t MessageType) Known() bool {
	_, ok := messageNames[t]
	return ok
}

// Value returns the Message Type AVP; its header is always 80 08, as Android insists.
func (t MessageType) Value() AVP { return Uint16(AttrMessageType, uint16(t)) }
