// Package protocol is what the keeper and the daemon say to each other.
//
// They speak over a connected socket of type SOCK_SEQPACKET. A [Message] is a request, a reply or an event, travels in one or more
// frames, and may carry file descriptors. Bodies are CBOR (RFC 8949) with numbers for the names of fields: a field that one side does not
// know is passed over, and one that is missing has its zero value.
//
// Requests have effect in the order in which they are sent, but for those that [Op.Long] names, which are done side by side. A request
// with id 0 gets no reply. What has been written to the connection has effect even if the writer dies the moment after.
//
// # Versions
//
// The first message is a [Hello] with the daemon's number of the protocol. The keeper takes its own number and the older ones from
// [Oldest] on, and says for others what it takes; so a daemon can turn to an older keeper if it knows how to. Frames, Hello, Welcome and
// Refusal are the same in all versions. A field may be added to a message without a new number if either side can do without it.
//
// SAs, tunnels, sessions and the configuration of steering travel as the types of the libraries, with the Go names of their fields. A test
// finds it if one of these names changes, which is a new version.
package protocol

import "fmt"

// The versions of the protocol that this build speaks.
const (
	Current uint32 = 1
	Oldest  uint32 = 1
)

// Op is what a request asks for, or what an event tells.
type Op uint16

// Requests. Their bodies and those of their replies are in brackets; where there is none the body is empty.
const (
	OpHello    Op = 1 // [Hello], [Welcome]
	OpSetup    Op = 2 // [Setup], [Inventory]
	OpStore    Op = 3 // [Store]; one-way
	OpHold     Op = 4 // [Name] and a file
	OpRelease  Op = 5 // [Name]
	OpShutdown Op = 6
	OpMonitor  Op = 7 // the reply has a netlink socket that hears of our SAs
	OpPrepare  Op = 8 // OpSetup whose Inventory has nothing but the held files

	OpAddSA    Op = 16 // [xfrm.State]
	OpDeleteSA Op = 17 // a list of [xfrm.ID], a list of [xfrm.Stats]
	OpGetSA    Op = 19 // [xfrm.ID], [xfrm.State] without keys
	OpListSAs  Op = 20 // a list of [xfrm.State] without keys
	OpMoveSA   Op = 21 // [SAMove], [xfrm.ID]

	OpCreateTunnel Op = 32 // [Tunnel]
	OpDeleteTunnel Op = 33 // [TunnelID]
	OpGetTunnel    Op = 34 // [TunnelID], [l2tpnl.Tunnel]
	OpListTunnels  Op = 35 // a list of [l2tpnl.Tunnel]
	OpOpenSession  Op = 36 // [Session]
	OpCloseSession Op = 37 // [SessionID]
	OpGetSession   Op = 38 // [SessionID], [l2tpnl.Session]
	OpListSessions Op = 39 // a list of [l2tpnl.Session]

	OpOpenClient  Op = 48 // [OpenClient]; the reply has the socket
	OpConnect     Op = 49 // [Connect]; the reply has the socket
	OpDisconnect  Op = 50 // [Port]
	OpCloseClient Op = 51 // [Port]
	OpReconnect   Op = 52 // [Connect]

	OpStartPPP     Op = 64 // [PPP], [Process]
	OpTerminatePPP Op = 65 // [Name] of the interface
	OpKillPPP      Op = 66 // [Name] of the interface
	OpForgetPPP    Op = 67 // [Name] of the interface

	OpReadSteering   Op = 80 // [Counters]
	OpSteeringIntact Op = 81 // [Intact]
	OpEncrypts       Op = 96 // [Way]
)

// Events, from the keeper to the daemon.
const (
	OpRestoration Op = 1 // [Restoration]
	OpStopping    Op = 2
	OpPPPLog      Op = 3 // [Line]
	OpPPPEnded    Op = 4 // [Process]
)

// Long tells that a request may take so long that others need not wait for it. Only the order of the others is kept.
func (o Op) Long() bool {
	switch o {
	case OpSetup, OpPrepare, OpShutdown, OpMonitor, OpListSAs, OpListTunnels, OpListSessions, OpStartPPP, OpReadSteering, OpSteeringIntact:
		return true
	}
	return false
}

var opNames = map[Op]string{
	OpHello: "hello", OpSetup: "set up", OpPrepare: "prepare", OpStore: "store", OpHold: "hold", OpRelease: "release", OpShutdown: "shut down", OpMonitor: "monitor SAs",
	OpAddSA: "add an SA", OpDeleteSA: "delete SAs", OpGetSA: "get an SA", OpListSAs: "list SAs", OpMoveSA: "move an SA",
	OpCreateTunnel: "create a tunnel", OpDeleteTunnel: "delete a tunnel", OpGetTunnel: "get a tunnel", OpListTunnels: "list tunnels",
	OpOpenSession: "open a session", OpCloseSession: "close a session", OpGetSession: "get a session", OpListSessions: "list sessions",
	OpOpenClient: "open a client's socket", OpConnect: "connect a client's socket", OpDisconnect: "disconnect a client's socket",
	OpCloseClient: "close a client's sockets", OpReconnect: "connect a client's socket to elsewhere", OpStartPPP: "start PPP", OpTerminatePPP: "terminate PPP", OpKillPPP: "kill PPP",
	OpForgetPPP: "forget PPP", OpReadSteering: "read steering counters", OpSteeringIntact: "compare the steering table", OpEncrypts: "try an SA",
}

// String names a request.
func (o Op) String() string {
	if name, ok := opNames[o]; ok {
		return name
	}
	return fmt.Sprintf("request %d", uint16(o))
}
