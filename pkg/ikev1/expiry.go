package ikev1

import (
	"slices"
	"time"
)

// Expired tells the engine that an SA of a child has reached a limit of [ChildSA] in the kernel; it may be told of both SAs. At a soft
// limit nothing happens: the child is replaced by who has begun its Quick Mode, which is the client, at a count of its own. At a hard
// limit the kernel has deleted the SA, so the child is removed and the client told so (RFC 2408 section 3.15). Unknown IDs are no error.
func (e *Engine) Expired(now time.Time, id ClientID, childID ChildID, hard bool) Output {
	e.now = now
	c := e.clients[id]
	if c == nil || !hard {
		return e.take()
	}
	if i := slices.IndexFunc(c.children, func(ch *child) bool { return ch.id == childID }); i >= 0 {
		e.childExpired(c.children[i])
	}
	return e.take()
}

// childExpired removes a child that has lost an SA.
func (e *Engine) childExpired(ch *child) {
	const reason = "the kernel has ended an SA at its hard limit"
	for _, sa := range ch.client.sas {
		for _, q := range sa.quickModes() {
			if q.child == ch {
				e.dropQuickMode(q, reason)
				return
			}
		}
	}
	e.sendDeleteChild(ch)
	e.removeChild(ch, reason, false)
	e.reap(ch.client, reason)
}
