package ikev1_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/pki"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// restartBoth restarts both ends of a pair.
func (p *pair) restartBoth() {
	p.t.Helper()
	for _, e := range p.ends {
		e.resume()
	}
}

// TestRestartOfConnection: whoever connects the same again has the connection that is up, and no other. It is rekeyed as before.
func TestRestartOfConnection(t *testing.T) {
	rule, err := pki.ParseRule("CN=called.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		pair   *pair
		adjust func(*ikev1.Connection)
	}{
		"a pre-shared key": {newPair(t, 3), func(*ikev1.Connection) {}},
		"PFS and octets":   {newPair(t, 4), func(c *ikev1.Connection) { c.PFS, c.LifetimeBytes, c.LocalPort = dh.ECP256, 1<<30, 1702 }},
		"certificates": {certified(t, pki.ECDSA256, nil), func(c *ikev1.Connection) {
			c.Method, c.Allow = pki.ECDSA256, []pki.Rule{rule}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.pair
			left, right := p.ends[0], p.ends[1]
			wanted := left.connection()
			wanted.Lifetime, wanted.ChildLifetime = 20*time.Minute, 10*time.Minute
			c.adjust(&wanted)
			id := left.connect(wanted)
			p.run(3 * time.Second)
			client := left.engine.Clients()[0]
			want(t, client.Connection, id, "the client of the connection")
			p.restartBoth()
			again, out, err := left.engine.Connect(p.now, wanted)
			if err != nil || again != id || len(out.Actions)+len(out.Send)+len(out.Events)+len(out.Records) > 0 {
				t.Errorf("connecting again: %d, %v, %v", again, out, err)
			}
			want(t, left.engine.Clients()[0].ID, client.ID, "the client")
			p.consistent()
			for range 6 {
				p.run(7 * time.Minute)
				p.restartBoth()
				want(t, len(left.children()), 1, "children")
			}
			p.run(30 * time.Second)
			p.consistent()
			if has(left, func(ikev1.ClientGone) bool { return true }) || has(right, func(ikev1.ClientGone) bool { return true }) {
				t.Error("the client was gone")
			}
			left.absorb(left.engine.Disconnect(p.now, id, "enough"))
			p.run(10 * time.Minute)
			p.over()
		})
	}
}

// TestRestartWithAnotherConnection: whoever connects the same peer in another way gets another connection, which takes the place of the one
// that was up. Nothing is lost on the way.
func TestRestartWithAnotherConnection(t *testing.T) {
	p := newPair(t, 5)
	left := p.ends[0]
	c := left.connection()
	id := left.connect(c)
	p.run(time.Second)
	left.resume()
	c.PFS = dh.ECP256
	second := left.connect(c)
	if second == id {
		t.Errorf("connection %d, which is another one", second)
	}
	p.run(5 * time.Second)
	want(t, len(ikev1.Connections(left.engine)), 1, "connections")
	want(t, left.engine.Clients()[0].Connection, second, "the client's connection")
	want(t, len(left.children()), 1, "children")
	if has(left, func(ikev1.ClientGone) bool { return true }) {
		t.Error("the client was gone")
	}
	p.consistent()
}

// TestRestartBeforeChild: a Quick Mode of ours that was lost with a restart is begun anew.
func TestRestartBeforeChild(t *testing.T) {
	p := newPair(t, 6)
	left := p.ends[0]
	left.deafTo(t, p, func() { left.connect(left.connection()) })
	left.resume()
	want(t, len(left.children()), 0, "children")
	p.run(3 * time.Second)
	want(t, len(left.children()), 1, "children")
	p.run(time.Minute)
	p.consistent()
}

// deafTo does something, and lets an end hear no more as soon as it has a client.
func (e *end) deafTo(t *testing.T, p *pair, do func()) {
	t.Helper()
	p.learn = func(at *end, ev ikev1.Event) {
		if _, up := ev.(ikev1.Phase1Established); up && at == e {
			e.deaf = true
		}
	}
	do()
	p.run(2 * time.Second)
	p.learn, e.deaf = nil, false
	want(t, len(e.engine.Clients()), 1, "clients")
}

// TestRestartWithoutKey: a connection that we could not begin any more lives as long as what it has.
func TestRestartWithoutKey(t *testing.T) {
	p := newPair(t, 7)
	left := p.ends[0]
	c := left.connection()
	c.Lifetime, c.ChildLifetime = 20*time.Minute, 10*time.Minute
	left.connect(c)
	p.run(time.Second)
	left.otherwise = true
	left.config.PSK = func(netip.Addr, netip.Addr) []byte { return nil }
	left.resume()
	want(t, left.engine.Clients()[0].Connection, 0, "it has no connection")
	if _, _, err := left.engine.Connect(p.now, c); err == nil {
		t.Error("connected without a key")
	}
	p.run(15 * time.Minute)
	want(t, len(left.children()), 1, "children: Quick Mode needs no key of ours")
	p.run(40 * time.Minute)
	p.over()
}

// TestRestartTellsAll: a configuration that wants records gets those of the clients that there are.
func TestRestartTellsAll(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.Records = false })
	w.quick(w.connect(overIPv6(newPeer(1))), 1)
	w.connect(newPeer(2))
	want(t, len(w.records), 0, "records")
	w.config.Records = true
	w.ok(w.engine.Configure(w.config))
	w.absorb(w.engine.Advance(w.now))
	want(t, len(w.records), 2, "records")
	w.restart(func(c *ikev1.Config) {
		c.MaxClients, c.MaxClientsPerAddr, c.MaxChildren = 1, 1, 1
		c.Phase1 = []ikev1.Phase1Proposal{{Cipher: keymat.AES, KeyBits: 128, Hash: keymat.SHA512, Group: dh.ECP521}}
	})
	want(t, len(w.engine.Clients()), 2, "clients: a limit that is exceeded already ends nobody")
}

// TestRestartTakesTurns: after a long time without an engine not everybody is asked at once whether it lives.
func TestRestartTakesTurns(t *testing.T) {
	w := newWorld(t)
	const n = 40
	for i := range uint64(n) {
		p := newPeer(i)
		p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
		w.quick(w.connect(p), 1)
	}
	w.now = w.now.Add(45 * time.Second)
	w.restart()
	most, all := 0, 0
	for range 10 {
		w.elapse(time.Second)
		asked := len(w.take())
		most, all = max(most, asked), all+asked
	}
	want(t, all, n, "questions in ten seconds")
	if most > n/4 {
		t.Errorf("%d of %d questions in one second", most, n)
	}
}

// TestRestartKeepsNATOpen: a NAT in front of us is kept open after a restart as before.
func TestRestartKeepsNATOpen(t *testing.T) {
	w := newWorld(t)
	p := serverBehindNAT(newPeer(1).BehindNAT(500, 4500))
	m := w.connect(p)
	w.quick(m, 1)
	w.now = w.now.Add(time.Hour)
	w.restart()
	w.elapse(10 * time.Second)
	keepalives := 0
	for _, d := range w.take() {
		if len(d.Payload) == 1 {
			keepalives++
		}
	}
	want(t, keepalives, 1, "keepalives")
}

// TestRestartOfEachKind: whoever the client is, it goes on after a restart.
func TestRestartOfEachKind(t *testing.T) {
	eachKind(t, func(t *testing.T, k *ikev1test.Kind) {
		w := newWorld(t, withProfile(ikev1.Legacy))
		m, q, _ := w.dial(k, natted(k, 2))
		w.restart()
		next := k.QuickMode(m, 2)
		w.ok(next.TakeMessage2(w.ask(m.Peer, next.Message1(), "another child")))
		w.restart()
		w.say(m.Peer, next.Message3())
		w.ok(w.agree(next, true))
		w.hangUp(m, q, next)
		w.empty("the client hung up")
	})
}

// TestRestartBeforeSwitch: traffic that still goes through the child that was replaced goes on there until its time.
func TestRestartBeforeSwitch(t *testing.T) {
	p := newPair(t, 8)
	left := p.ends[0]
	left.connect(left.connection())
	p.run(time.Minute)
	left.absorb(left.engine.Rekey(p.now, left.engine.Clients()[0].ID))
	p.run(time.Second)
	left.resume()
	want(t, len(left.outbound), 1, "outbound SAs")
	p.run(10 * time.Second)
	want(t, len(left.outbound), 2, "outbound SAs: the old one is for what is on its way")
	p.run(time.Minute)
	p.consistent()
}

// TestRestartOfWhoChangedPorts: each SA stays on the ports that it has, though the client is elsewhere by now.
func TestRestartOfWhoChangedPorts(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	first := w.connect(p)
	w.quick(first, 1)
	there := *p
	there.Server, there.Encapsulated = netip.AddrPortFrom(p.Server.Addr(), 4500), true
	m := w.connect(&there)
	want(t, w.client().Encapsulated, true, "the client is on port 4500")
	w.restart()
	// An answer goes where the ISAKMP SA is.
	w.ask(p, first.Informational(first.DPD(wire.NotifyRUThere, 1)), "R-U-THERE in the old ISAKMP SA")
	w.ask(&there, m.Informational(m.DPD(wire.NotifyRUThere, 1)), "R-U-THERE in the new one")
	for _, ch := range w.engine.Installed() {
		want(t, ch.In.Encapsulated, false, "the child stays what it was")
		want(t, ch.In.Local, p.Server, "the child stays where it was")
	}
}
