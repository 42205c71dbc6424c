package concentrator

import "sync/atomic"

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

	ikeReceived, ikeSent   uint64
	phase1, phase1Failed   uint64
	phase2Failed, children uint64

	l2tpReceived, l2tpSent   uint64
	tunnelsUp, tunnelsDown   uint64
	sessionsUp, sessionsDown uint64
	authenticated, rejected  uint64
}

func newCounters() *counters {
	return &counters{ike: make(map[string]uint64), l2tp: make(map[string]uint64)}
}
