package ikev1_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestKeyOfAllIsNoMembership: whoever knows the key of all and is in the way may speak in a group's name from the address of a member,
// but gets at nothing of the member's.
func TestKeyOfAllIsNoMembership(t *testing.T) {
	w := newWorld(t, withGroups)
	p := member(newPeer(1), "sales")
	q := w.quick(w.aggress(p), 1)
	impostor := newPeer(2)
	impostor.Addr, impostor.Inner, impostor.Identity = p.Addr, p.Inner, p.Identity
	m := w.greet(impostor)
	w.ok(m.TakeMessage6(w.ask(impostor, m.Message5(m.InitialContact()), "the key is right")))
	w.say(impostor, m.Informational(q.DeleteESP()))
	w.ok(w.agree(q, true))
	want(t, len(w.engine.Clients()), 2, "clients")
}

// TestKeyOfAllIsNoCertificate: the same for the owner of a certificate.
func TestKeyOfAllIsNoCertificate(t *testing.T) {
	root := certify(t, nil, "root", signer(t, pki.ECDSA256), asAuthority)
	caller, called := certify(t, root, "caller", signer(t, pki.ECDSA256), nil), certify(t, root, "called", signer(t, pki.ECDSA256), nil)
	withKey := func(c *ikev1.Config) { c.PSK = func(netip.Addr, netip.Addr) []byte { return []byte(goodPSK) } }
	p := newPairOf(t, 11,
		[]func(*ikev1.Config){trusting(t, root), identify(t, caller)},
		[]func(*ikev1.Config){trusting(t, root), identify(t, called), withKey})
	left, right := p.ends[0], p.ends[1]
	c := left.connection()
	c.Method = pki.ECDSA256
	left.connect(c)
	p.run(5 * time.Second)
	impostor := ikev1test.NewPeer(netip.AddrPortFrom(left.addr, 500), netip.AddrPortFrom(right.addr, 500), []byte(goodPSK), strings.NewReader(strings.Repeat("0123456789abcdef", 64)))
	impostor.Identity = wire.ID{Kind: wire.IDDERDN, Data: caller.cert.RawSubject}
	m := impostor.MainMode()
	answers := make(map[string][]byte)
	p.watch = func(d ikev1.Datagram) { answers[d.Local.String()] = d.Payload }
	ask := func(message []byte) []byte {
		delete(answers, impostor.Server.String())
		right.absorb(right.engine.Handle(p.now, ikev1.Datagram{Local: impostor.Server, Remote: impostor.Addr, Payload: message}))
		p.run(time.Second)
		return answers[impostor.Server.String()]
	}
	for _, step := range []error{
		m.TakeMessage2(ask(m.Message1())), m.TakeMessage4(ask(m.Message3())), m.TakeMessage6(ask(m.Message5(m.InitialContact()))),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	want(t, len(right.engine.Clients()), 2, "clients")
	want(t, len(right.children()), 1, "the child of the owner of the certificate")
	p.consistent()
}

// TestLongIdentity: an identity that no certificate has is not kept for the life of a client.
func TestLongIdentity(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	p.Identity = wire.ID{Kind: wire.IDKeyID, Data: make([]byte, 2048)}
	m := w.greet(p)
	want(t, w.silent(p, m.Message5(), "too long"), ikev1.DropAuthentication, "the reason")
	p.Identity.Data = p.Identity.Data[:2044]
	m = w.greet(p)
	w.ok(m.TakeMessage6(w.ask(p, m.Message5(), "long")))
}
