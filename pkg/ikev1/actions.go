package ikev1

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
)

// ClientID names one IPsec client: a local address, a remote address and port (after floating to the NAT-T port), and a
// phase 1 identity. It survives every rekeying, and is never used again.
type ClientID uint64

// ChildID names one pair of ESP SAs. It is never used again.
type ChildID uint64

// ActionID names one action until [Engine.Complete] is called for it, exactly once. Zero is no action.
type ActionID uint64

// Action is something the owner has to do: [ComputeDH], [VerifyPeer], [Sign], [InstallInbound], [InstallOutbound] or [RemoveChild].
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

	// Peer is the public value of the peer, nil if only ours is wanted.
	Peer []byte
}

// Perform does the computation.
func (a ComputeDH) Perform() DHResult {
	var r DHResult
	if a.Peer == nil {
		r.Public, r.Err = a.Private.Public()
	} else {
		r.Public, r.Shared, r.Err = a.Private.Exchange(a.Peer)
	}
	return r
}

// VerifyPeer asks whether a client that authenticates with a signature is who it says. Prove and what it returns, or Perform, which is both,
// may run on any goroutine. It is reported with the [VerifyResult] that comes out.
type VerifyPeer struct {
	ID    ActionID
	Claim pki.Claim

	trust *pki.Trust
}

// Prove does the part that works and never waits, which is all that a stranger can ask for. look is the rest: it may wait for the network,
// where revocations are looked up. It is nil for a client that is refused.
func (a VerifyPeer) Prove() (look func(context.Context) VerifyResult, refused VerifyResult) {
	proof, err := a.trust.Prove(a.Claim)
	if err != nil {
		return nil, VerifyResult{Err: err}
	}
	return func(ctx context.Context) VerifyResult {
		peer, err := proof.CheckRevocation(ctx)
		return VerifyResult{Peer: peer, Err: err}
	}, VerifyResult{}
}

// Perform does all of the work.
func (a VerifyPeer) Perform(ctx context.Context) VerifyResult {
	look, refused := a.Prove()
	if look == nil {
		return refused
	}
	return look(ctx)
}

// Sign asks for our own signature; Perform may run on any goroutine. It is reported with the [SignResult] that Perform returned.
type Sign struct {
	ID   ActionID
	Hash []byte // HASH_I or HASH_R

	credential *pki.Credential
}

// Perform does the work. rand must be cryptographically secure.
func (a Sign) Perform(rand io.Reader) SignResult {
	signature, err := a.credential.Sign(rand, a.Hash)
	return SignResult{Signature: signature, Err: err}
}

// ErrFull is the error of an [InstallInbound] for which there is no room, whatever the SA.
var ErrFull = errors.New("no room for another client")

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
func (a VerifyPeer) ActionID() ActionID { return a.ID }

// ActionID returns a.ID.
func (a Sign) ActionID() ActionID { return a.ID }

// ActionID returns a.ID.
func (a InstallInbound) ActionID() ActionID { return a.ID }

// ActionID returns a.ID.
func (a InstallOutbound) ActionID() ActionID { return a.ID }

// ActionID returns a.ID.
func (a RemoveChild) ActionID() ActionID { return a.ID }

func (ComputeDH) isAction()       {}
func (VerifyPeer) isAction()      {}
func (Sign) isAction()            {}
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
	// to live longer. For AES-GCM the key is followed by the salt of 4 octets (RFC 4106 section 8.1), and IntegrityKey is empty.
	EncryptionKey, IntegrityKey []byte

	// ESN says that sequence numbers have 64 bits (RFC 4303 section 2.2.1).
	ESN bool

	// Lifetime is what the client asked for, at most [Config.MaxChildLifetime]. The engine removes the child when it ends.
	Lifetime time.Duration

	// LifetimeBytes is the traffic of one direction after which the client will rekey, 0 for no limit.
	LifetimeBytes uint64
}

// Result is the outcome of an action: [DHResult] for [ComputeDH], [VerifyResult] for [VerifyPeer], [SignResult] for [Sign],
// [SimpleResult] for every other, and for any action that could not be performed.
type Result interface{ isResult() }

// DHResult is the outcome of [ComputeDH]. The engine overwrites Shared after use.
type DHResult struct {
	Public, Shared []byte
	Err            error
}

// VerifyResult is the outcome of [VerifyPeer].
type VerifyResult struct {
	Peer pki.Peer
	Err  error
}

// SignResult is the outcome of [Sign].
type SignResult struct {
	Signature []byte
	Err       error
}

// SimpleResult is the outcome of an action that yields nothing but success or an error, and of any that was not even begun.
type SimpleResult struct{ Err error }

func (DHResult) isResult()     {}
func (VerifyResult) isResult() {}
func (SignResult) isResult()   {}
func (SimpleResult) isResult() {}
