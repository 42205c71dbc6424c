package concentrator

import (
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// orphans removes what has no client: from the processes down to the SAs, so that nothing loses what it stands on.
func (a *adoption) orphans() {
	c := a.c
	complain := func(what string, err error) {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			c.counters.kernelErrors++
			c.Log.Warn("what the daemon before left cannot be removed: "+what, zap.Error(err))
		}
	}
	for name, process := range a.Processes {
		complain("pppd of "+name, process.Kill())
		go process.Wait() // until somebody has heard of its end, nobody else gets its interface's name
	}
	wanted := make(map[[2]uint16]bool)
	for _, cl := range c.clients {
		for _, s := range cl.sessions {
			wanted[[2]uint16{uint16(cl.port), s.id}] = true
		}
	}
	for _, id := range a.Estate.Sessions {
		if !wanted[id] {
			complain("a session", c.Tunnels.CloseSession(id[0], id[1]))
		}
	}
	for port, socket := range a.Sockets {
		complain("a tunnel", c.Tunnels.DeleteTunnel(uint32(port)))
		complain("the sockets of a slot", socket.Close())
		if c.allocator(slot.Port(port)).Take(slot.Port(port)) == nil {
			c.allocator(slot.Port(port)).Free(a.now, slot.Port(port)) // it rests first
		}
	}
	a.unknownSAs(complain)
	for port := range a.clients {
		if c.ports[port] == nil {
			a.forget(clientKey(port))
		}
	}
	for port, sessions := range a.sessions {
		for _, s := range sessions {
			if c.ports[port] == nil {
				a.forget(fmt.Sprintf("%s%d-%d", keySession, port, s.N))
				if !s.Up.IsZero() {
					a.lost++
				}
			}
		}
	}
	for key := range a.Records {
		if port, tunnel := numberOf(key, keyL2TP, 16); tunnel && c.ports[slot.Port(port)] == nil {
			a.forget(key)
		}
	}
	for nas := range a.logins {
		a.forget(loginKey(nas))
	}
	for id := range c.peers {
		if c.clients[id] == nil && len(c.IKE.Children(id)) > 0 { // its ESP leads nowhere
			c.applyIKE(a.now, c.IKE.CloseClient(a.now, id, unadopted))
		}
	}
}

// unknownSAs removes the SAs with our mark that no child has.
func (a *adoption) unknownSAs(complain func(string, error)) {
	c := a.c
	known := make(map[xfrm.ID]bool)
	for _, cl := range c.clients {
		for _, ch := range cl.children {
			known[ch.in], known[ch.out] = true, true
		}
	}
	for _, st := range a.states {
		if c.opt.Block.Owns(st.ReqID) && !known[st.ID] {
			_, err := c.SAs.Delete(st.ID)
			complain("an SA", err)
		}
	}
}
