package ikev1_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

func TestEveryESPProposal(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.MaxChildren = 100 })
	for _, nat := range []bool{false, true} {
		p, mode := newPeer(1), uint16(2)
		if nat {
			p, mode = newPeer(2).BehindNAT(500, 4500), 4
		}
		m := w.connect(p)
		id := uint32(0)
		for _, bits := range []uint16{128, 192, 256} {
			for _, auth := range []uint16{2, 5, 6, 7} {
				id++
				q := w.quick(m, id, func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 12, bits, auth, mode)) })
				want(t, w.inbound[q.Theirs].Lifetime, time.Hour, "the lifetime that the client asked for")
			}
			id++
			q := w.quick(m, id, func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 20, bits, 0, mode)) })
			want(t, w.inbound[q.Theirs].Encryption, ikev1.AESGCM16, "AES-GCM")
			want(t, len(w.inbound[q.Theirs].EncryptionKey), int(bits/8)+4, "the salt belongs to the key material")
		}
	}
}

// TestEncapsulationModes: whatever a client on port 4500 calls it, it comes back as it was, and the SAs are encapsulated.
func TestEncapsulationModes(t *testing.T) {
	for _, mode := range []uint16{2, 4, 61444} {
		w := newWorld(t)
		q := w.quick(w.connect(newPeer(1).BehindNAT(500, 4500)), 1, func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 12, 256, 2, mode)) })
		want(t, w.inbound[q.Theirs].Encapsulated, true, fmt.Sprintf("mode %d", mode))
	}
}

func TestPFS(t *testing.T) {
	for _, g := range []dh.Group{dh.MODP1024, dh.MODP2048, dh.ECP256} {
		t.Run(g.String(), func(t *testing.T) {
			w := newWorld(t, func(c *ikev1.Config) { c.PFSGroups = []dh.Group{g} })
			m := w.connect(newPeer(1))
			withGroup := func(q *ikev1test.QuickMode) {
				q.PFS = g
				q.Propose(ikev1test.ESPTransform(1, 12, 256, 2, 2, wire.ShortAttribute(wire.AttrSAGroup, uint16(g))))
			}
			w.quick(m, 1, withGroup)
			q := m.QuickMode(2, withGroup)
			q.PFS = 0
			refused(w, q, "a group without a KE payload")
			q = m.QuickMode(3, func(q *ikev1test.QuickMode) { q.PFS = g })
			refused(w, q, "a KE payload without a group")
			want(t, len(w.client().Children), 1, "only the right one came up")
		})
	}
}

// refused sends a Quick Mode that must not come up. A notification may be the answer.
func refused(w *world, q *ikev1test.QuickMode, why string) {
	w.t.Helper()
	before := len(w.inbound)
	for _, d := range w.say(q.Peer, q.Message1()) {
		h, err := wire.ParseHeader(d.Payload)
		w.ok(err)
		if h.Exchange != wire.ExchangeInformational {
			w.t.Errorf("answered with exchange type %d: %s", h.Exchange, why)
			continue
		}
		payloads, err := q.OpenInformational(d.Payload)
		w.ok(err)
		want(w.t, payloads[0].Kind, wire.PayloadNotification, "the refusal is a notification")
	}
	want(w.t, len(w.inbound), before, "no SA is installed: "+why)
}

func TestIdentities(t *testing.T) {
	client, server := netip.MustParseAddr("192.168.0.5"), netip.MustParseAddr("203.0.113.1")
	public := netip.MustParseAddr("18.18.18.18") // of a server behind a 1:1 NAT
	raw := func(b ...byte) wire.Payload { return wire.Raw{Kind: wire.PayloadID, Body: b} }
	for _, c := range []struct {
		name       string
		idci, idcr wire.Payload
		ok         bool
	}{
		{"Windows: 1701 and 1701", wire.AddrID(client, 17, 1701), wire.AddrID(server, 17, 1701), true},
		{"Android: any port", wire.AddrID(client, 17, 0), wire.AddrID(server, 17, 1701), true},
		{"Apple: ephemeral port", wire.AddrID(client, 17, 51234), wire.AddrID(server, 17, 1701), true},
		{"server behind a 1:1 NAT", wire.AddrID(client, 17, 1701), wire.AddrID(public, 17, 1701), true},
		{"Windows XP: a name", wire.ID{Kind: wire.IDFQDN, Protocol: 17, Port: 1701, Data: []byte("pc")}, wire.AddrID(server, 17, 1701), true},
		{"none", nil, nil, true},
		{"Windows XP behind a NAT: only the server's", nil, wire.AddrID(public, 17, 1701), true},
		{"only one, for another port", nil, wire.AddrID(server, 17, 53), false},
		{"TCP", wire.AddrID(client, 6, 80), wire.AddrID(server, 6, 80), false},
		{"another port of the server", wire.AddrID(client, 17, 1701), wire.AddrID(server, 17, 53), false},
		{"a network", wire.AddrID(client, 17, 1701), raw(4, 17, 6, 165, 10, 0, 0, 0, 255, 0, 0, 0), false},
		{"too short", raw(1, 17), wire.AddrID(server, 17, 1701), false},
		{"address of three octets", raw(1, 17, 6, 165, 10, 0, 0), wire.AddrID(server, 17, 1701), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.connect(newPeer(1).BehindNAT(500, 4500))
			set := func(q *ikev1test.QuickMode) { q.IDci, q.IDcr = c.idci, c.idcr }
			if c.ok {
				w.quick(m, 1, set)
			} else {
				refused(w, m.QuickMode(1, set), c.name)
				w.quick(m, 2)
			}
		})
	}
}

func TestNATOA(t *testing.T) {
	for name, natOA := range map[string][]wire.Payload{
		"none (Android)": nil,
		"draft": {wire.NATOA{Kind: wire.PayloadNATOADraft, Addr: netip.MustParseAddr("192.168.0.5")},
			wire.NATOA{Kind: wire.PayloadNATOADraft, Addr: netip.MustParseAddr("203.0.113.1")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.quick(w.connect(newPeer(1).BehindNAT(500, 4500)), 1, func(q *ikev1test.QuickMode) { q.NATOA = natOA })
		})
	}
}

func TestRefusedESPOffers(t *testing.T) {
	for name, tr := range map[string]wire.Transform{
		"DES":                   ikev1test.ESPTransform(1, 2, 0, 2, 2),
		"NULL":                  ikev1test.ESPTransform(1, 11, 0, 2, 2),
		"3DES":                  ikev1test.ESPTransform(1, 3, 0, 2, 2),
		"AES-GMAC":              ikev1test.ESPTransform(1, 23, 256, 0, 2),
		"AES without integrity": ikev1test.ESPTransform(1, 12, 256, 0, 2),
		"MD5":                   ikev1test.ESPTransform(1, 12, 256, 1, 2),
		"tunnel mode":           ikev1test.ESPTransform(1, 12, 256, 2, 1),
		"UDP tunnel mode":       ikev1test.ESPTransform(1, 12, 256, 2, 3),
		"key of 0 bits":         ikev1test.ESPTransform(1, 12, 0, 2, 2),
		"key of 65535 bits":     ikev1test.ESPTransform(1, 12, 65535, 2, 2),
		"sequence numbers":      ikev1test.ESPTransform(1, 12, 256, 2, 2, wire.ShortAttribute(wire.AttrSAExtendedSequence, 2)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.connect(newPeer(1))
			refused(w, m.QuickMode(1, func(q *ikev1test.QuickMode) { q.Propose(tr) }), name)
			failed := eventsOf[ikev1.Phase2Failed](w)
			if len(failed) != 1 || len(failed[0].Offered) == 0 || len(failed[0].Allowed) == 0 {
				t.Errorf("the operator is told %+v", failed)
			}
			w.quick(m, 2, func(q *ikev1test.QuickMode) { q.Propose(tr, ikev1test.ESPTransform(2, 12, 128, 2, 2)) })
		})
	}
}

func TestOneProposalWithManyTransforms(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	q := w.quick(m, 1, func(q *ikev1test.QuickMode) {
		q.Propose(ikev1test.ESPTransform(1, 12, 128, 2, 2))
		q.Proposals[0].Transforms = append(q.Proposals[0].Transforms, ikev1test.ESPTransform(2, 12, 256, 7, 2), ikev1test.ESPTransform(3, 3, 0, 2, 2))
	})
	want(t, q.Chosen.Transforms[0].Number, 2, "AES-256 with SHA-512 is preferred, wherever it stands")
}

// TestAHAndESPTogether: two proposals with the same number are one offer of both protocols (RFC 2408 section 4.2), which nobody wants.
func TestAHAndESPTogether(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	refused(w, m.QuickMode(1, func(q *ikev1test.QuickMode) {
		q.Propose(ikev1test.ESPTransform(1, 12, 256, 2, 2))
		ah := q.Proposals[0]
		ah.Protocol = wire.ProtocolAH
		q.Proposals = append(q.Proposals, ah)
	}), "ESP and AH")
}

func TestInstallFailures(t *testing.T) {
	boom := errors.New("no buffer space")
	t.Run("inbound", func(t *testing.T) {
		w := newWorld(t)
		m := w.connect(newPeer(1))
		w.fault = func(a ikev1.Action) error {
			if _, ok := a.(ikev1.InstallInbound); ok {
				return boom
			}
			return nil
		}
		refused(w, m.QuickMode(1), "the inbound SA could not be installed")
		want(t, len(eventsOf[ikev1.ChildEstablished](w)), 0, "nothing came up")
		want(t, len(eventsOf[ikev1.Phase2Failed](w)), 1, "the operator hears of it")
		w.fault = nil
		q := w.quick(m, 2)
		w.hangUp(m, q)
		w.empty("hung up")
	})
	t.Run("outbound", func(t *testing.T) {
		w := newWorld(t)
		m := w.connect(newPeer(1))
		w.fault = func(a ikev1.Action) error {
			if _, ok := a.(ikev1.InstallOutbound); ok {
				return boom
			}
			return nil
		}
		q := m.QuickMode(1)
		w.ok(q.TakeMessage2(w.ask(m.Peer, q.Message1(), "message 2")))
		w.say(m.Peer, q.Message3())
		want(t, len(w.inbound), 0, "the inbound SA is removed again")
		want(t, len(eventsOf[ikev1.ChildEstablished](w)), 0, "nothing came up")
		want(t, len(w.client().Children), 0, "nothing is listed")
		w.fault = nil
		w.hangUp(m, w.quick(m, 2))
		w.empty("hung up")
	})
}

// TestOrderOfEffects holds each action back and sees that nothing is promised before it is reported.
func TestOrderOfEffects(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	holdAll := func(ikev1.Action) bool { return true }
	m := p.MainMode()
	w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
	w.hold = holdAll
	three := m.Message3()
	w.silent(p, three, "message 4 has to wait for the Diffie-Hellman result")
	want(t, w.silent(p, three, "a repetition meanwhile"), ikev1.DropDuplicate, "is no second computation")
	want(t, len(w.held), 1, "one computation")
	w.release()
	w.ok(m.TakeMessage4(w.one(p, w.take(), "message 4")))
	w.ok(m.TakeMessage6(w.ask(p, m.Message5(), "message 6")))

	w.hold = holdAll
	q := m.QuickMode(1)
	one := q.Message1()
	w.silent(p, one, "message 2 has to wait for the inbound SA")
	w.silent(p, one, "a repetition meanwhile")
	want(t, len(w.held), 1, "one installation")
	w.release()
	w.ok(q.TakeMessage2(w.one(p, w.take(), "message 2")))

	w.hold = holdAll
	three = q.Message3()
	w.silent(p, three, "message 3")
	w.silent(p, three, "a repetition meanwhile")
	want(t, len(w.held), 1, "one installation")
	want(t, len(eventsOf[ikev1.ChildEstablished](w)), 0, "not before the outbound SA is installed")
	w.release()
	want(t, len(eventsOf[ikev1.ChildEstablished](w)), 1, "now it is up")
	w.ok(w.agree(q, true))
	w.hangUp(m, q)
	w.empty("hung up")
}

// TestClientGoneWhileWorking hangs up while each action is under way: its late result must not bring anything back.
func TestClientGoneWhileWorking(t *testing.T) {
	for i, name := range []string{"inbound", "outbound"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := newPeer(1)
			m := w.connect(p)
			q := m.QuickMode(1)
			if i == 0 {
				w.hold = func(a ikev1.Action) bool { _, ok := a.(ikev1.InstallInbound); return ok }
				w.say(p, q.Message1())
			} else {
				w.hold = func(a ikev1.Action) bool { _, ok := a.(ikev1.InstallOutbound); return ok }
				w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
				w.say(p, q.Message3())
			}
			want(t, len(w.held), 1, "the action is under way")
			w.hangUp(m)
			w.absorb(w.engine.Shutdown(w.now))
			w.take()
			w.release()
			for _, d := range w.take() {
				t.Errorf("sent after the end: %x", d.Payload)
			}
			w.elapse(48 * time.Hour)
			w.empty("gone")
		})
	}
	t.Run("Diffie-Hellman", func(t *testing.T) {
		w := newWorld(t)
		p := newPeer(1)
		m := p.MainMode()
		w.ok(m.TakeMessage2(w.ask(p, m.Message1(), "message 2")))
		w.hold = func(ikev1.Action) bool { return true }
		w.say(p, m.Message3())
		w.elapse(time.Minute) // longer than a handshake may take
		w.release()
		want(t, len(w.take()), 0, "no message 4 of a handshake that timed out")
		w.empty("timed out")
	})
}

func TestMessageIDs(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	want(t, w.silent(p, m.QuickMode(0).Message1(), "message id 0") != "", true, "Quick Mode has no message id 0")
	q := w.quick(m, 1)
	again := m.QuickMode(1)
	w.silent(p, again.Message1(), "a used message id with another content")
	want(t, len(w.inbound), 1, "nothing new is installed")
	w.ok(w.agree(q, true))

	// At most three at a time.
	for id := uint32(10); id < 13; id++ {
		w.ask(p, m.QuickMode(id).Message1(), fmt.Sprintf("exchange %d", id))
	}
	want(t, w.silent(p, m.QuickMode(13).Message1(), "the fourth at a time"), ikev1.DropExchangeLimit, "the reason")
}

func TestMaxChildren(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.MaxChildren = 2 })
	m := w.connect(newPeer(1))
	first := w.quick(m, 1)
	w.quick(m, 2)
	q := m.QuickMode(3)
	w.ok(q.TakeMessage2(w.one(m.Peer, w.say(m.Peer, q.Message1()), "message 2")))
	w.say(m.Peer, q.Message3())
	want(t, len(w.client().Children), 2, "the oldest gave way")
	if _, ok := w.inbound[first.Theirs]; ok {
		t.Error("the oldest is still installed")
	}
}

func TestLifetimeEndsChild(t *testing.T) {
	w := newWorld(t)
	m := w.connect(newPeer(1))
	q := w.quick(m, 1)
	w.elapse(59 * time.Minute)
	w.ok(w.agree(q, true))
	w.elapse(2*time.Hour + time.Minute)
	want(t, len(w.inbound), 0, "the child's life of one hour is over")
	closed := eventsOf[ikev1.ChildClosed](w)
	want(t, len(closed), 1, "and it is reported")
	w.elapse(48 * time.Hour)
	w.empty("the ISAKMP SA's life is over too")
}
