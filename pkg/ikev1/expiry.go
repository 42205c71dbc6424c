package ikev1

import (
	"slices"
	"time"
)

// Expired tells the engine that an SA of a child has reached a limit of [ChildSA] in the kernel; it may be told of both SAs, and more
// than once. At a soft limit the child is replaced if we have begun its Quick Mode; a client replaces its own at a count of its own. At
// a hard limit the kernel has deleted the SA, so the child is removed and the client told so (RFC 2408 section 3.15). Unknown IDs are no error.
func (e *Engine) Expired(now time.Time, id ClientID, childID ChildID, hard bool) Output {
	e.now = now
	c := e.clients[id]
	if c == nil {
		return e.take()
	}
	if i := slices.IndexFunc(c.children, func(ch *child) bool { return ch.id == childID }); i >= 0 {
		e.suspects.client = c
		e.guarded(c.key.remote, func() {
			switch ch := c.children[i]; {
			case hard:
				e.childExpired(ch, "the kernel has ended an SA at its hard limit")
			case ch.initiator && ch.state == childEstablished && !ch.retired:
				e.rekeyChild(ch)
			}
		})
	}
	return e.take()
}

// Lost tells that an SA of a child is not in the kernel any more, for a reason that goes into events. The child is removed like one at
// its hard limit, so that the peer negotiates anew.
func (e *Engine) Lost(now time.Time, id ClientID, childID ChildID, reason string) Output {
	e.now = now
	if c := e.clients[id]; c != nil {
		if i := slices.IndexFunc(c.children, func(ch *child) bool { return ch.id == childID }); i >= 0 {
			e.suspects.client = c
			e.guarded(c.key.remote, func() { e.childExpired(c.children[i], reason) })
		}
	}
	return e.take()
}

// childExpired removes a child that has lost an SA.
func (e *Engine) childExpired(ch *child, reason string) {
	for _, sa := range ch.client.sas {
		for _, q := range sa.quickModes() {
			if q.child == ch && q.state != quickDone {
				e.dropQuickMode(q, reason)
				return
			}
		}
	}
	e.sendDeleteChild(ch)
	e.removeChild(ch, reason, false)
	e.reap(ch.client, reason)
	e.revive(ch.client)
}
