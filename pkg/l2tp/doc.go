// Package l2tp is the control plane of an L2TPv2 network server (LNS) as a pure state machine: RFC 2661 control connections
// and incoming calls, without sockets, clock, goroutines or global randomness.
//
// The owner feeds datagrams, time and finished actions into an Engine and performs what comes out, in order: actions first
// (kernel tunnels and sessions), then datagrams, then events. A message that promises an effect (SCCRP, ICRP) is not sent before
// the effect was reported through Complete.
//
// Every peer is heard in a slot of its own, which is also the local tunnel id. A slot has at most one tunnel, and a control
// message that names another tunnel id is dropped as forged. The engine trusts the slot number of a Datagram: the owner must
// derive it from something that the peer cannot choose, such as the IPsec SA that decrypted the packet.
//
// A closed tunnel is remembered for half a minute to acknowledge what its peer repeats. Before a slot is given to another peer, call
// Forget and perform the deletions that it asks for.
//
// With Config.Records each Output has the state of what changed, and Engine.Restore makes of that state, in another process, the engine that
// there was: sequence numbers, messages on their way, timers, calls and actions. Not restored are messages that came before their
// turn, which the peer repeats; ids of sessions that are over for the kernel too, which may be drawn again; and that Shutdown was called.
//
// An Engine is not safe for concurrent use.
//
// Limitations: LNS side of incoming calls only; outgoing calls are refused. There is no tunnel authentication: no secret is
// known, so a Challenge stays unanswered and hidden AVPs count as unrecognised. Data messages belong to the kernel.
package l2tp
