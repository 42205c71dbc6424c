package ikev1

import (
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// ClientInfo is a snapshot of one client for lists.
type ClientInfo struct {
	ID            ClientID
	Local, Remote netip.AddrPort

	// Encapsulated says that the client is behind a NAT (or we are), so that everything travels on the NAT-T port.
	Encapsulated bool

	Identity string

	// State is "established" while there is an ISAKMP SA, "expired" when only children are left.
	State string

	// Method is how the newest ISAKMP SA was authenticated.
	Method pki.Method

	// IKEProposal is such as "aes256-sha256-modp2048", ESPProposal (of the newest child) such as "aes256-sha1".
	IKEProposal, ESPProposal string

	Established time.Time

	// Connection is the one that the client is reached by, zero if it has called us.
	Connection ConnectionID

	// VendorKind is who the client seems to be: windows, apple, android, strongswan, chromeos, libreswan, cisco, or empty.
	VendorKind string

	// Children are the established ones, oldest first.
	Children []ChildInfo
}

// ChildInfo is a snapshot of one child.
type ChildInfo struct {
	ID            ChildID
	SPIIn, SPIOut uint32
	Proposal      string
	Established   time.Time

	// Expires is when the engine removes the child if the client has not done so.
	Expires time.Time
}

// Children returns the children of a client, oldest first: also those whose Quick Mode is not through. An unknown client has none.
func (e *Engine) Children(id ClientID) (ids []ChildID) {
	if c := e.clients[id]; c != nil {
		for _, ch := range c.children {
			ids = append(ids, ch.id)
		}
	}
	return ids
}
