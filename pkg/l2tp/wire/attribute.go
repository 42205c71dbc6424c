package wire

import "fmt"

// AttributeType names an IETF attribute (RFC 2661 4.4; vendor 0).
type AttributeType uint16

// Attributes of RFC 2661 4.4 and, the last one, of RFC 3145.
const (
	AttrMessageType        AttributeType = 0
	AttrResultCode         AttributeType = 1
	AttrProtocolVersion    AttributeType = 2
	AttrFramingCaps        AttributeType = 3
	AttrBearerCaps         AttributeType = 4
	AttrTieBreaker         AttributeType = 5
	AttrFirmwareRevision   AttributeType = 6
	AttrHostName           AttributeType = 7
	AttrVendorName         AttributeType = 8
	AttrAssignedTunnelID   AttributeType = 9
	AttrReceiveWindow      AttributeType = 10
	AttrChallenge          AttributeType = 11
	AttrCauseCode          AttributeType = 12
	AttrChallengeResponse  AttributeType = 13
	AttrAssignedSessionID  AttributeType = 14
	AttrCallSerial         AttributeType = 15
	AttrMinimumBPS         AttributeType = 16
	AttrMaximumBPS         AttributeType = 17
	AttrBearerType         AttributeType = 18
	AttrFramingType        AttributeType = 19
	AttrCalledNumber       AttributeType = 21
	AttrCallingNumber      AttributeType = 22
	AttrSubAddress         AttributeType = 23
	AttrTxConnectSpeed     AttributeType = 24
	AttrPhysicalChannelID  AttributeType = 25
	AttrInitialRecvConfreq AttributeType = 26
	AttrLastSentConfreq    AttributeType = 27
	AttrLastRecvConfreq    AttributeType = 28
	AttrProxyAuthType      AttributeType = 29
	AttrProxyAuthName      AttributeType = 30
	AttrProxyAuthChallenge AttributeType = 31
	AttrProxyAuthID        AttributeType = 32
	AttrProxyAuthResponse  AttributeType = 33
	AttrCallErrors         AttributeType = 34
	AttrACCM               AttributeType = 35
	AttrRandomVector       AttributeType = 36
	AttrPrivateGroupID     AttributeType = 37
	AttrRxConnectSpeed     AttributeType = 38
	AttrSequencingRequired AttributeType = 39
	AttrDisconnectCause    AttributeType = 46
)

// attribute is what Decode has to know of one attribute. The lengths are of the value, in octets.
type attribute struct {
	name     string
	min, max int
	decode   func(*Body, []byte) // nil: known, but of no use to a network server; called with a checked length
}

var attributes = map[AttributeType]attribute{
	AttrMessageType:        {"Message Type", 2, 2, nil},
	AttrResultCode:         {"Result Code", 0, MaxValueLen, func(b *Body, v []byte) { b.Result = decodeResult(v) }},
	AttrProtocolVersion:    {"Protocol Version", 2, 2, func(b *Body, v []byte) { b.ProtocolVersion = be16(v) }},
	AttrFramingCaps:        {"Framing Capabilities", 4, 4, func(b *Body, v []byte) { b.FramingCaps = be32(v) }},
	AttrBearerCaps:         {"Bearer Capabilities", 4, 4, func(b *Body, v []byte) { b.BearerCaps = be32(v) }},
	AttrTieBreaker:         {"Tie Breaker", 8, 8, nil},
	AttrFirmwareRevision:   {"Firmware Revision", 2, 2, func(b *Body, v []byte) { b.FirmwareRevision = be16(v) }},
	AttrHostName:           {"Host Name", 0, MaxValueLen, func(b *Body, v []byte) { b.HostName = v }},
	AttrVendorName:         {"Vendor Name", 0, MaxValueLen, func(b *Body, v []byte) { b.VendorName = v }},
	AttrAssignedTunnelID:   {"Assigned Tunnel ID", 2, 2, func(b *Body, v []byte) { b.AssignedTunnelID = be16(v) }},
	AttrReceiveWindow:      {"Receive Window Size", 2, 2, func(b *Body, v []byte) { b.ReceiveWindow = be16(v) }},
	AttrChallenge:          {"Challenge", 1, MaxValueLen, func(b *Body, v []byte) { b.Challenge = v }},
	AttrCauseCode:          {"Q.931 Cause Code", 3, MaxValueLen, nil},
	AttrChallengeResponse:  {"Challenge Response", 16, 16, nil},
	AttrAssignedSessionID:  {"Assigned Session ID", 2, 2, func(b *Body, v []byte) { b.AssignedSessionID = be16(v) }},
	AttrCallSerial:         {"Call Serial Number", 4, 4, func(b *Body, v []byte) { b.CallSerial = be32(v) }},
	AttrMinimumBPS:         {"Minimum BPS", 4, 4, nil},
	AttrMaximumBPS:         {"Maximum BPS", 4, 4, nil},
	AttrBearerType:         {"Bearer Type", 4, 4, nil},
	AttrFramingType:        {"Framing Type", 4, 4, func(b *Body, v []byte) { b.FramingType = be32(v) }},
	AttrCalledNumber:       {"Called Number", 0, MaxValueLen, func(b *Body, v []byte) { b.CalledNumber = v }},
	AttrCallingNumber:      {"Calling Number", 0, MaxValueLen, func(b *Body, v []byte) { b.CallingNumber = v }},
	AttrSubAddress:         {"Sub-Address", 0, MaxValueLen, nil},
	AttrTxConnectSpeed:     {"Tx Connect Speed", 4, 4, func(b *Body, v []byte) { b.TxConnectSpeed = be32(v) }},
	AttrPhysicalChannelID:  {"Physical Channel ID", 4, 4, nil},
	AttrInitialRecvConfreq: {"Initial Received LCP CONFREQ", 0, MaxValueLen, nil},
	AttrLastSentConfreq:    {"Last Sent LCP CONFREQ", 0, MaxValueLen, nil},
	AttrLastRecvConfreq:    {"Last Received LCP CONFREQ", 0, MaxValueLen, nil},
	AttrProxyAuthType:      {"Proxy Authen Type", 2, 2, nil},
	AttrProxyAuthName:      {"Proxy Authen Name", 0, MaxValueLen, nil},
	AttrProxyAuthChallenge: {"Proxy Authen Challenge", 0, MaxValueLen, nil},
	AttrProxyAuthID:        {"Proxy Authen ID", 2, 2, nil},
	AttrProxyAuthResponse:  {"Proxy Authen Response", 0, MaxValueLen, nil},
	AttrCallErrors:         {"Call Errors", 26, 26, nil},
	AttrACCM:               {"ACCM", 10, 10, nil},
	AttrRandomVector:       {"Random Vector", 1, MaxValueLen, nil},
	AttrPrivateGroupID:     {"Private Group ID", 0, MaxValueLen, nil},
	AttrRxConnectSpeed:     {"Rx Connect Speed", 4, 4, func(b *Body, v []byte) { b.RxConnectSpeed = be32(v) }},
	AttrSequencingRequired: {"Sequencing Required", 0, 0, nil},
	AttrDisconnectCause:    {"PPP Disconnect Cause Code", 5, MaxValueLen, nil},
}

// String returns the RFC's name, or "attribute N".
func (t AttributeType) String() string {
	if a, ok := attributes[t]; ok {
		return a.name
	}
	return fmt.Sprintf("attribute %d", uint16(t))
}
