package ikev1

import (
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
)

// ClientID names one IPsec client: a local address, a remote address and port (after floating to the NAT-T port), and a
// phase 1 identity. It survives every rekeying, and is never used again.
type ClientID uint64

// ChildID names one pair of ESP SAs. It is never used again.
type ChildID uint64

// ActionID names one action until [Engine.Complete] is called for it, exactly once. Zero is no action.
type ActionID uint64

// Action is something the owner has to do: [ComputeDH], [InstallInbound], [InstallOutbound] or [RemoveChild].
type Action interface {
	// ActionID returns the ID to report to [Engine.Complete].
	ActionID() ActionID
	isAction()
}

// ComputeDH asks for a Diffie-Hellman computation, the expensive part of a handshake; Perform may run on any goroutine.
// It is reported with the [DHResult] that Perform returned.
type ComputeDH struct {
	ID      ActionID
	Group   dh.Group
	Private *dh.PrivateKey
	Peer    []byte
}

// Perform does the computation.
func (a ComputeDH) Perform() DHResult {
	public, shared, err := a.Private.Exchange(a.Peer)
	return DHResult{Public: public, Shared: shared, Err: err}
}

// InstallInbound asks to install the SA from the client to us. Quick Mode message 2 is sent after its success. The result
// is a [SimpleResult].
type InstallInbound struct {
	ID ActionID
	SA ChildSA
}

// InstallOutbound asks to install the SA from us to the client; it was authenticated by Quick Mode message 3. A client may
// have several: traffic belongs into the newest. The result is a [SimpleResult].
type InstallOutbound struct {
	ID ActionID
	SA ChildSA
}

// RemoveChild asks to remove both SAs of a child. Removing what is not there is a success. The result is a [SimpleResult].
type RemoveChild struct {
	ID     ActionID
	Client ClientID
	Child  ChildID

	// SPIIn is the SPI of the SA towards us, SPIOut of the SA towards the client, zero when it was never installed.
	SPIIn, SPIOut uint32

	Local, Remote netip.AddrPort
}

// ActionID returns a.ID.
func (a ComputeDH) ActionID() ActionID { return a.ID }

// ActionID returns a.ID.
func (a InstallInbound) ActionID() ActionID { return a.ID }

// ActionID returns a.ID.
func (a InstallOutbound) ActionID() ActionID { return a.ID }

// ActionID returns a.ID.
func (a RemoveChild) ActionID() ActionID { return a.ID }

func (ComputeDH) isAction()       {}
func (InstallInbound) isAction()  {}
func (InstallOutbound) isAction() {}
func (RemoveChild) isAction()     {}

// ChildSA is one direction of a child, ready to be installed: ESP, transport mode, RFC 2409 section 5.5 key material.
type ChildSA struct {
	Client ClientID
	Child  ChildID
	SPI    uint32

	// Local and Remote are the outer addresses, the ports those of UDP encapsulation when Encapsulated is true.
	Local, Remote netip.AddrPort
	Encapsulated  bool

	Encryption Encryption
	Integrity  Integrity

	// EncryptionKey and IntegrityKey belong to the engine, which overwrites them when the action is completed: copy what has
	// to live longer. For AESGCM16 the key is followed by the salt of 4 octets (RFC 4106 section 8.1), and IntegrityKey is empty.
	EncryptionKey, IntegrityKey []byte

	// Lifetime is what the client asked for, at most [MaxLifetime]. The engine removes the child when it ends.
	Lifetime time.Duration
}

// Result is the outcome of an action: [DHResult] for [ComputeDH], [SimpleResult] for every other.
type Result interface{ isResult() }

// DHResult is the outcome of [ComputeDH]. The engine overwrites Shared after use.
type DHResult struct {
	Public, Shared []byte
	Err            error
}

// SimpleResult is the outcome of an action that yields nothing but success or an error.
type SimpleResult struct{ Err error }

func (DHResult) isResult()     {}
func (SimpleResult) isResult() {}
