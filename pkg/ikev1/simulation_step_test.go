package ikev1_test

import (
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// choice is something that may happen, and how likely it is beside the others.
type choice struct {
	weight int
	name   string
	do     func()
}

// step does one thing at random and names it.
func (s *simulation) step() string {
	i := s.rng.IntN(2)
	e := s.ends[i]
	steps := []choice{
		{8, "connect", func() { s.connect(i) }},
		{2, "both connect", func() { s.connect(0); s.connect(1) }},
		{2, "disconnect", func() { s.disconnect(i) }},
		{2, "disconnect and connect", func() { s.disconnect(i); s.connect(i) }},
		{5, "rekey", func() { s.rekey(e) }},
		{2, "both rekey", func() { s.rekey(e); s.rekey(e.other) }},
		{2, "close a client", func() {
			if c, ok := s.client(e); ok {
				e.absorb(e.engine.CloseClient(s.now, c.ID, "closed by the operator"))
			}
		}},
		{2, "expire", func() { s.expire(e) }},
		{2, "restart and connect", func() {
			if s.calm && s.ends[0].nat != nil {
				i = 0 // nobody can call who is behind the NAT
			}
			s.restart(i)
			s.connect(i)
		}},
		{2, "rebind and send ESP", s.rebindESP},
		{3, "nothing", func() {}},
	}
	if !s.calm {
		steps = append(steps, []choice{
			{1, "restart", func() { s.restart(i) }},
			{3, "rebind", func() {
				if s.ends[0].nat != nil {
					s.rebind()
				}
			}},
			{2, "cut off", func() {
				e.deaf = true
				s.after(s.upTo(10*time.Minute), func() { e.deaf = false })
			}},
			{1, "a good network", s.good},
			{2, "a bad network", s.bad},
		}...)
	}
	total := 0
	for _, st := range steps {
		total += st.weight
	}
	at := s.rng.IntN(total)
	for _, st := range steps {
		if at -= st.weight; at < 0 {
			s.note("%s: %s", e.name, st.name)
			st.do()
			return st.name
		}
	}
	return ""
}

// connect begins a connection of one end, which may have one already.
func (s *simulation) connect(i int) {
	s.connections[i] = append(s.connections[i], s.ends[i].up().connect(s.connection(i)))
}

// connection is what an end connects.
func (s *simulation) connection(i int) ikev1.Connection {
	c := s.ends[i].connection()
	c.Lifetime, c.ChildLifetime, c.PFS, c.ESN = s.lifetime, s.childLifetime, s.pfs, s.esn
	return c
}

// disconnect ends one of the connections that an end has begun, whatever has become of it.
func (s *simulation) disconnect(i int) {
	list := s.connections[i]
	if len(list) == 0 {
		return
	}
	n := s.rng.IntN(len(list))
	e := s.ends[i].up()
	e.absorb(e.engine.Disconnect(s.now, list[n], "disconnected"))
	s.connections[i] = append(list[:n:n], list[n+1:]...)
}

// client returns a client of an end.
func (s *simulation) client(e *end) (ikev1.ClientInfo, bool) {
	list := e.up().engine.Clients()
	if len(list) == 0 {
		return ikev1.ClientInfo{}, false
	}
	return list[s.rng.IntN(len(list))], true
}

func (s *simulation) rekey(e *end) {
	if c, ok := s.client(e); ok {
		e.absorb(e.engine.Rekey(s.now, c.ID))
	}
}

// expire lets the kernel of an end delete an SA at its hard limit.
func (s *simulation) expire(e *end) {
	c, ok := s.client(e)
	if !ok || len(c.Children) == 0 {
		return
	}
	ch := c.Children[s.rng.IntN(len(c.Children))]
	if s.rng.IntN(2) == 0 {
		delete(e.inbound, ch.SPIIn)
	} else {
		delete(e.outbound, ch.SPIOut)
	}
	e.absorb(e.engine.Expired(s.now, c.ID, ch.ID, true))
}

// restart throws an engine away with its kernel. Nobody is told.
func (s *simulation) restart(i int) {
	s.connections[i] = nil
	s.ends[i].begin(s.seed)
}

// rebindESP lets the NAT have new ports, of which the right end learns by ESP of one of its clients.
func (s *simulation) rebindESP() {
	left, right := s.ends[0], s.ends[1]
	if left.nat == nil {
		return
	}
	s.rebind()
	for _, c := range right.up().engine.Clients() {
		if c.Encapsulated && len(c.Children) > 0 {
			at := left.outward(netip.AddrPortFrom(left.addr, 4500))
			right.absorb(right.engine.Moved(s.now, c.ID, at))
			return
		}
	}
}
