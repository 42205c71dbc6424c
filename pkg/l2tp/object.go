package l2tp

// object follows one kernel tunnel or session from the request to create it to the report of its end.
type object struct {
	state    objectState
	unwanted bool // to be deleted as soon as it is present and nothing depends on it
}

type objectState uint8

const (
	objectAbsent objectState = iota
	objectCreating
	objectPresent
	objectDeleting
)

// request is an action that was handed out and not yet reported.
type request struct {
	slot    *slot
	tunnel  *tunnel
	session *session // nil: the tunnel's own object
}

// ask hands out an action that make builds around a fresh ID.
func (st *step) ask(r request, make func(ActionID) Action) {
	st.e.lastAction++
	id := st.e.lastAction
	st.e.requests[id] = r
	r.slot.asked = id
	st.out.Actions = append(st.out.Actions, make(id))
}

// createTunnel asks for the kernel tunnel, unless a predecessor in the slot still has one: then it is asked for once that is gone.
func (st *step) createTunnel(t *tunnel) {
	if t.slot.owner != nil {
		return
	}
	t.slot.owner = t
	t.object.state = objectCreating
	st.ask(request{slot: t.slot, tunnel: t}, func(id ActionID) Action {
		return CreateTunnel{ID: id, Tunnel: t.slot.id, PeerTunnel: t.channel.peer, Remote: t.remote}
	})
}

// createSession asks for the kernel session of a call.
func (st *step) createSession(c *session) {
	c.object.state = objectCreating
	st.ask(request{slot: c.tunnel.slot, tunnel: c.tunnel, session: c}, func(id ActionID) Action {
		return CreateSession{
			ID: id, Tunnel: c.tunnel.slot.id, PeerTunnel: c.tunnel.channel.peer, Session: c.id, PeerSession: c.peer,
		}
	})
}

// releaseSession gives the kernel session up, now or when its creation is reported.
func (st *step) releaseSession(c *session) {
	switch {
	case c.object.state == objectAbsent || c.object.state == objectDeleting:
		return
	case !c.object.unwanted:
		c.object.unwanted = true
		c.tunnel.leave(c)
	}
	if c.object.state == objectPresent {
		st.deleteSession(c)
	}
}

// deleteSession asks for the end of a kernel session.
func (st *step) deleteSession(c *session) {
	c.object.state = objectDeleting
	st.ask(request{slot: c.tunnel.slot, tunnel: c.tunnel, session: c}, func(id ActionID) Action {
		return DeleteSession{ID: id, Tunnel: c.tunnel.slot.id, Session: c.id}
	})
}

// releaseTunnel gives the kernel tunnel up, once its creation and its sessions' ends are reported.
func (st *step) releaseTunnel(t *tunnel) {
	t.object.unwanted = true
	if t.object.state != objectPresent || len(t.leaving) > 0 {
		return
	}
	st.deleteTunnel(t)
}

// deleteTunnel asks for the end of a kernel tunnel.
func (st *step) deleteTunnel(t *tunnel) {
	t.object.state = objectDeleting
	st.ask(request{slot: t.slot, tunnel: t}, func(id ActionID) Action {
		return DeleteTunnel{ID: id, Tunnel: t.slot.id}
	})
}

// finished handles the report of a request. An error of a deletion is the owner's to log: to us the object is gone.
func (st *step) finished(r request, err error) {
	object := &r.tunnel.object
	if r.session != nil {
		object = &r.session.object
	}
	created := object.state == objectCreating && err == nil
	failed := object.state == objectCreating && err != nil
	object.state = objectAbsent
	if created {
		object.state = objectPresent
	}

	switch {
	case r.session != nil && object.unwanted && created:
		st.releaseSession(r.session)
	case r.session != nil && object.unwanted:
		if delete(r.tunnel.leaving, r.session.id); r.tunnel.object.unwanted {
			st.releaseTunnel(r.tunnel)
		}
	case r.session != nil:
		st.sessionCreated(r.session, err)
	case object.unwanted && created:
		st.releaseTunnel(r.tunnel)
	case !created:
		r.slot.owner = nil
		if failed && !object.unwanted {
			st.tunnelCreated(r.tunnel, err)
		}
		if next := r.slot.tunnel; next != nil && next.state == tunnelCreating {
			st.createTunnel(next)
		}
	default:
		st.tunnelCreated(r.tunnel, nil)
	}
}
