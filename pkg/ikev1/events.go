package ikev1

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// Event is a fact for the log, the audit trail and the metrics. Events carry no secrets.
type Event interface {
	fmt.Stringer
	isEvent()
}

// Phase1Established says that Main Mode or Aggressive Mode authenticated the client.
type Phase1Established struct {
	Client        ClientID
	Connection    ConnectionID // if we called
	Local, Remote netip.AddrPort
	Encapsulated  bool

	// Identity is what the client calls itself, such as "192.168.0.5", in Aggressive Mode its group; it is informative only.
	Identity string

	// Proposal is such as "aes256-sha256-modp2048".
	Proposal string

	// Method is how both sides authenticated.
	Method pki.Method

	// VendorKind is a guess from the vendor IDs and the shape of the offer, such as "windows" or "apple"; empty for none.
	VendorKind string

	// RevocationUnknown says that nobody could tell whether its certificate was revoked, which the configuration lets pass.
	RevocationUnknown bool

	// Rekey says that the client was known before.
	Rekey bool
}

// Phase1Failed says why a phase 1 exchange did not come to an end, and what could be done about it.
type Phase1Failed struct {
	Connection    ConnectionID // if we called
	Local, Remote netip.AddrPort

	// Code is the cause for programs, Cause the same in words, and Hint the one thing that would cure it.
	Code        Cause
	Cause, Hint string

	// Identity is who the client says it is, empty before message 5; VendorKind as in Phase1Established.
	Identity, VendorKind string

	// Offered and Allowed are the two lists of proposals when the cause is that none is in both.
	Offered, Allowed []string
}

// Phase2Failed says why a Quick Mode of an authenticated client did not come to an end, and what could be done about it.
type Phase2Failed struct {
	Client ClientID
	Remote netip.AddrPort

	// The rest is as in Phase1Failed.
	Code                 Cause
	Cause, Hint          string
	Identity, VendorKind string
	Offered, Allowed     []string
}

// ChildEstablished says that both SAs of a child are installed.
type ChildEstablished struct {
	Client        ClientID
	Child         ChildID
	Local, Remote netip.AddrPort
	Encapsulated  bool
	SPIIn, SPIOut uint32

	// Proposal is such as "aes256-sha1", with the PFS group as a third part if there was one.
	Proposal string

	// Rekey says that the client had another established child at this moment.
	Rekey bool
}

// ChildClosed says that a child that was established is being removed.
type ChildClosed struct {
	Client        ClientID
	Child         ChildID
	SPIIn, SPIOut uint32
	Reason        string
	ByPeer        bool
}

// ClientMoved says that authentic messages of a client come from another port, or from another address, because a NAT has changed its
// mapping: its installed SAs have to follow.
type ClientMoved struct {
	Client        ClientID
	Local, Remote netip.AddrPort
	Encapsulated  bool
}

// ClientGone says that nothing is left of a client; its ClientID is not used again.
type ClientGone struct {
	Client ClientID
	Remote netip.AddrPort
	Reason string
}

// Dropped says that a message was ignored, or that an exchange was given up. Every one is reported, while [Phase1Failed] and
// [Phase2Failed], which explain some of them, are limited to a few in a time: counters belong here.
type Dropped struct {
	Remote netip.AddrPort
	Reason DropReason
}

// DropReason is one of a small fixed set, to be used as the label of a counter.
type DropReason string

// The reasons why a message is ignored.
const (
	DropMalformed       DropReason = "malformed"          // not an ISAKMP message, or one that breaks the rules of its payloads
	DropTooLarge        DropReason = "too_large"          // a datagram, or a message in fragments, beyond the limits
	DropIKEv2           DropReason = "ikev2"              // the peer speaks IKEv2
	DropVersion         DropReason = "version"            // neither IKEv1 nor IKEv2
	DropAggressive      DropReason = "aggressive_mode"    // Aggressive Mode, which is off, for the key can be guessed offline
	DropUnknownGroup    DropReason = "unknown_group"      // Aggressive Mode of a group that there is not
	DropAggressiveLimit DropReason = "aggressive_limit"   // more of Aggressive Mode than a Diffie-Hellman is spent on
	DropTransaction     DropReason = "transaction"        // XAUTH or Mode Config, not part of L2TP/IPsec
	DropExchange        DropReason = "exchange"           // another exchange type that is not served
	DropFragment        DropReason = "fragment"           // a message of which not all fragments came in time, or before those of the next one
	DropUnknownSA       DropReason = "unknown_sa"         // cookies of no SA that we have
	DropUnexpected      DropReason = "unexpected"         // a message that the state of its exchange has no use for
	DropDuplicate       DropReason = "duplicate"          // a retransmission beyond those that are answered, or while we work
	DropHalfOpenMax     DropReason = "half_open_max"      // too many handshakes between message 3 and 5
	DropUnprovedMax     DropReason = "unproved_max"       // too many of which only message 1 has come: the oldest gives way
	DropHalfOpenPerAddr DropReason = "half_open_per_addr" // too many handshakes under way from this address

	DropHalfOpenPerNetwork DropReason = "half_open_per_network" // too many handshakes under way from this network

	DropNoPSK             DropReason = "no_psk"               // no pre-shared key for this peer
	DropNoProposal        DropReason = "no_proposal"          // nothing in common
	DropUnencrypted       DropReason = "unencrypted"          // in the clear where only encrypted messages count
	DropHash              DropReason = "hash"                 // the HASH payload is missing or wrong
	DropAuthentication    DropReason = "authentication"       // a message that has to does not prove the key
	DropMaxClients        DropReason = "max_clients"          // authenticated, but there are too many clients
	DropMaxClientsPerAddr DropReason = "max_clients_per_addr" // authenticated, but there are too many clients at this address
	DropIdentities        DropReason = "identities"           // a Quick Mode for other traffic than L2TP
	DropKeyExchange       DropReason = "key_exchange"         // the Diffie-Hellman computation failed
	DropInstall           DropReason = "install"              // an SA could not be installed, so its Quick Mode is given up
	DropTimeout           DropReason = "timeout"              // the next message of an exchange did not arrive, so it is given up
	DropExchangeLimit     DropReason = "exchange_limit"       // too many Quick Modes at a time
	DropSequence          DropReason = "sequence"             // a DPD message with a sequence number from the past, or not ours
	DropShuttingDown      DropReason = "shutting_down"        // the server is about to end
	DropPanic             DropReason = "panic"                // a defect of this program, see [Panicked]
	DropInternal          DropReason = "internal"             // the source of randomness failed
)

func (Phase1Established) isEvent() {}
func (Phase1Failed) isEvent()      {}
func (Phase2Failed) isEvent()      {}
func (ChildEstablished) isEvent()  {}
func (ChildClosed) isEvent()       {}
func (ClientMoved) isEvent()       {}
func (ClientGone) isEvent()        {}
func (Dropped) isEvent()           {}

func (e Phase1Established) String() string {
	return fmt.Sprintf("client %d: phase 1 established with %s (%q), %s, %s%s%s", e.Client, e.Remote, e.Identity, e.Proposal, e.Method,
		either(e.RevocationUnknown, ", revocation unknown", ""), either(e.Rekey, ", rekeyed", ""))
}

func (e Phase1Failed) String() string {
	return fmt.Sprintf("phase 1 with %s failed: %s%s", e.Remote, e.Cause, advice(e.Offered, e.Allowed, e.Hint))
}

func (e Phase2Failed) String() string {
	return fmt.Sprintf("client %d: phase 2 with %s failed: %s%s", e.Client, e.Remote, e.Cause, advice(e.Offered, e.Allowed, e.Hint))
}

func (e ChildEstablished) String() string {
	return fmt.Sprintf("client %d: child %d established with %s, %s, SPIs in %#08x out %#08x%s",
		e.Client, e.Child, e.Remote, e.Proposal, e.SPIIn, e.SPIOut, either(e.Rekey, ", rekeyed", ""))
}

func (e ChildClosed) String() string {
	return fmt.Sprintf("client %d: child %d closed: %s", e.Client, e.Child, e.Reason)
}

func (e ClientMoved) String() string {
	return fmt.Sprintf("client %d moved to %s", e.Client, e.Remote)
}

func (e ClientGone) String() string {
	return fmt.Sprintf("client %d at %s gone: %s", e.Client, e.Remote, e.Reason)
}

func (e Dropped) String() string {
	return fmt.Sprintf("message from %s dropped: %s", e.Remote, e.Reason)
}

// either returns yes or no.
func either(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

// advice words the part of a failure that tells the operator what to change.
func advice(offered, allowed []string, hint string) string {
	var b strings.Builder
	if len(offered) > 0 || len(allowed) > 0 {
		fmt.Fprintf(&b, "; offered: %s; allowed: %s", listed(offered), listed(allowed))
	}
	if hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

// listed words a list, of a long one only the beginning: the preferred proposals.
func listed(names []string) string {
	const most = 12
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
