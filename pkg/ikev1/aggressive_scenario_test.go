package ikev1_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

const groupPSK = "the key of a group, and of nobody else"

// pretended makes p expect a server that pretends a NAT.
func pretended(p *ikev1test.Peer) *ikev1test.Peer {
	p.Forced = true
	return p
}

// withGroups allows Aggressive Mode to one group.
func withGroups(c *ikev1.Config) {
	c.GroupPSK = func(keyID []byte) []byte {
		if string(keyID) == "sales" {
			return []byte(groupPSK)
		}
		return nil
	}
}

// member makes p a member of a group.
func member(p *ikev1test.Peer, group string) *ikev1test.Peer {
	p.PSK, p.Identity = []byte(groupPSK), wire.ID{Kind: wire.IDKeyID, Data: []byte(group)}
	return p
}

// aggress plays a whole Aggressive Mode, with message 3 encrypted.
func (w *world) aggress(p *ikev1test.Peer) *ikev1test.MainMode {
	w.t.Helper()
	m := w.hurry(p)
	want(w.t, w.silent(p, m.Aggressive3(), "message 3"), "", "message 3 has no answer")
	return m
}

// hurry plays Aggressive Mode up to message 2.
func (w *world) hurry(p *ikev1test.Peer) *ikev1test.MainMode {
	w.t.Helper()
	m := p.AggressiveMode()
	w.ok(m.TakeAggressive2(w.ask(p, m.Aggressive1(), "message 1 gets message 2")))
	return m
}

func TestAggressiveMode(t *testing.T) {
	for _, c := range []struct {
		name string
		peer *ikev1test.Peer
	}{
		{"no NAT", newPeer(1)},
		{"NAT", newPeer(1).BehindNAT(500, 4500)},
		{"NAT with high ports", newPeer(1).BehindNAT(64916, 64917)},
		{"IPv6", overIPv6(newPeer(1))},
		{"server behind a 1:1 NAT", serverBehindNAT(newPeer(1))},
		{"both behind NATs", serverBehindNAT(newPeer(1).BehindNAT(500, 4500))},
		{"a draft of NAT traversal", func() *ikev1test.Peer {
			p := newPeer(1).BehindNAT(6000, 6001)
			p.VendorIDs = [][]byte{ikev1test.VendorNATT02n}
			return p
		}()},
		{"forced encapsulation", pretended(newPeer(1))},
	} {
		for _, kind := range []wire.IDType{wire.IDKeyID, wire.IDFQDN, wire.IDUserFQDN} {
			for _, clear := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, id %d, clear %v", c.name, kind, clear), func(t *testing.T) {
					w := newWorld(t, withGroups, func(config *ikev1.Config) { config.ForceEncapsulation = c.peer.Forced })
					p := *c.peer
					member(&p, "sales").Identity.Kind = kind
					m := w.hurry(&p)
					three := m.Aggressive3Clear()
					if !clear {
						three = m.Aggressive3()
					}
					want(t, w.silent(&p, three, "message 3"), "", "it has no answer")
					up := eventsOf[ikev1.Phase1Established](w)
					if len(up) != 1 || up[0].Identity != "sales" || up[0].Remote != p.Addr || up[0].Encapsulated != p.Natted() || up[0].Rekey {
						t.Fatalf("Phase1Established events %+v", up)
					}
					want(t, w.engine.HalfOpen(), 0, "it is established")
					want(t, w.silent(&p, three, "message 3 again"), ikev1.DropDuplicate, "the reason")
					q := w.quick(m, 1)
					w.ok(w.agree(q, true))
					w.take()
					w.elapse(25 * time.Second)
					here := serverBehindNAT(newPeer(1)).Target.Addr() == p.Target.Addr()
					want(t, len(w.take()) > 0, here, "the server sends NAT keepalives only if the NAT is its own")
					w.hangUp(m, q)
					w.empty("hung up")
				})
			}
		}
	}
}

// TestAggressiveGroups: the client chooses the group when it sends its public value; Apple tries MODP2048, and MODP1024 if that fails. Android
// knows only the latter.
func TestAggressiveGroups(t *testing.T) {
	transforms := func(g dh.Group) (list []wire.Transform) {
		for i, h := range []keymat.Hash{keymat.SHA256, keymat.SHA1} {
			list = append(list, ikev1test.Phase1Transform(uint8(i+1), 256, h, g))
		}
		return list
	}
	legacy := func(c *ikev1.Config) { c.Phase1 = ikev1.Legacy.Phase1() }
	for _, c := range []struct {
		name   string
		offer  []wire.Transform
		config func(*ikev1.Config)
		want   string // proposal, empty for a refusal
		cause  ikev1.Cause
	}{
		{"modp2048", transforms(dh.MODP2048), func(*ikev1.Config) {}, "aes256-sha256-modp2048", ""},
		{"modp1024 in the compatible profile", transforms(dh.MODP1024), func(*ikev1.Config) {}, "", ikev1.CauseLegacyProposal},
		{"modp1024 in the legacy profile", transforms(dh.MODP1024), legacy, "aes256-sha256-modp1024", ""},
		{"modp1536 in the compatible profile", transforms(dh.MODP1536), func(*ikev1.Config) {}, "", ikev1.CauseLegacyProposal},
		{"the public value is for another group than the best", append(transforms(dh.ECP256), transforms(dh.MODP2048)...), func(*ikev1.Config) {}, "aes256-sha256-ecp256", ""},
		{"the public value is for a group that is not allowed", append(transforms(dh.MODP1024), transforms(dh.MODP2048)...), func(*ikev1.Config) {}, "", ikev1.CauseNoProposal},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, withGroups, c.config)
			p := member(newPeer(1), "sales")
			p.Offer = c.offer
			if c.want != "" {
				w.aggress(p)
				want(t, w.client().IKEProposal, c.want, "the proposal")
				return
			}
			one := p.AggressiveMode().Aggressive1()
			for _, d := range w.say(p, one) {
				h, _, err := ikev1test.Parse(d.Payload)
				w.ok(err)
				want(t, h.Exchange, wire.ExchangeInformational, "the refusal")
				want(t, len(d.Payload) <= len(one), true, "it is not longer than the question")
			}
			failed := eventsOf[ikev1.Phase1Failed](w)
			if len(failed) != 1 || failed[0].Code != c.cause || failed[0].Hint == "" {
				t.Errorf("the operator is told %+v", failed)
			}
			want(t, len(w.seen), 0, "no Diffie-Hellman")
			w.empty("nothing is kept")
		})
	}
}

// TestAggressiveMethods: nothing but a pre-shared key.
func TestAggressiveMethods(t *testing.T) {
	for method := range uint16(12) {
		if method == 1 {
			continue
		}
		w := newWorld(t, withGroups)
		p := member(newPeer(1), "sales")
		p.Offer[0].Attributes[4] = wire.ShortAttribute(wire.AttrAuthMethod, method)
		w.say(p, p.AggressiveMode().Aggressive1())
		want(t, dropped(w, ikev1.DropNoProposal), 1, fmt.Sprintf("method %d", method))
		want(t, len(w.seen), 0, "no Diffie-Hellman")
	}
}

// TestUnknownGroup: who does not name a group costs nothing and gets nothing.
func TestUnknownGroup(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, c := range []struct {
		name, hint string
		id         wire.ID
	}{
		{"another name", "add marketing to ike.groups", wire.ID{Kind: wire.IDKeyID, Data: []byte("marketing")}},
		{"other letters", "add SALES to", wire.ID{Kind: wire.IDFQDN, Data: []byte("SALES")}},
		{"an address", "add 198.51.0.1 to", wire.AddrID(netip.MustParseAddr("198.51.0.1"), 0, 0)},
		{"a name in a type that is no name", "to ike.groups", wire.ID{Kind: wire.IDDERDN, Data: []byte("sales")}},
		{"no name", "", wire.ID{Kind: wire.IDKeyID}},
		{"a long name", "to the name of one of ike.groups", wire.ID{Kind: wire.IDKeyID, Data: []byte(long)}},
		{"control characters", `type11:0a00`, wire.ID{Kind: wire.IDKeyID, Data: []byte("\n\x00")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(config *ikev1.Config) {
				config.GroupPSK = func(keyID []byte) []byte {
					if s := string(keyID); s == "sales" || s == long || s == "" {
						return []byte(groupPSK)
					}
					return nil
				}
			})
			for n := range uint64(100) {
				p := newPeer(n)
				p.Identity = c.id
				want(t, w.silent(p, p.AggressiveMode().Aggressive1(), "no such group"), ikev1.DropUnknownGroup, "the reason")
			}
			failed := eventsOf[ikev1.Phase1Failed](w)
			if len(failed) == 0 || len(failed) > 10 || failed[0].Code != ikev1.CauseUnknownGroup || !strings.Contains(failed[0].Hint, c.hint) {
				t.Errorf("the operator is told %+v", failed)
			}
			want(t, len(w.seen), 0, "no Diffie-Hellman")
			w.empty("nothing is kept")
		})
	}
	t.Run("the kinds of phones", func(t *testing.T) {
		w := newWorld(t, withGroups)
		p := member(newPeer(1), "family")
		p.Offer = []wire.Transform{ikev1test.Phase1Transform(1, 256, keymat.SHA1, dh.MODP1024)}
		p.VendorIDs = append(p.VendorIDs, []byte("\x44\x85\x15\x2d\x18\xb6\xbb\xcd\x0b\xe8\xa8\x46\x95\x79\xdd\xcc"))
		w.silent(p, p.AggressiveMode().Aggressive1(), "an Android")
		if failed := eventsOf[ikev1.Phase1Failed](w); len(failed) != 1 || !strings.Contains(failed[0].Hint, "clear the IPSec identifier") {
			t.Errorf("the operator is told %+v", failed)
		}
	})
}

// TestAggressiveKeyRemoved: the group is gone when its Diffie-Hellman is done.
func TestAggressiveKeyRemoved(t *testing.T) {
	key := []byte(groupPSK)
	w := newWorld(t, func(c *ikev1.Config) { c.GroupPSK = func([]byte) []byte { return key } })
	w.hold = func(ikev1.Action) bool { return true }
	p := member(newPeer(1), "sales")
	w.silent(p, p.AggressiveMode().Aggressive1(), "message 1")
	key = nil
	w.release()
	want(t, len(w.take()), 0, "no answer")
	if failed := eventsOf[ikev1.Phase1Failed](w); len(failed) != 1 || failed[0].Code != ikev1.CauseNoPSK {
		t.Errorf("the operator is told %+v", failed)
	}
	w.empty("it is over")
}

// TestAggressiveClients: those of one group are told apart by their addresses and ports, and each is the same when it comes again.
func TestAggressiveClients(t *testing.T) {
	w := newWorld(t, withGroups)
	var modes []*ikev1test.MainMode
	for n := range uint16(3) {
		p := member(newPeer(1).BehindNAT(6000+n, 7000+n), "sales")
		p.Rand = newPeer(uint64(100 + n)).Rand
		m := w.aggress(p)
		w.quick(m, 1)
		modes = append(modes, m)
	}
	want(t, len(w.engine.Clients()), 3, "three clients behind one NAT")
	again := w.aggress(modes[0].Peer)
	up := eventsOf[ikev1.Phase1Established](w)
	want(t, up[3].Client, up[0].Client, "the first comes again")
	want(t, up[3].Rekey, true, "it was known")
	w.quick(again, 7)
	want(t, len(w.engine.Clients()), 3, "still three clients")

	// The same machine by Main Mode, with its address for an identity, is somebody else.
	p := newPeer(1).BehindNAT(6000, 7000)
	p.Rand = newPeer(200).Rand
	w.connect(p)
	want(t, len(w.engine.Clients()), 4, "another identity")
}

// TestAggressiveInitialContact counts when it comes encrypted with the proof; in the clear it might be anybody's.
func TestAggressiveInitialContact(t *testing.T) {
	for _, clear := range []bool{false, true} {
		w := newWorld(t, withGroups)
		p := member(newPeer(1), "sales")
		w.quick(w.aggress(p), 1)
		m := w.hurry(p)
		three := m.Aggressive3Clear(m.InitialContact())
		if !clear {
			three = m.Aggressive3(m.InitialContact())
		}
		w.silent(p, three, "message 3")
		want(t, len(w.client().Children) == 1, clear, "the old child lives on only if nothing proves that it shall not")
	}
}
