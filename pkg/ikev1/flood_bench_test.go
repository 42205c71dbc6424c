package ikev1_test

import (
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// stranger is who sends message 1 number n of a flood with spoofed addresses.
func stranger(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(n >> 16), byte(n >> 8), byte(n)}), 500)
}

// BenchmarkRefusedMessage1 is the cost of a message 1 of which nothing is allowed.
func BenchmarkRefusedMessage1(b *testing.B) {
	for _, c := range []struct {
		name       string
		transforms int
	}{{"Windows", 5}, {"longest", 80}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			p := newPeer(1)
			p.Offer = nil
			for i := range c.transforms {
				p.Offer = append(p.Offer, ikev1test.Phase1Transform(uint8(i), 256, keymat.SHA256, dh.MODP1024))
			}
			message := p.MainMode().Message1()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				w.engine.Handle(w.now, ikev1.Datagram{Local: p.Server, Remote: stranger(n), Payload: message})
			}
		})
	}
}

// TestRefusalsAreCheap: what is not told the operator is not worded either.
func TestRefusalsAreCheap(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	p.Offer = nil
	for i := range 40 {
		p.Offer = append(p.Offer, ikev1test.Phase1Transform(uint8(i), 256, keymat.SHA256, dh.MODP1024))
	}
	message := p.MainMode().Message1()
	n := 0
	refuse := func() {
		n++
		w.engine.Handle(w.now, ikev1.Datagram{Local: p.Server, Remote: stranger(n), Payload: message})
	}
	for range 20 {
		refuse()
	}
	if allocs := testing.AllocsPerRun(50, refuse); allocs > 20 {
		t.Errorf("%v allocations to refuse an offer of 40 transforms", allocs)
	}
}

// BenchmarkAnsweredMessage1 is the cost of a message 1 in a flood that fills the table.
func BenchmarkAnsweredMessage1(b *testing.B) {
	w := newWorld(b)
	p := newPeer(1)
	message := p.MainMode().Message1()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		w.engine.Handle(w.now, ikev1.Datagram{Local: p.Server, Remote: stranger(n), Payload: message})
	}
}

// BenchmarkFlood is the cost of a message 1 of a flood that has filled the table, so that each displaces another: of all kinds of clients in
// turn.
func BenchmarkFlood(b *testing.B) {
	w := newWorld(b)
	messages := floodMessages()
	n := 0
	send := func() {
		n++
		one := messages[n%len(messages)]
		w.engine.Handle(w.now, ikev1.Datagram{Local: one.from.Server, Remote: stranger(n), Payload: one.payload})
	}
	for w.engine.HalfOpen() < ikev1.DefaultUnprovedMax {
		send()
	}
	b.ReportAllocs()
	for b.Loop() {
		send()
	}
}
