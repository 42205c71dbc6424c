package ikev1_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// notice checks that the only notification is a RESPONDER-LIFETIME of these octets.
func notice(t *testing.T, list []wire.Notification, protocol wire.Protocol, spi, data []byte) {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d notifications", len(list))
	}
	n := list[0]
	if n.DOI != wire.DOIIPsec || n.Protocol != protocol || n.Kind != wire.NotifyResponderLifetime || string(n.SPI) != string(spi) || string(n.Data) != string(data) {
		t.Errorf("%+v", n)
	}
}

// TestResponderLifetime: a client that offers more than is allowed gets its transforms back as they are, and is told how long.
func TestResponderLifetime(t *testing.T) {
	w := newWorld(t, func(c *ikev1.Config) { c.MaxLifetime, c.MaxChildLifetime = 2*time.Hour, 30*time.Minute })
	p := newPeer(1)
	p.TakesNotices = true
	m := w.connect(p) // offers 8 hours
	cookies := append(m.CookieI[:], m.CookieR[:]...)
	notice(t, m.Notified, wire.ProtocolISAKMP, cookies, []byte{0x80, 11, 0, 1, 0, 12, 0, 4, 0, 0, 0x1c, 0x20})
	q := w.quick(m, 1) // offers an hour
	spi := binary.BigEndian.AppendUint32(nil, q.Theirs)
	notice(t, q.Notified, wire.ProtocolESP, spi, []byte{0x80, 1, 0, 1, 0, 2, 0, 4, 0, 0, 0x07, 0x08})
	want(t, w.inbound[q.Theirs].Lifetime, 30*time.Minute, "what the kernel is told")
	w.elapse(31 * time.Minute)
	want(t, len(w.inbound), 0, "the child has ended")
}

// TestNoResponderLifetime: whoever offers no more than is allowed gets no notification, which some clients refuse. The peer here does.
func TestNoResponderLifetime(t *testing.T) {
	for _, most := range []time.Duration{8 * time.Hour, 9 * time.Hour, 0} {
		w := newWorld(t, func(c *ikev1.Config) { c.MaxLifetime, c.MaxChildLifetime = most, most/8 })
		w.quick(w.connect(newPeer(1)), 1)
	}
	// Phase by phase.
	w := newWorld(t, func(c *ikev1.Config) { c.MaxChildLifetime = 10 * time.Minute })
	m := w.connect(newPeer(1))
	m.TakesNotices = true
	want(t, len(w.quick(m, 1).Notified), 1, "only Quick Mode's lifetime is too long")
}

// TestResponderLifetimeObeyed: a peer that we call ends its SAs earlier than we offered; we rekey in time.
func TestResponderLifetimeObeyed(t *testing.T) {
	n := 0
	p := newPair(t, 3, func(c *ikev1.Config) {
		if n++; n == 2 {
			c.MaxLifetime, c.MaxChildLifetime = 20*time.Minute, 10*time.Minute
		}
	})
	left := p.ends[0]
	left.connect(left.connection())
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
	p.run(20 * time.Second)
	p.consistent()
	if len(seen) < 6 || len(seen) > 9 {
		t.Errorf("%d children in an hour", len(seen))
	}
	if rekeys := len(established(left)) - 1; rekeys < 3 || rekeys > 4 {
		t.Errorf("%d new ISAKMP SAs in an hour", rekeys)
	}
}

func established(e *end) (list []ikev1.Phase1Established) {
	for _, ev := range e.events {
		if ev, ok := ev.(ikev1.Phase1Established); ok {
			list = append(list, ev)
		}
	}
	return list
}

// TestResponderLifetimeLater: Cisco says it in an Informational exchange of its own. It counts for what we began, and never prolongs.
func TestResponderLifetimeLater(t *testing.T) {
	attributes := func(kind, duration uint16, seconds uint32) []byte {
		return wire.AppendAttributes(nil, wire.ShortAttribute(kind, 1), wire.LongAttribute(duration, seconds))
	}
	for _, c := range []struct {
		name        string
		offered     time.Duration
		seconds     uint32
		byInitiator bool
		rekeys      int // of each phase within 15 minutes: what replaces the SAs lives as long as was offered
	}{
		{"ten minutes", time.Hour, 600, false, 1},
		{"more than before", 10 * time.Minute, 7200, false, 1},
		{"a second, which counts as a minute", time.Hour, 1, false, 1},
		{"nothing", time.Hour, 0, false, 0},
		{"from the end that called", time.Hour, 600, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 4)
			left := p.ends[0]
			connection := left.connection()
			connection.Lifetime, connection.ChildLifetime = c.offered, c.offered
			left.connect(connection)
			p.run(time.Second)
			from := left.other
			if c.byInitiator {
				from = left
			}
			spi := binary.BigEndian.AppendUint32(nil, from.children()[0][0])
			for _, n := range []wire.Notification{
				{DOI: wire.DOIIPsec, Protocol: wire.ProtocolISAKMP, Kind: wire.NotifyResponderLifetime, Data: attributes(11, 12, c.seconds)},
				{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, Kind: wire.NotifyResponderLifetime, SPI: spi, Data: attributes(1, 2, c.seconds)},
			} {
				from.absorb(ikev1.Inform(from.engine, p.now, from.engine.Clients()[0].ID, n))
				p.run(time.Second)
			}
			p.run(15 * time.Minute)
			p.consistent()
			children := 0
			for _, ev := range left.events {
				if ev, ok := ev.(ikev1.ChildEstablished); ok && ev.Rekey {
					children++
				}
			}
			if got := len(established(left)) - 1; got != c.rekeys || children != c.rekeys {
				t.Errorf("%d new ISAKMP SAs and %d new children", got, children)
			}
		})
	}
}

// TestResponderLifetimeOfClient: a client of ours that sends the notification cannot shorten anything: it rekeys its own SAs.
func TestResponderLifetimeOfClient(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := w.quick(m, 1)
	n := wire.Notification{DOI: wire.DOIIPsec, Protocol: wire.ProtocolESP, Kind: wire.NotifyResponderLifetime,
		SPI: binary.BigEndian.AppendUint32(nil, q.Ours), Data: wire.AppendAttributes(nil, wire.ShortAttribute(1, 1), wire.LongAttribute(2, 60))}
	want(t, len(w.say(p, m.Informational(n))), 0, "a notification is not answered")
	w.elapse(59 * time.Minute)
	want(t, len(w.inbound), 1, "the child lives as long as was negotiated")
}
