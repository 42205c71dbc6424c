package ikev1_test

import (
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// greet plays Main Mode up to message 5 without sending that.
func (w *world) greet(p *peer) *mainMode {
	w.t.Helper()
	m := p.mainMode()
	w.ok(m.takeMessage2(w.ask(p, m.message1(), "message 1 with something we allow gets message 2")))
	// A client may float when it takes message 4, so the answer is checked against where message 3 came from.
	w.ok(m.takeMessage4(w.ask(p, m.message3(), "message 3 gets message 4")))
	return m
}

// connect plays a whole Main Mode.
func (w *world) connect(p *peer) *mainMode {
	w.t.Helper()
	m := w.greet(p)
	w.ok(m.takeMessage6(w.ask(p, m.message5(), "message 5 with the right key gets message 6")))
	return m
}

// quick plays a whole Quick Mode and checks the SAs.
func (w *world) quick(m *mainMode, id uint32, adjust ...func(*quickMode)) *quickMode {
	w.t.Helper()
	q := m.quickMode(id, adjust...)
	w.ok(q.takeMessage2(w.ask(m.peer, q.message1(), "Quick Mode message 1 gets message 2")))
	w.ok(q.agree(w, false))
	if len(w.outbound) != 0 && w.outbound[w.inbound[q.theirs].Child].SPI != 0 {
		w.t.Error("the outbound SA was installed before message 3 proved the client")
	}
	if sent := w.say(m.peer, q.message3()); len(sent) != 0 {
		w.t.Errorf("message 3 is answered with %d messages", len(sent))
	}
	w.ok(q.agree(w, true))
	return q
}

// hangUp ends everything as Windows does: a Delete for ESP, then one for the ISAKMP SA.
func (w *world) hangUp(m *mainMode, children ...*quickMode) {
	w.t.Helper()
	for _, q := range children {
		w.say(m.peer, m.informational(q.deleteESP()))
	}
	w.say(m.peer, m.informational(m.deleteISAKMP()))
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// serverBehindNAT lets the client call the server by an address that the server does not know.
func serverBehindNAT(p *peer) *peer {
	p.target = netip.MustParseAddrPort("18.18.18.18:500")
	return p
}

// overIPv6 gives client and server IPv6 addresses.
func overIPv6(p *peer) *peer {
	p.addr, p.server = netip.MustParseAddrPort("[2001:db8:1::7]:500"), netip.MustParseAddrPort("[2001:db8::1]:500")
	p.inner, p.target = p.addr, p.server
	p.identity = wire.AddrID(p.addr.Addr(), 0, 0)
	return p
}

func TestConnectAndHangUp(t *testing.T) {
	for _, c := range []struct {
		name string
		peer *peer
	}{
		{"no NAT", newPeer(1)},
		{"NAT", newPeer(1).behindNAT(500, 4500)},
		{"NAT with low ports", newPeer(1).behindNAT(6, 1011)},
		{"NAT with high ports", newPeer(1).behindNAT(64916, 64917)},
		{"IPv6", overIPv6(newPeer(1))},
		{"server behind a 1:1 NAT", serverBehindNAT(newPeer(1))},
		{"both behind NATs", serverBehindNAT(newPeer(1).behindNAT(500, 4500))},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.connect(c.peer)
			up := eventsOf[ikev1.Phase1Established](w)
			if len(up) != 1 {
				t.Fatalf("%d Phase1Established events", len(up))
			}
			want(t, up[0].Remote, c.peer.addr, "the event names the address after floating")
			want(t, up[0].Encapsulated, c.peer.natted(), "a client behind a NAT is encapsulated")
			want(t, up[0].Identity, c.peer.inner.Addr().String(), "the identity is the client's own address")
			want(t, up[0].Rekey, false, "a new client")
			want(t, up[0].Proposal, "aes256-sha256-ecp256", "the proposal in words")

			q := w.quick(m, 1)
			info := w.client()
			want(t, info.ID, up[0].Client, "the list shows the client of the event")
			want(t, info.Remote, c.peer.addr, "the list shows the outer address")
			want(t, info.State, "established", "there is an ISAKMP SA")
			want(t, info.ESPProposal, "aes256-sha1", "the ESP proposal in words")
			if len(info.Children) != 1 || info.Children[0].SPIIn != q.theirs || info.Children[0].SPIOut != q.ours {
				t.Errorf("children %+v", info.Children)
			}
			children := eventsOf[ikev1.ChildEstablished](w)
			if len(children) != 1 || children[0].Client != info.ID || children[0].SPIIn != q.theirs || children[0].SPIOut != q.ours {
				t.Errorf("ChildEstablished events %+v", children)
			}

			w.hangUp(m, q)
			want(t, len(eventsOf[ikev1.ChildClosed](w)), 1, "the child is closed once")
			gone := eventsOf[ikev1.ClientGone](w)
			if len(gone) != 1 || gone[0].Client != info.ID {
				t.Errorf("ClientGone events %+v", gone)
			}
			w.empty("the client hung up")
		})
	}
}
