package ikev1_test

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// path is what lies between the two ends of a pair: what the network does to a datagram, as chances of 1 and the longest time.
type path struct {
	loss, twice float64
	delay       time.Duration
}

// nat is a NAT in front of one end, with the port that it has now for each of the end's own. Without ports it changes addresses
// only, as for a server whose ports are forwarded.
type nat struct {
	addr  netip.Addr
	ports map[uint16]uint16
}

// outer is the address by which others know an end.
func (e *end) outer() netip.Addr {
	if e.nat != nil {
		return e.nat.addr
	}
	return e.addr
}

// outward is where a datagram from one of the end's own ports seems to come from.
func (e *end) outward(from netip.AddrPort) netip.AddrPort {
	port := from.Port()
	if e.nat != nil && e.nat.ports != nil {
		port = e.nat.ports[port]
	}
	return netip.AddrPortFrom(e.outer(), port)
}

// inward is where a datagram to a port of the outer address ends; false: nowhere.
func (e *end) inward(to netip.AddrPort) (netip.AddrPort, bool) {
	if to.Addr() != e.outer() {
		return netip.AddrPort{}, false
	}
	if e.nat == nil || e.nat.ports == nil {
		return netip.AddrPortFrom(e.addr, to.Port()), true
	}
	for inner, outer := range e.nat.ports {
		if outer == to.Port() {
			return netip.AddrPortFrom(e.addr, inner), true
		}
	}
	return netip.AddrPort{}, false
}

// transmit brings a datagram to the other end, or not, or twice.
func (e *end) transmit(d ikev1.Datagram) {
	copies := 1
	switch x := e.rng.Float64(); {
	case x < e.loss || e.deaf:
		copies = 0
	case x < e.loss+e.twice:
		copies = 2
	}
	from, payload := e.outward(d.Local), bytes.Clone(d.Payload)
	for range copies {
		e.after(time.Millisecond+e.upTo(e.delay), func() { e.other.receive(from, d.Remote, d.Encapsulated, payload) })
	}
}

// receive takes a datagram that has come as far as the end's outer address. The engine may keep nothing of it.
func (e *end) receive(from, to netip.AddrPort, encapsulated bool, payload []byte) {
	local, ok := e.inward(to)
	if !ok || e.deaf || encapsulated != (local.Port() == 4500) {
		return
	}
	if e.keepWhileDown(func() { e.receive(from, to, encapsulated, payload) }) {
		return
	}
	b := bytes.Clone(payload)
	out := e.engine.Handle(e.now, ikev1.Datagram{Local: local, Remote: from, Encapsulated: encapsulated, Payload: b})
	for i := range b {
		b[i] = 0xee
	}
	e.absorb(out)
}
