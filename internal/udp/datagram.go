package udp

import "net/netip"

// Datagram is an IKE message on its way in or out.
type Datagram struct {
	// Local is our address as the peer sees it, and the address that the message leaves from.
	Local, Remote netip.AddrPort
	// Encapsulated says that the message came, or shall go, through the NAT traversal socket (port 4500).
	Encapsulated bool
	// Payload is the IKE message without the non-ESP marker. A received one belongs to the handler.
	Payload []byte
}

// nonESPMarker precedes IKE on port 4500, RFC 3948 section 2.2. The kernel leaves it on what it passes up.
var nonESPMarker = [4]byte{}

// isKeepalive says whether a datagram is a NAT keepalive, which goes without a marker (RFC 3948 section 2.3).
func isKeepalive(b []byte) bool { return len(b) == 1 && b[0] == 0xff }

// ikeMessage takes the marker off. It returns nil for what is no IKE: NAT keepalives (one octet 0xFF, RFC 3948
// section 2.3), datagrams too short for a marker, and on the NAT socket those without one. All but the first are runts.
//
// Some Apple clients send the marker on port 500 too, so it goes off there as well; a cookie that begins with four zero
// octets is one in four billion.
func ikeMessage(b []byte, encapsulated bool) (message []byte, runt bool) {
	if isKeepalive(b) {
		return nil, false
	}
	if len(b) < len(nonESPMarker) {
		return nil, true
	}
	if [4]byte(b) == nonESPMarker {
		b = b[len(nonESPMarker):]
	} else if encapsulated {
		return nil, true
	}
	if len(b) < len(nonESPMarker) {
		return nil, true
	}
	return b, false
}
