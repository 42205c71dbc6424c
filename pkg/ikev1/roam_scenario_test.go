package ikev1_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// roamer is a client behind a NAT that speaks DPD, with one child.
func roamer(w *world) (*ikev1test.Peer, *ikev1test.MainMode, *ikev1test.QuickMode) {
	p := newPeer(1).BehindNAT(64916, 64917)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := w.connect(p)
	return p, m, w.quick(m, 1)
}

// from is p as it would be at another address.
func from(p *ikev1test.Peer, addr string) *ikev1test.Peer {
	other := *p
	other.Addr = netip.MustParseAddrPort(addr)
	return &other
}

const (
	newHome  = "192.0.2.77:4500"
	attacker = "192.0.2.66:4500"
)

// TestRoaming: whatever the client says first at its new address moves it there, with all that it has, and it is answered there.
func TestRoaming(t *testing.T) {
	for what, say := range map[string]func(w *world, p *ikev1test.Peer, m *ikev1test.MainMode, q *ikev1test.QuickMode){
		"a question of DPD": func(w *world, p *ikev1test.Peer, m *ikev1test.MainMode, _ *ikev1test.QuickMode) {
			w.ask(p, m.Informational(m.DPD(wire.NotifyRUThere, 7)), "the answer")
		},
		"an answer of DPD": func(w *world, p *ikev1test.Peer, m *ikev1test.MainMode, _ *ikev1test.QuickMode) {
			w.elapse(31 * time.Second)
			sequence, ok := question(w, m, w.take())
			want(t, ok, true, "the question")
			w.silent(p, m.Informational(m.DPD(wire.NotifyRUThereAck, sequence)), "the answer")
		},
		"a Delete of another child": func(w *world, p *ikev1test.Peer, m *ikev1test.MainMode, q *ikev1test.QuickMode) {
			del := q.DeleteESP()
			del.SPIs[0] = binary.BigEndian.AppendUint32(nil, 1)
			w.silent(p, m.Informational(del), "a Delete")
		},
		"a Quick Mode":            func(w *world, _ *ikev1test.Peer, m *ikev1test.MainMode, _ *ikev1test.QuickMode) { w.quick(m, 2) },
		"a Quick Mode, fragments": inFragments,
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			p, m, q := roamer(w)
			id := w.client().ID
			p.Addr = netip.MustParseAddrPort(newHome)
			say(w, p, m, q)
			want(t, w.client().ID, id, "the same client")
			want(t, w.client().Remote, p.Addr, "where it is now")
			moved := eventsOf[ikev1.ClientMoved](w)
			if len(moved) != 1 || moved[0].Client != id || moved[0].Remote != p.Addr || !moved[0].Encapsulated {
				t.Errorf("events %v", moved)
			}
			w.quick(m, 77)
			want(t, len(eventsOf[ikev1.ClientMoved](w)), 1, "it moves once")
			p2 := *p
			w.connect(&p2)
			want(t, w.client().ID, id, "a Main Mode at the new address is of the same client")
		})
	}
}

func inFragments(w *world, p *ikev1test.Peer, m *ikev1test.MainMode, _ *ikev1test.QuickMode) {
	q := m.QuickMode(2)
	var answers []ikev1.Datagram
	for _, part := range ikev1test.Fragments(q.Message1(), 1, 100) {
		answers = append(answers, w.say(p, part)...)
	}
	w.ok(q.TakeMessage2(w.one(p, answers, "message 2")))
	w.say(p, q.Message3())
	w.ok(w.agree(q, true))
}

// TestRoamingInQuickMode: the client moves between messages 1 and 3, and the SA towards it goes to where it is.
func TestRoamingInQuickMode(t *testing.T) {
	w := newWorld(t)
	p, m, _ := roamer(w)
	q := m.QuickMode(2)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	p.Addr = netip.MustParseAddrPort(newHome)
	w.say(p, q.Message3())
	want(t, w.outbound[w.inbound[q.Theirs].Child].Remote, p.Addr, "the outbound SA")
	want(t, w.client().Remote, p.Addr, "the client")
}

// TestCapturedMessages: somebody has seen all messages of the client, and sends copies from his own address, at any time: the client stays
// where it is, and nobody is answered there.
func TestCapturedMessages(t *testing.T) {
	w := newWorld(t)
	p, m, first := roamer(w)
	thief := from(p, attacker)
	var captured [][]byte
	home := p.Addr
	steal := func(when string) {
		t.Helper()
		for i, message := range captured {
			for _, d := range w.say(thief, message) {
				want(t, d.Remote, home, "an answer to a copy goes to the client")
			}
			want(t, w.client().Remote, home, when)
			if t.Failed() {
				t.Fatalf("message %d of %d", i, len(captured))
			}
		}
	}
	say := func(message []byte) []ikev1.Datagram {
		captured = append(captured, message)
		return w.say(p, message)
	}
	exchange := func() {
		t.Helper()
		n := uint32(len(captured))
		say(m.Informational(m.DPD(wire.NotifyRUThere, 1000+n)))
		say(m.Informational(m.InitialContact()))
		del := first.DeleteESP()
		del.SPIs[0] = binary.BigEndian.AppendUint32(nil, n+1)
		say(m.Informational(del))
		say(m.Exchange(wire.ExchangeTransaction, 50000+n, m.InitialContact()))
		w.take()
		q := m.QuickMode(10 + n)
		w.ok(q.TakeMessage2(w.one(p, say(q.Message1()), "message 2")))
		steal("in the middle of a Quick Mode")
		w.take()
		say(q.Message3())
		w.elapse(31 * time.Second)
		if sequence, ok := question(w, m, w.take()); ok {
			say(m.Informational(m.DPD(wire.NotifyRUThereAck, sequence)))
		}
		w.take()
		steal("after an exchange")
	}
	exchange()
	p.Addr = netip.MustParseAddrPort(newHome)
	home = p.Addr
	w.ask(p, m.Informational(m.DPD(wire.NotifyRUThere, 2000)), "the answer")
	steal("after the client has moved")
	for range 3 {
		exchange()
	}
	want(t, len(eventsOf[ikev1.ClientMoved](w)), 1, "moves")

	// So many exchanges that the first are forgotten: from then on only ESP moves the client to another address.
	for n := range uint32(300) {
		del := first.DeleteESP()
		del.SPIs[0] = binary.BigEndian.AppendUint32(nil, 0x200+n)
		say(m.Informational(del))
	}
	steal("after exchanges beyond the memory")
	fresh := from(p, "192.0.2.78:4500")
	w.say(fresh, m.Informational(m.DPD(wire.NotifyRUThere, 3_000_000)))
	want(t, w.client().Remote, home, "the client stays")
	w.absorb(w.engine.Moved(w.now, w.client().ID, fresh.Addr))
	want(t, w.client().Remote, fresh.Addr, "ESP moves it")
}

// TestCopyThatIsFirst: a relay on the way is faster than the client. The next message of the client brings it back.
func TestCopyThatIsFirst(t *testing.T) {
	w := newWorld(t)
	p, m, _ := roamer(w)
	thief := from(p, attacker)
	question := m.Informational(m.DPD(wire.NotifyRUThere, 7))
	w.ask(thief, question, "the answer goes to where the question came from first")
	want(t, w.client().Remote, thief.Addr, "the client is taken to be there")
	for _, d := range w.say(p, question) {
		want(t, d.Remote, thief.Addr, "a repetition moves nothing, not even back")
	}
	w.ask(p, m.Informational(m.DPD(wire.NotifyRUThere, 8)), "the next question")
	want(t, w.client().Remote, p.Addr, "the client is back")
	w.say(thief, question)
	want(t, w.client().Remote, p.Addr, "and stays")
}

// TestNoRoaming: who is not behind a NAT, comes to port 500, or proves nothing, is not found at another address, and who is called by us is
// where we call.
func TestNoRoaming(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	m := w.connect(p)
	w.quick(m, 1)
	for _, encapsulated := range []bool{false, true} {
		other := from(p, newHome)
		other.Encapsulated = encapsulated
		want(t, w.silent(other, m.Informational(m.DPD(wire.NotifyRUThere, 7)), "without a NAT"), ikev1.DropUnknownSA, "the reason")
		w.absorb(w.engine.Moved(w.now, w.client().ID, other.Addr))
	}
	want(t, w.client().Remote, p.Addr, "the client is where it was")

	w = newWorld(t)
	p, m, q := roamer(w)
	there := from(p, newHome)
	want(t, w.silent(there, m.SealedInformational(9, make([]byte, 32), q.DeleteESP()), "no proof"), ikev1.DropHash, "the reason")
	want(t, w.silent(there, wire.Message(m.Header(), m.InitialContact()), "in the clear"), ikev1.DropUnencrypted, "the reason")
	port500 := from(p, newHome)
	port500.Server, port500.Encapsulated = netip.AddrPortFrom(p.Server.Addr(), 500), false
	want(t, w.silent(port500, m.Informational(m.DPD(wire.NotifyRUThere, 7)), "to port 500"), ikev1.DropUnknownSA, "the reason")
	elsewhere := from(p, newHome)
	elsewhere.Server = netip.MustParseAddrPort("203.0.113.9:4500")
	want(t, w.silent(elsewhere, m.Informational(m.DPD(wire.NotifyRUThere, 7)), "at another address of ours"), ikev1.DropUnknownSA, "the reason")
	w.absorb(w.engine.Moved(w.now, w.client().ID, netip.MustParseAddrPort("[2001:db8::7]:4500")))
	want(t, w.client().Remote, p.Addr, "the client is where it was")
	want(t, len(eventsOf[ikev1.ClientMoved](w)), 0, "moves")

	pair := newPair(t, 1)
	left, right := pair.ends[0], pair.ends[1]
	right.addr = netip.MustParseAddr("10.0.0.5")
	right.nat = &nat{addr: netip.MustParseAddr("203.0.113.1")}
	left.connect(left.connection())
	pair.run(10 * time.Second)
	want(t, len(left.engine.Clients()), 1, "we are connected")
	called := left.engine.Clients()[0]
	want(t, called.Encapsulated, true, "with a NAT in between")
	left.absorb(left.engine.Moved(pair.now, called.ID, netip.MustParseAddrPort(newHome)))
	want(t, left.engine.Clients()[0].Remote, called.Remote, "the peer is where we called it")
}

// TestRoamingLimits: a client does not take another's place, nor one more than there are at an address.
func TestRoamingLimits(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.MaxClientsPerAddr = 2 })
	p, m, _ := roamer(w)
	id := w.client().ID
	home := netip.MustParseAddrPort(newHome)
	neighbour := func(n uint64, port uint16) {
		p := newPeer(n)
		p.Addr = netip.AddrPortFrom(home.Addr(), 500)
		p.BehindNAT(500+port, port)
		w.quick(w.connect(p), 1)
	}
	remote := func() netip.AddrPort {
		for _, c := range w.engine.Clients() {
			if c.ID == id {
				return c.Remote
			}
		}
		return netip.AddrPort{}
	}
	neighbour(2, home.Port()) // they all call themselves 192.168.0.5
	w.say(from(p, newHome), m.Informational(m.DPD(wire.NotifyRUThere, 7)))
	want(t, remote(), p.Addr, "there is somebody of that name")
	neighbour(3, 5000)
	free := netip.AddrPortFrom(home.Addr(), 6000)
	w.absorb(w.engine.Moved(w.now, id, free))
	want(t, remote(), p.Addr, "there are two already")
	dropped := eventsOf[ikev1.Dropped](w)
	want(t, dropped[len(dropped)-1], ikev1.Dropped{Remote: free, Reason: ikev1.DropMaxClientsPerAddr}, "the event")
	for _, c := range w.engine.Clients() {
		if c.Remote.Port() == 5000 {
			w.absorb(w.engine.CloseClient(w.now, c.ID, "to make room"))
			w.take()
		}
	}
	w.absorb(w.engine.Moved(w.now, id, free))
	want(t, remote(), free, "there is room")
	p4 := newPeer(4)
	p4.Addr = netip.AddrPortFrom(home.Addr(), 500)
	w.silent(p4.BehindNAT(7500, 7000), w.greet(p4).Message5(), "one more")
	want(t, len(w.engine.Clients()), 2, "the limit counts who has moved in")
}
