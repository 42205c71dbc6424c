package ikev1

// A NAT may give a client another address, and not only another port: it gets another one itself, or the client goes from one network
// to another. Nothing in IKEv1 tells of it. Who sends a message of an ISAKMP SA that is authentic, and has not been seen before, is
// taken to be where it came from, if it came to port 4500; RFC 3947 section 4 and RFC 3948 have ports in mind, but a peer behind a
// NAT does not choose between the two.
//
// Whoever sees the messages of a client can send a copy of one from his own address. It is a repetition and moves nothing, unless the
// copy is the first to arrive; then the next message of the client moves it back.

// roams says whether the message d of sa may come from another address than those before. This says nothing of its authenticity.
func (sa *isakmpSA) roams(d Datagram) bool {
	return sa.state == established && sa.client.roams() && d.Encapsulated
}

// roams says whether c may be moved to another address: one behind a NAT that called us. Where those are that we call, we know.
func (c *client) roams() bool { return c.encapsulated && c.connection == nil }

// complete says that no ID has been forgotten yet, so that an exchange which is not in the memory is new.
func (m *idMemory) complete() bool { return len(m.ids) < maxUsedIDs }

// admitsRoaming says whether c may have the address of d, which it has not been at before.
func (e *Engine) admitsRoaming(c *client, d Datagram) bool {
	from, to := d.Remote.Addr(), c.local.Addr()
	if !c.roams() || !d.Encapsulated || d.Local.Addr() != to || from.Is4() != to.Is4() {
		return false
	}
	host := hostOf(from)
	if host != hostOf(c.key.remote.Addr()) && e.perHost[host] >= e.cfg.MaxClientsPerAddr {
		e.drop(d, DropMaxClientsPerAddr)
		return false
	}
	return true
}
