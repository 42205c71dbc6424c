package ikev1_test

import (
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// greet plays Main Mode up to message 5 without sending that.
func (w *world) greet(p *ikev1test.Peer) *ikev1test.MainMode {
	w.t.Helper()
	m := p.MainMode()
	w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 1 with something we allow gets message 2")))
	// A client may float when it takes message 4, so the answer is checked against where message 3 came from.
	w.ok(m.TakeMessage4(w.ask(p, m.Message3(), "message 3 gets message 4")))
	return m
}

// connect plays a whole Main Mode.
func (w *world) connect(p *ikev1test.Peer) *ikev1test.MainMode {
	w.t.Helper()
	m := w.greet(p)
	w.ok(m.TakeMessage6(w.ask(p, m.Message5(), "message 5 with the right key gets message 6")))
	return m
}

// quick plays a whole Quick Mode and checks the SAs.
func (w *world) quick(m *ikev1test.MainMode, id uint32, adjust ...func(*ikev1test.QuickMode)) *ikev1test.QuickMode {
	w.t.Helper()
	q := m.QuickMode(id, adjust...)
	w.ok(q.TakeMessage2(w.ask(m.Peer, q.Message1(), "Quick Mode message 1 gets message 2")))
	w.ok(w.agree(q, false))
	if len(w.outbound) != 0 && w.outbound[w.inbound[q.Theirs].Child].SPI != 0 {
		w.t.Error("the outbound SA was installed before message 3 proved the client")
	}
	if sent := w.say(m.Peer, q.Message3()); len(sent) != 0 {
		w.t.Errorf("message 3 is answered with %d messages", len(sent))
	}
	w.ok(w.agree(q, true))
	return q
}

// hangUp ends everything as Windows does: a Delete for ESP, then one for the ISAKMP SA.
func (w *world) hangUp(m *ikev1test.MainMode, children ...*ikev1test.QuickMode) {
	w.t.Helper()
	for _, q := range children {
		w.say(m.Peer, m.Informational(q.DeleteESP()))
	}
	w.say(m.Peer, m.Informational(m.DeleteISAKMP()))
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// serverBehindNAT lets the client call the server by an address that the server does not know.
func serverBehindNAT(p *ikev1test.Peer) *ikev1test.Peer {
	p.Target = netip.MustParseAddrPort("18.18.18.18:500")
	return p
}

// overIPv6 gives client and server IPv6 addresses.
func overIPv6(p *ikev1test.Peer) *ikev1test.Peer {
	p.Addr, p.Server = netip.MustParseAddrPort("[2001:db8:1::7]:500"), netip.MustParseAddrPort("[2001:db8::1]:500")
	p.Inner, p.Target = p.Addr, p.Server
	p.Identity = wire.AddrID(p.Addr.Addr(), 0, 0)
	return p
}

func TestConnectAndHangUp(t *testing.T) {
	for _, c := range []struct {
		name string
		peer *ikev1test.Peer
	}{
		{"no NAT", newPeer(1)},
		{"NAT", newPeer(1).BehindNAT(500, 4500)},
		{"NAT with low ports", newPeer(1).BehindNAT(6, 1011)},
		{"NAT with high ports", newPeer(1).BehindNAT(64916, 64917)},
		{"IPv6", overIPv6(newPeer(1))},
		{"server behind a 1:1 NAT", serverBehindNAT(newPeer(1))},
		{"both behind NATs", serverBehindNAT(newPeer(1).BehindNAT(500, 4500))},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.connect(c.peer)
			up := eventsOf[ikev1.Phase1Established](w)
			if len(up) != 1 {
				t.Fatalf("%d Phase1Established events", len(up))
			}
			want(t, up[0].Remote, c.peer.Addr, "the event names the address after floating")
			want(t, up[0].Encapsulated, c.peer.Natted(), "a client behind a NAT is encapsulated")
			want(t, up[0].Identity, c.peer.Inner.Addr().String(), "the identity is the client's own address")
			want(t, up[0].Rekey, false, "a new client")
			want(t, up[0].Proposal, "aes256-sha256-ecp256", "the proposal in words")

			q := w.quick(m, 1)
			info := w.client()
			want(t, info.ID, up[0].Client, "the list shows the client of the event")
			want(t, info.Remote, c.peer.Addr, "the list shows the outer address")
			want(t, info.State, "established", "there is an ISAKMP SA")
			want(t, info.ESPProposal, "aes256-sha1", "the ESP proposal in words")
			if len(info.Children) != 1 || info.Children[0].SPIIn != q.Theirs || info.Children[0].SPIOut != q.Ours {
				t.Errorf("children %+v", info.Children)
			}
			children := eventsOf[ikev1.ChildEstablished](w)
			if len(children) != 1 || children[0].Client != info.ID || children[0].SPIIn != q.Theirs || children[0].SPIOut != q.Ours {
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
