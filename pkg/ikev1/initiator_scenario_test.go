package ikev1_test

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
)

// TestConnect: an engine calls another one, and both have the same child.
func TestConnect(t *testing.T) {
	for name, adjust := range map[string]func(*ikev1.Connection){
		"defaults": func(*ikev1.Connection) {},
		"PFS":      func(c *ikev1.Connection) { c.PFS = dh.ECP256 },
		"ESN":      func(c *ikev1.Connection) { c.ESN = true },
		"AES-GCM with 8 octets": func(c *ikev1.Connection) {
			c.Phase2 = []ikev1.Phase2Proposal{{Encryption: ikev1.AESGCM8, KeyBits: 192}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 1)
			left := p.ends[0]
			c := left.connection()
			adjust(&c)
			id := left.connect(c)
			p.run(time.Second)
			if len(left.children()) != 1 {
				t.Fatalf("no child: %s; %s", left.describe(), left.other.describe())
			}
			p.consistent()
			for _, sa := range left.inbound {
				want(t, sa.ESN, c.ESN, "extended sequence numbers")
			}
			left.absorb(left.engine.Disconnect(p.now, id, "enough"))
			p.run(time.Minute)
			p.over()
		})
	}
}

// TestUsualOffer: without a list of its own, a connection offers what the least that Compatible allows has in common with it.
func TestUsualOffer(t *testing.T) {
	all := ikev1.Compatible.Phase2()
	p := newPairOf(t, 7, nil, []func(*ikev1.Config){func(c *ikev1.Config) { c.Phase2 = all[len(all)-1:] }})
	p.ends[0].connect(p.ends[0].connection())
	p.run(time.Second)
	want(t, len(p.ends[0].children()), 1, "children")
	p.consistent()
}

// TestRekeyingByInitiator: both phases are replaced in time, and there is always a child that both ends have.
func TestRekeyingByInitiator(t *testing.T) {
	p := newPair(t, 2)
	left := p.ends[0]
	c := left.connection()
	c.Lifetime, c.ChildLifetime = 20*time.Minute, 10*time.Minute
	left.connect(c)
	p.run(time.Second)
	seen := map[[2]uint32]bool{}
	for range 6 * 60 {
		p.run(10 * time.Second)
		list := left.children()
		if len(list) == 0 {
			t.Fatalf("no child at %v: %s", p.now.Sub(start), left.describe())
		}
		for _, ch := range list {
			seen[ch] = true
		}
	}
	p.consistent()
	if len(seen) < 6 || len(seen) > 9 {
		t.Errorf("%d children in an hour", len(seen))
	}
	rekeys := 0
	for _, e := range left.events {
		if e, ok := e.(ikev1.Phase1Established); ok && e.Rekey {
			rekeys++
		}
	}
	if rekeys < 3 || rekeys > 4 {
		t.Errorf("%d new ISAKMP SAs in an hour", rekeys)
	}
	want(t, len(left.engine.Clients()), 1, "it is the same client")
}

// TestSoftLimitOfInitiator: the kernel says that a child has carried enough, maybe more than once, and one new child takes its place.
func TestSoftLimitOfInitiator(t *testing.T) {
	p := newPair(t, 3)
	left := p.ends[0]
	c := left.connection()
	c.LifetimeBytes = 250_000_000
	left.connect(c)
	p.run(time.Second)
	before := left.engine.Clients()[0]
	for _, sa := range left.other.inbound {
		want(t, sa.LifetimeBytes, c.LifetimeBytes, "both ends know the limit")
	}
	for range 2 {
		left.absorb(left.engine.Expired(p.now, before.ID, before.Children[0].ID, false))
	}
	p.run(10 * time.Second)
	want(t, len(left.children()), 2, "the old child lives on for packets on their way")
	left.absorb(left.engine.Expired(p.now, before.ID, before.Children[0].ID, false))
	p.run(time.Minute)
	want(t, len(left.children()), 1, "then only the new one is left")
	p.consistent()
}

// TestSwitchToNewChild: our traffic goes through the old child until the peer has had time for message 3, also when that is lost, and
// through the new one before the old one goes.
func TestSwitchToNewChild(t *testing.T) {
	for name, c := range map[string]struct {
		lose  bool // message 3
		early bool // the peer deletes the old child at once
		at    time.Duration
	}{
		"usual":            {at: 5 * time.Second},
		"message 3 lost":   {lose: true, at: 7 * time.Second},
		"old one deleted":  {early: true},
		"lost and deleted": {lose: true, early: true, at: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 6)
			left, right := p.ends[0], p.ends[1]
			left.connect(left.connection())
			p.run(time.Second)
			old := right.engine.Clients()[0]
			sent := 0
			p.watch = func(d ikev1.Datagram) {
				p.loss = 0
				if d.Local.Addr() == left.addr && d.Payload[18] == 32 { // Quick Mode
					if sent++; sent == 2 && c.lose {
						p.loss = 1
					}
				}
			}
			began := p.now
			left.absorb(left.engine.Rekey(p.now, left.engine.Clients()[0].ID))
			p.run(100 * time.Millisecond)
			left.absorb(left.engine.Expired(p.now, left.engine.Clients()[0].ID, left.engine.Clients()[0].Children[0].ID, false))
			for c.early && len(right.outbound) < 2 {
				p.run(100 * time.Millisecond)
			}
			if c.early {
				right.absorb(right.engine.Expired(p.now, old.ID, old.Children[0].ID, true))
			}
			for len(left.children()) == 1 && left.children()[0][1] == old.Children[0].SPIIn {
				if len(left.outbound) != 1 || p.now.Sub(began) > time.Minute {
					t.Fatalf("after %v: outbound SAs %v", p.now.Sub(began), left.outbound)
				}
				p.run(100 * time.Millisecond)
			}
			if took := p.now.Sub(began); took < c.at || took > c.at+time.Second {
				t.Errorf("the new child is used after %v, want %v", took, c.at)
			}
			p.run(time.Minute)
			want(t, len(left.children()), 1, "only the new child is left")
			p.consistent()
			want(t, sent, map[bool]int{false: 2, true: 3}[c.lose], "Quick Mode messages of ours")
		})
	}
}

// TestHardLimitOfInitiator: an SA that the kernel has ended takes its child along, even right after Quick Mode.
func TestHardLimitOfInitiator(t *testing.T) {
	p := newPair(t, 5)
	left := p.ends[0]
	left.connect(left.connection())
	p.run(time.Second)
	c := left.engine.Clients()[0]
	left.absorb(left.engine.Expired(p.now, c.ID, c.Children[0].ID, true))
	want(t, len(left.children()), 0, "the child is gone")
	p.run(time.Second)
	p.consistent()
}

// TestRekeyByResponder: whoever was called may begin a Quick Mode, too.
func TestRekeyByResponder(t *testing.T) {
	p := newPair(t, 4)
	left, right := p.ends[0], p.ends[1]
	left.connect(left.connection())
	p.run(time.Second)
	old := right.children()[0]
	right.absorb(right.engine.Rekey(p.now, right.engine.Clients()[0].ID))
	p.run(time.Minute)
	if list := right.children(); len(list) != 1 || list[0] == old {
		t.Errorf("children %x, before %x: %s", list, old, right.describe())
	}
	p.consistent()
}
