package control

import (
	"net/netip"
	"time"
)

// The severities of events.
const (
	SeverityInfo    = "info"    // nothing to do
	SeverityWarning = "warning" // something failed for a client
	SeverityError   = "error"   // something failed for the daemon
)

// EventsLost is the kind of the event that stands for those that were forgotten before they were read.
const EventsLost = "events_lost"

// Event is a fact for operators. What does not apply is zero. It carries no secrets.
type Event struct {
	Seq        uint64         `json:"seq" table:"wide"` // from 1 in each run of the daemon, without gaps
	Time       time.Time      `json:"time" table:"col,time"`
	Severity   string         `json:"severity" table:"col"` // info, warning or error
	Kind       string         `json:"kind" table:"col"`     // such as client_failed
	Peer       netip.AddrPort `json:"peer" table:"col"`     // outer public address and port
	User       string         `json:"user" table:"col"`
	Cause      string         `json:"cause" table:"col"` // of a failure, such as psk_mismatch
	Text       string         `json:"text" table:"col"`  // what happened, for people
	ClientID   uint64         `json:"client_id" table:"wide"`
	TunnelID   uint16         `json:"tunnel_id" table:"wide"`
	SessionID  string         `json:"session_id" table:"wide"`
	ClientKind string         `json:"client_kind" table:"wide"` // who the client seems to be, such as windows
	Identity   string         `json:"identity" table:"wide"`    // Phase 1 identity
	Hint       string         `json:"hint" table:"wide"`        // the one setting, or step at the client, that would cure it
	Offered    string         `json:"offered" table:"wide"`     // proposals of the client, separated by ", "
	Allowed    string         `json:"allowed" table:"wide"`     // proposals of the server, separated by ", "
}

// EventQuery selects events. The zero value stands for all that are remembered.
type EventQuery struct {
	Since uint64 // only events with a higher number; one from before a restart of the daemon counts as zero
	Limit int    // at most so many, the latest; zero: all
}
