package l2tp

// DropReason says why a datagram or a message had no effect. The values are few and fixed, so that they can be counters.
type DropReason string

// Reasons of Dropped events.
const (
	DropMalformed      DropReason = "malformed"       // no L2TP control header of RFC 2661 3.1
	DropVersion        DropReason = "version"         // L2TP, but not version 2
	DropData           DropReason = "data"            // data message: the kernel has no session for it
	DropForgedTunnel   DropReason = "forged_tunnel"   // names a tunnel id that is not the slot's
	DropForgedSource   DropReason = "forged_source"   // right tunnel id, but not from the tunnel's address and port
	DropUnknownTunnel  DropReason = "unknown_tunnel"  // the slot has no tunnel
	DropEarly          DropReason = "early"           // tunnel id 0 and not SCCRQ, such as Apple's HELLO before the set-up
	DropBadSetup       DropReason = "bad_sccrq"       // SCCRQ without usable Assigned Tunnel ID or with Ns other than 0
	DropDuplicate      DropReason = "duplicate"       // seen before; acknowledged again
	DropOutOfWindow    DropReason = "out_of_window"   // Ns too far ahead
	DropBadAck         DropReason = "bad_ack"         // Nr acknowledges what was never sent
	DropUnknownSession DropReason = "unknown_session" // names a session that does not exist (any more)
	DropUnsupported    DropReason = "unsupported"     // a message type that is unknown or has no meaning for an LNS
	DropClosed         DropReason = "closed"          // the tunnel is closed and only acknowledges
	DropStale          DropReason = "stale"           // belongs to the tunnel that this one replaced
	DropUnsendable     DropReason = "unsendable"      // ours, too long; names are checked by New, so it means a defect
	DropUnrecorded     DropReason = "unrecorded"      // not a message: a slot's state could not be encoded; means a defect
	DropManyCalls      DropReason = "many_calls"      // ICRQ beyond Config.CallsPerMinute; answered with CDN
	DropManyTunnels    DropReason = "many_tunnels"    // SCCRQ beyond Config.TunnelsPerMinute; not answered
	DropRefusing       DropReason = "refusing"        // ICRQ, answered with CDN, or SCCRQ, not answered, after Engine.Refuse
	DropNoFirstType    DropReason = "no_message_type" // the first AVP is not the Message Type
)
