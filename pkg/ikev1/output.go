package ikev1

import "net/netip"

// Datagram is one IKE message together with the addresses it came from or goes to.
type Datagram struct {
	// Local and Remote are the server's and the client's address and port, whichever way the message travels.
	Local, Remote netip.AddrPort

	// Encapsulated says that the message travels on the NAT-T socket (port 4500), where the owner removes and adds the
	// non-ESP marker (RFC 3948 section 2.2).
	Encapsulated bool

	// Payload is the IKE message, starting at the initiator's cookie. The engine keeps no reference to a received one,
	// and never changes one that it returned.
	Payload []byte
}

// Output is what one call of the engine asks of its owner: perform Actions in order, put Records where they outlive the program, send Send
// in order, report Events. The zero Output asks nothing.
type Output struct {
	Actions []Action

	// Records are those that the call has changed, each once, ordered by client, if [Config.Records] is set. They have to be safe before
	// anything is sent: what a peer has an answer to must not be forgotten.
	Records []Record

	Send   []Datagram
	Events []Event
}
