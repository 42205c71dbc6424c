package ikev1_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

func TestHalfOpenTimeout(t *testing.T) {
	for _, after := range []int{1, 3, 5} {
		w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenTimeout = 20 * time.Second })
		p := newPeer(1)
		m := p.MainMode()
		w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
		if after >= 3 {
			w.ok(m.TakeMessage4(w.ask(p, m.Message3(), "message 4")))
		}
		if after == 5 {
			m.PSK = []byte("wrong")
			m.Keys.SKEYID[0] ^= 1
			w.silent(p, m.Message5(), "a wrong message 5")
		}
		w.elapse(19 * time.Second)
		if w.engine.Next().IsZero() {
			t.Error("the handshake was forgotten too early")
		}
		w.elapse(2 * time.Second)
		want(t, len(w.take()), 0, "a responder does not retransmit in Main Mode")
		w.empty("the handshake timed out")
	}
}

// at puts a peer to another address.
func at(p *ikev1test.Peer, addr string) *ikev1test.Peer {
	p.Addr = netip.AddrPortFrom(netip.MustParseAddr(addr), p.Addr.Port())
	if p.Addr.Addr().Is6() {
		p.Server = netip.MustParseAddrPort("[2001:db8::1]:500")
	}
	p.Inner, p.Target, p.Identity = p.Addr, p.Server, wire.AddrID(p.Addr.Addr(), 0, 0)
	return p
}

func TestHalfOpenPerAddress(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenPerAddr, c.ChildWait = 3, -1 })
	// A stranger sends messages 1 in the name of somebody else, who comes in nevertheless.
	for n := range uint64(100) {
		p := at(newPeer(1000+n), "192.0.2.1")
		w.ask(p, p.MainMode().Message1(), "within the limit, or the oldest gives way")
		if n%50 == 0 {
			w.connect(at(newPeer(2000+n), "192.0.2.1"))
		}
	}
	want(t, w.engine.HalfOpen(), 3, "the limit holds")
	want(t, len(w.engine.Clients()), 1, "the client is connected")

	// Those who send message 3 are really there, and fill the limit.
	for n := range uint64(3) {
		w.greet(at(newPeer(3000+n), "192.0.2.1"))
	}
	p := at(newPeer(4000), "192.0.2.1")
	want(t, w.silent(p, p.MainMode().Message1(), "beyond the limit"), ikev1.DropHalfOpenPerAddr, "the reason")
	w.connect(newPeer(2)) // others are not concerned
	w.elapse(time.Minute)
	for n := range uint64(2) { // an established client does not count
		w.connect(at(newPeer(5000+n), "192.0.2.1"))
	}
}

// TestHalfOpenOrigins counts the handshakes with real addresses by where they come from.
func TestHalfOpenOrigins(t *testing.T) {
	for _, c := range []struct {
		name, one, other string // %d is a number
		most             int    // of one
		reason           ikev1.DropReason
	}{
		{"IPv4 network", "192.0.2.%d", "192.0.3.%d", 8, ikev1.DropHalfOpenPerNetwork},
		{"IPv6 host", "2001:db8:1:1::%x", "2001:db8:1:2::%x", 2, ikev1.DropHalfOpenPerAddr},
		{"IPv6 network", "2001:db8:1:%x::1", "2001:db8:2:%x::1", 8, ikev1.DropHalfOpenPerNetwork},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenPerAddr, c.ChildWait = 2, -1 })
			for n := range 20 {
				p := at(newPeer(uint64(n)), fmt.Sprintf(c.one, n+1))
				if n < c.most {
					w.greet(p)
				} else {
					want(t, w.silent(p, p.MainMode().Message1(), "beyond the limit"), c.reason, "the reason")
				}
			}
			w.connect(at(newPeer(100), fmt.Sprintf(c.other, 1)))
			w.elapse(time.Minute)
			w.connect(at(newPeer(101), fmt.Sprintf(c.one, 50)))
		})
	}
}

func TestHalfOpenMax(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenMax, c.UnprovedMax, c.ChildWait = 10, 10, -1 })
	proved := w.greet(newPeer(1)) // has sent message 3, so its address is real
	for n := range uint64(5000) {
		p := newPeer(1000 + n)
		m := p.MainMode()
		one := m.Message1()
		two := w.ask(p, one, "the oldest that never answered gives way")
		if len(two) > len(one) {
			t.Fatalf("message 2 has %d octets, message 1 only %d: a reflector", len(two), len(one))
		}
		if n%500 == 0 { // a real client in the middle of the flood
			w.connect(newPeer(100 + n/500))
		}
	}
	// A client that needs a moment for message 3 outlives a few newcomers.
	slow := newPeer(300)
	m := slow.MainMode()
	w.ok(m.TakeMessage2(w.ask(slow, m.Message1(), "message 2")))
	for n := range uint64(8) {
		w.ask(newPeer(400+n), newPeer(400+n).MainMode().Message1(), "a newcomer")
	}
	w.ok(m.TakeMessage4(w.ask(slow, m.Message3(), "the oldest gives way, not the newest")))

	w.ok(proved.TakeMessage6(w.ask(proved.Peer, proved.Message5(), "a proved handshake does not give way")))
	want(t, len(w.engine.Clients()), 11, "all real clients are connected")
	w.elapse(time.Minute)

	// Those that have proved their address fill the table, most of them from one network. Its oldest give way, to each other too.
	lone := w.greet(at(newPeer(1), "192.0.2.1"))
	heavy := []*ikev1test.MainMode{w.greet(at(newPeer(2), "198.51.100.1"))}
	for n := range uint64(30) {
		heavy = append(heavy, w.greet(at(newPeer(10000+n), fmt.Sprintf("198.51.100.%d", n+2))))
	}
	want(t, w.engine.HalfOpen() <= 10, true, "the limit holds")
	w.connect(at(newPeer(20000), "192.0.3.1"))
	want(t, w.silent(heavy[0].Peer, heavy[0].Message5(), "the oldest of the heaviest network"), ikev1.DropUnknownSA, "the reason")
	w.ok(lone.TakeMessage6(w.ask(lone.Peer, lone.Message5(), "one alone in its network does not give way")))
	last := heavy[len(heavy)-1]
	w.ok(last.TakeMessage6(w.ask(last.Peer, last.Message5(), "the newest of the heaviest network")))

	// While the Diffie-Hellman of all is under way there is nobody to give way.
	w.elapse(time.Minute)
	w.hold = func(ikev1.Action) bool { return true }
	for n := range uint64(20) {
		p := at(newPeer(30000+n), fmt.Sprintf("192.0.2.%d", n))
		m := p.MainMode()
		w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
		w.silent(p, m.Message3(), "message 3")
	}
	want(t, len(w.held) <= 10, true, "the work under way is bounded")
	w.elapse(time.Minute)
	w.release()
	want(t, w.engine.HalfOpen(), 0, "all timed out")
	w.connect(newPeer(20001))
}
