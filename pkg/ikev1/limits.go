package ikev1

import (
	"container/list"
	"net/netip"
	"time"
)

// Limits that are not configurable.
const (
	maxDuplicates  = 5    // answers to retransmissions of one message
	maxQuickModes  = 3    // Quick Modes under way in one ISAKMP SA
	maxSAs         = 4    // ISAKMP SAs of one client
	maxOffer       = 4096 // octets of the SA payload of message 1, which has to be kept for HASH_I
	maxBadMessage5 = 16   // attempts to authenticate a handshake
	maxNotifies    = 20   // notifications of one message, as many deletes
	maxUsedIDs     = 128  // message IDs that are remembered against replay
	answersPerSec  = 10   // error notifications and failure events of peers that are not authenticated
)

// halfOpenTable counts the handshakes that are not authenticated yet.
type halfOpenTable struct {
	total   int
	perAddr map[netip.Addr]int

	// unproved are those that wait for message 3, oldest first. Their source address may be spoofed.
	unproved *list.List
}

func newHalfOpenTable() halfOpenTable {
	return halfOpenTable{perAddr: make(map[netip.Addr]int), unproved: list.New()}
}

// add counts sa, which has just answered message 1.
func (t *halfOpenTable) add(sa *isakmpSA) {
	t.total++
	t.perAddr[sa.remote.Addr()]++
	sa.halfOpen = true
	sa.unproved = t.unproved.PushBack(sa)
}

// prove takes sa out of those that may give way: its message 3 showed that it receives what we send.
func (t *halfOpenTable) prove(sa *isakmpSA) {
	if sa.unproved != nil {
		t.unproved.Remove(sa.unproved)
		sa.unproved = nil
	}
}

// remove stops counting sa. Its remote address has to be the one that it was added with.
func (t *halfOpenTable) remove(sa *isakmpSA) {
	if !sa.halfOpen {
		return
	}
	t.prove(sa)
	sa.halfOpen = false
	t.total--
	addr := sa.remote.Addr()
	if t.perAddr[addr]--; t.perAddr[addr] == 0 {
		delete(t.perAddr, addr)
	}
}

// admit says whether one more handshake from addr may begin, and makes room for it.
func (e *Engine) admit(d Datagram) bool {
	if e.halfOpen.perAddr[d.Remote.Addr()] >= e.cfg.HalfOpenPerAddr {
		e.drop(d, DropHalfOpenPerAddr)
		return false
	}
	if e.halfOpen.total < e.cfg.HalfOpenMax {
		return true
	}
	oldest := e.halfOpen.unproved.Front()
	if oldest == nil {
		e.drop(d, DropHalfOpenMax)
		return false
	}
	// A flood with spoofed addresses pushes itself out, while a client needs only one round trip to be proved.
	sa := oldest.Value.(*isakmpSA)
	e.emit(Dropped{Remote: sa.remote, Reason: DropHalfOpenMax})
	e.dropSA(sa, "too many handshakes")
	return true
}

// limiter allows a number of things in each second.
type limiter struct {
	second time.Time
	count  int
}

// allow counts one thing and says whether it is still within n for this second.
func (l *limiter) allow(now time.Time, n int) bool {
	if d := now.Sub(l.second); d >= time.Second || d < 0 {
		l.second, l.count = now, 0
	}
	l.count++
	return l.count <= n
}

// HalfOpen returns the number of handshakes that are not authenticated yet.
func (e *Engine) HalfOpen() int { return e.halfOpen.total }
