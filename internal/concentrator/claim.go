package concentrator

import "github.com/l2tpctl/l2tpctl/pkg/xfrm"

// claim gives children the outbound SAs that the daemon before has installed and had no time to write down: a second one with the same keys would
// use the same sequence numbers again. Clients behind one NAT may have chosen the same SPI; the reqid tells whose the SA is.
func (a *adoption) claim() {
	c := a.c
	free := make(map[xfrm.ID]xfrm.State, len(a.states))
	for _, st := range a.states {
		free[st.ID] = st
	}
	for _, cl := range c.clients {
		for _, ch := range cl.children {
			delete(free, ch.out)
		}
	}
	for _, installed := range c.IKE.Installed() {
		cl := c.clients[installed.Out.Client]
		if cl == nil || cl.children[installed.Out.Child] == nil {
			continue
		}
		ch := cl.children[installed.Out.Child]
		st, there := free[xfrm.ID{Dst: installed.Out.Remote.Addr(), SPI: installed.Out.SPI}]
		if ch.out.SPI != 0 || !there || st.ReqID != c.opt.Block.Mark(cl.port) {
			continue
		}
		delete(free, st.ID)
		ch.out, ch.outPlace = st.ID, placement{ch.inPlace.device, st.Offload}
		cl.ready = true
		c.ledger.client(cl)
	}
}
