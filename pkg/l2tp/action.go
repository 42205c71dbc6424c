package l2tp

import (
	"fmt"
	"net/netip"
)

// ActionID names one action that the engine asked for. It is unique within the life of an Engine and never zero.
type ActionID uint64

// Action is an effect that the owner has to perform. Each is reported through Engine.Complete exactly once, with the error or
// nil. The engine asks for an object's deletion only after its creation was reported, and for a tunnel's deletion after its
// sessions' deletion; a new tunnel of the same number is asked for only after the deletion of the old one was reported.
type Action interface {
	fmt.Stringer
	// Identifier returns the ID to report the action with.
	Identifier() ActionID
}

// CreateTunnel asks for the kernel tunnel of a new control connection, and for the connected socket it runs over.
type CreateTunnel struct {
	ID         ActionID
	Tunnel     uint16         // ours, the slot
	PeerTunnel uint16         // the peer's, to be put into what we send; not zero
	Remote     netip.AddrPort // where the SCCRQ came from
}

// DeleteTunnel asks for the end of a kernel tunnel whose CreateTunnel succeeded. Control messages may still be sent and
// received in the slot afterwards.
type DeleteTunnel struct {
	ID     ActionID
	Tunnel uint16
}

// CreateSession asks for the kernel session of an incoming call. It is asked for at ICRQ, so that the peer's first frames after
// ICCN find it.
type CreateSession struct {
	ID          ActionID
	Tunnel      uint16
	PeerTunnel  uint16
	Session     uint16 // ours, random, not zero
	PeerSession uint16 // the peer's, not zero
}

// DeleteSession asks for the end of a kernel session whose CreateSession succeeded, and of the PPP engine on it.
type DeleteSession struct {
	ID      ActionID
	Tunnel  uint16
	Session uint16
}

var (
	_ Action = CreateTunnel{}
	_ Action = DeleteTunnel{}
	_ Action = CreateSession{}
	_ Action = DeleteSession{}
)

// Identifier implements Action.
func (a CreateTunnel) Identifier() ActionID { return a.ID }

// Identifier implements Action.
func (a DeleteTunnel) Identifier() ActionID { return a.ID }

// Identifier implements Action.
func (a CreateSession) Identifier() ActionID { return a.ID }

// Identifier implements Action.
func (a DeleteSession) Identifier() ActionID { return a.ID }

func (a CreateTunnel) String() string {
	return fmt.Sprintf("create tunnel %d (peer %d, %v)", a.Tunnel, a.PeerTunnel, a.Remote)
}

func (a DeleteTunnel) String() string { return fmt.Sprintf("delete tunnel %d", a.Tunnel) }

func (a CreateSession) String() string {
	return fmt.Sprintf("create session %d/%d (peer %d/%d)", a.Tunnel, a.Session, a.PeerTunnel, a.PeerSession)
}

func (a DeleteSession) String() string {
	return fmt.Sprintf("delete session %d/%d", a.Tunnel, a.Session)
}
