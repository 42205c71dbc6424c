package concentrator

import (
	"sync/atomic"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// dropNoClient is the reason, beside those of the L2TP engine, to drop a message for a slot whose client has gone.
const dropNoClient = "no_client"

// counters count what happened since the start. All but inboxFull belong to the loop.
type counters struct {
	ike  map[string]uint64 // dropped messages by reason
	l2tp map[string]uint64

	inboxFull atomic.Uint64 // datagrams dropped because the loop was busy

	panics       uint64
	sendErrors   uint64
	kernelErrors uint64
	noSlot       uint64
	lostSAs      uint64
	lostObjects  uint64
	portsTaken   uint64
	storeErrors  uint64 // records that could not be written down

	restored, unrestored uint64 // how often the steering table was put back, and could not be

	ikeReceived, ikeSent uint64
	ikeFailed            uint64
	phase1, children     uint64

	l2tpReceived, l2tpSent   uint64
	tunnelsUp, tunnelsDown   uint64
	sessionsUp, sessionsDown uint64
	authenticated, rejected  uint64
}

func newCounters() *counters {
	return &counters{ike: make(map[string]uint64), l2tp: make(map[string]uint64)}
}

// negotiationFailures are the reasons for which a handshake or a Quick Mode comes to nothing. Events that explain them are
// bounded in number, drops are not.
var negotiationFailures = map[ikev1.DropReason]bool{
	ikev1.DropNoPSK: true, ikev1.DropNoProposal: true, ikev1.DropAuthentication: true, ikev1.DropIdentities: true,
	ikev1.DropKeyExchange: true, ikev1.DropInstall: true, ikev1.DropTimeout: true,
}
