package ikev1

import "time"

// Limits that are not configurable.
const (
	maxDatagram     = 10000 // octets of a message in one datagram
	maxDuplicates   = 5     // answers to retransmissions of one message of an authenticated peer
	maxUnproved     = 2     // the same before authentication: a source address that is spoofed gets no more
	maxQuickModes   = 3     // Quick Modes under way in one ISAKMP SA
	maxSAs          = 4     // ISAKMP SAs of one client
	maxOffer        = 4096  // octets of the SA payload of message 1, which has to be kept for HASH_I
	maxBadMessage5  = 16    // attempts to authenticate a handshake
	maxCertificates = 8     // of one message
	maxIdentity     = 2048  // octets of an ID payload, which is kept as long as the client; DNs are the longest
	maxNotifies     = 20    // notifications of one message, as many deletes
	maxUsedIDs      = 256   // message IDs of the peer that are remembered against replay, as many of ours
	answersPerSec   = 10    // error notifications and failure events of peers that are not authenticated, and of all that are

	failuresPerMinute = 4 // failure events of one client, and as many refusals of exchanges
	revivalsPerMinute = 3 // Quick Modes that we begin because the last child of a client is gone

	// aggressivePerSec bounds the Diffie-Hellmans for message 1 of Aggressive Mode, of all peers together: anybody can send it in
	// anybody's name. A core computes many times as many with MODP2048.
	aggressivePerSec = 50
	maxGroupName     = 64 // octets
)

// admit says whether one more handshake from d may begin, and makes room for it.
//
// Anybody can send message 1 in anybody's name. So handshakes that have not sent message 3 never keep others out: the oldest one
// gives way, and a flood pushes itself out, while a client needs only one round trip to be proved. How long that may take in a flood
// follows from how many there may be.
func (e *Engine) admit(d Datagram) bool {
	t := &e.halfOpen
	if o := t.origins[hostOf(d.Remote.Addr())]; o != nil && o.count >= e.cfg.HalfOpenPerAddr && !e.giveWay(o.unproved.first, DropHalfOpenPerAddr) {
		e.refuseHandshake(d, DropHalfOpenPerAddr, "ike.half_open_per_address", e.cfg.HalfOpenPerAddr)
		return false
	}
	if o := t.origins[networkOf(d.Remote.Addr())]; o != nil && o.count >= e.cfg.HalfOpenPerNetwork && !e.giveWay(o.unproved.first, DropHalfOpenPerNetwork) {
		e.refuseHandshake(d, DropHalfOpenPerNetwork, "ike.half_open_per_network", e.cfg.HalfOpenPerNetwork)
		return false
	}
	return t.total-t.proved < e.cfg.UnprovedMax || e.giveWay(t.unproved.first, DropUnprovedMax)
}

// refuseHandshake counts a message 1 that a limit keeps out, and explains it now and then.
func (e *Engine) refuseHandshake(d Datagram, reason DropReason, setting string, limit int) {
	e.failUnauthenticated(d, reason, because(CauseHalfOpen, Facts{Setting: setting, Limit: limit}))
}

// admitProved says whether one more handshake may go on with message 3, and makes room for it. Who has many addresses is in the way
// first.
func (e *Engine) admitProved(d Datagram) bool {
	if e.halfOpen.proved >= e.cfg.HalfOpenMax && !e.giveWay(e.halfOpen.heaviest(), DropHalfOpenMax) {
		e.drop(d, DropHalfOpenMax)
		return false
	}
	return true
}

// giveWay drops a handshake to make room; false: there is none.
func (e *Engine) giveWay(sa *isakmpSA, reason DropReason) bool {
	if sa == nil {
		return false
	}
	e.emit(Dropped{Remote: sa.remote, Reason: reason})
	e.dropSA(sa, "too many handshakes")
	return true
}

// limiter allows a number of things in each period of time.
type limiter struct {
	since time.Time
	count int
}

// allow counts one thing and says whether it is still within n for this period.
func (l *limiter) allow(now time.Time, period time.Duration, n int) bool {
	if d := now.Sub(l.since); d >= period || d < 0 {
		l.since, l.count = now, 0
	}
	l.count++
	return l.count <= n
}

// HalfOpen returns the number of handshakes that are not authenticated yet.
func (e *Engine) HalfOpen() int { return e.halfOpen.total }
