package ikev1

import (
	"encoding/binary"
	"slices"
	"time"
)

// What we began, we rekey before it ends: when nine tenths of its life are over, a little earlier by chance so that not all do it at
// once, and again after retryPause if it fails.
const retryPause = 10 * time.Second

// switchPause is how long our traffic goes through a child that was replaced, at most a tenth of the life of the new one: the peer takes a
// while to install its SAs after message 3, which may be lost, too.
const switchPause = 5 * time.Second

// rekeyTime returns when to replace what lives from now on. An exchange that fails can be tried again, if the life is long enough.
func (e *Engine) rekeyTime(lifetime time.Duration) time.Time {
	early := max(lifetime/10, min(lifetime/3, 2*e.cfg.HalfOpenTimeout))
	if b, err := e.random(4); err == nil {
		early += time.Duration(uint64(lifetime/20) * uint64(binary.BigEndian.Uint32(b)) >> 32)
	}
	return e.now.Add(lifetime - early)
}

// Rekey replaces the newest child of a client by a new one. Its lifetime does it for connections of ours, the client for its own, so
// nobody has to call it. An unknown client, or one without an ISAKMP SA or a child, is no error.
func (e *Engine) Rekey(now time.Time, id ClientID) Output {
	e.now = now
	c := e.clients[id]
	if c == nil {
		return e.take()
	}
	for _, ch := range slices.Backward(c.children) {
		if ch.state == childEstablished {
			e.suspects.client = c
			e.guarded(c.key.remote, func() { e.rekeyChild(ch) })
			break
		}
	}
	return e.take()
}

// rekeyChild begins a Quick Mode for a child that shall take the place of ch. Without an ISAKMP SA it begins with that.
func (e *Engine) rekeyChild(ch *child) {
	c := ch.client
	sa := c.newest()
	if sa == nil {
		if c.connection != nil && c.connection.calling == nil {
			// The Main Mode finds a child and begins no Quick Mode; the next try does.
			_ = e.mainMode(c.connection, c.local, c.key.remote, c.encapsulated)
			e.rekeyLater(ch)
		}
		return
	}
	for _, q := range sa.quick {
		if q.replaces == ch {
			return
		}
	}
	for _, other := range c.children {
		if other.replaces == ch {
			return
		}
	}
	e.beginQuickMode(sa, ch.terms, ch)
}

// rekeyLater tries again in time.
func (e *Engine) rekeyLater(ch *child) {
	if !ch.agreed() || !ch.initiator {
		return
	}
	e.touch(ch.client)
	ch.rekeyAt = e.now.Add(max(ch.expires.Sub(e.now)/4, retryPause))
	e.timers.set(&ch.timer, ch.deadline())
}

// switchLater has our traffic go through ch, which has just been agreed upon, when the peer is ready for it. Nothing waits if there is no
// other child to send through.
func (e *Engine) switchLater(ch *child) {
	e.touch(ch.client)
	if ch.replaces == nil || ch.replaces.state != childEstablished {
		e.installOutbound(ch)
		return
	}
	ch.switchAt = e.now.Add(min(switchPause, ch.lifetime/10))
	e.timers.set(&ch.timer, ch.switchAt)
}

// retireChild lets a child that was replaced live on for packets on their way, and until the peer has either got message 3 of the new
// one, or given it up and deleted it.
func (e *Engine) retireChild(ch *child) {
	if ch.state != childEstablished || ch.retired {
		return
	}
	ch.rekeyAt, ch.retired, ch.ends = time.Time{}, true, ch.expires
	ch.expires = earliest(ch.expires, e.now.Add(e.cfg.HalfOpenTimeout))
	e.timers.set(&ch.timer, ch.expires)
}

// resumeChild lets a child that was to be replaced go on, for the new one is gone.
func (e *Engine) resumeChild(ch *child) {
	if ch.state != childEstablished || !ch.retired {
		return
	}
	ch.retired, ch.expires = false, ch.ends
	e.timers.set(&ch.timer, ch.expires)
	e.rekeyLater(ch)
}

// revive begins a Quick Mode for a client that we have called and that has lost its last child. Only a few times, for the peer may
// not want any; then the wait for a child ends it.
func (e *Engine) revive(c *client) {
	sa := c.newest()
	if sa == nil || c.connection == nil || c.connection.client != c || e.refusing {
		return
	}
	under := func(ch *child) bool { return ch.agreed() || ch.initiator }
	if !slices.ContainsFunc(c.children, under) && c.revivals.allow(e.now, time.Minute, revivalsPerMinute) {
		e.beginQuickMode(sa, c.connection.terms(), nil)
	}
}

// scheduleReauthentication plans the Main Mode that replaces sa.
func (e *Engine) scheduleReauthentication(sa *isakmpSA) {
	sa.replaceAt = e.rekeyTime(sa.lifetime)
	e.rearm(sa)
}

// reauthenticate begins the Main Mode that replaces sa, if sa is still the one in use.
func (e *Engine) reauthenticate(sa *isakmpSA) {
	sa.replaceAt = time.Time{}
	if c := sa.client; c.newest() == sa && c.connection != nil && !e.refusing {
		sa.replaceAt = e.now.Add(max(sa.expires.Sub(e.now)/4, retryPause)) // in case it does not succeed
		if c.connection.calling == nil {
			_ = e.mainMode(c.connection, sa.local, sa.remote, sa.encapsulated)
		}
	}
	e.rearm(sa)
}

// retire lets an ISAKMP SA that was replaced live on for the exchanges that are under way in it.
func (e *Engine) retire(sa *isakmpSA) {
	sa.replaceAt, sa.retired = time.Time{}, true
	sa.expires = earliest(sa.expires, e.now.Add(e.cfg.HalfOpenTimeout))
	e.rearm(sa)
}
