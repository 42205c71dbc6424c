package ikev1_test

import (
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// deleted returns the SPIs of ESP that the client is told are deleted.
func deleted(w *world, m *ikev1test.MainMode, sent []ikev1.Datagram) (spis []uint32) {
	w.t.Helper()
	for _, d := range sent {
		payloads, err := m.OpenInformational(d.Payload)
		w.ok(err)
		del, err := wire.ParseDelete(payloads[0].Body)
		w.ok(err)
		want(w.t, del.Protocol, wire.ProtocolESP, "only ESP is deleted")
		for _, spi := range del.SPIs {
			spis = append(spis, uint32(spi[0])<<24|uint32(spi[1])<<16|uint32(spi[2])<<8|uint32(spi[3]))
		}
	}
	return spis
}

// TestExpired: a soft limit is the client's business, a hard one ends the child and no other.
func TestExpired(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	first, second := w.quick(m, 1), w.quick(m, 2)
	in := w.inbound[first.Theirs]
	told := func(client ikev1.ClientID, child ikev1.ChildID, hard bool) []uint32 {
		w.absorb(w.engine.Expired(w.now, client, child, hard))
		return deleted(w, m, w.take())
	}
	events := len(w.events)
	want(t, len(told(in.Client, in.Child, false)), 0, "soft")
	want(t, len(told(in.Client+1, in.Child, true)), 0, "another client")
	want(t, len(told(in.Client, in.Child+100, true)), 0, "a child that is not there")
	want(t, len(w.events), events, "nothing has happened")
	w.ok(w.agree(first, true))

	spis := told(in.Client, in.Child, true)
	if len(spis) != 1 || spis[0] != first.Theirs {
		t.Errorf("deleted %x, want %x", spis, first.Theirs)
	}
	want(t, w.agree(first, true) != nil, true, "both SAs are removed")
	w.ok(w.agree(second, true))
	want(t, len(told(in.Client, in.Child, true)), 0, "the kernel tells of the other SA, too")
	closed := eventsOf[ikev1.ChildClosed](w)
	want(t, len(closed), 1, "one child is closed")
	want(t, closed[0].ByPeer, false, "by us")

	w.quick(m, 3)
	want(t, len(w.client().Children), 2, "the client makes a new one")
}

// TestExpiredLast: a client that has nothing but a child is gone with it.
func TestExpiredLast(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	in := w.inbound[w.quick(m, 1).Theirs]
	w.say(p, m.Informational(m.DeleteISAKMP()))
	w.take()
	w.absorb(w.engine.Expired(w.now, in.Client, in.Child, true))
	want(t, len(w.take()), 0, "there is no SA to say it in")
	want(t, len(eventsOf[ikev1.ClientGone](w)), 1, "the client is gone")
	w.empty("after the last child")
}

// TestLost: a child that lacks an SA is removed like one at its hard limit, and events say why.
func TestLost(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := m.QuickMode(1)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	w.say(p, q.Message3())
	w.take()
	in := w.inbound[q.Theirs]
	w.absorb(w.engine.Lost(w.now, in.Client+1, in.Child, "of nobody"))
	w.absorb(w.engine.Lost(w.now, in.Client, in.Child+1, "nothing"))
	want(t, len(w.client().Children), 1, "another client's, another child")
	w.absorb(w.engine.Lost(w.now, in.Client, in.Child, "somebody took it"))
	if spis := deleted(w, m, w.take()); len(spis) != 1 || spis[0] != q.Theirs {
		t.Errorf("deleted %x, want %x", spis, q.Theirs)
	}
	closed := eventsOf[ikev1.ChildClosed](w)
	if len(closed) != 1 || closed[0].Reason != "somebody took it" || closed[0].ByPeer {
		t.Errorf("told %+v", closed)
	}
	w.quick(m, 2)
	want(t, len(w.client().Children), 1, "the client makes a new one")
}

// TestExpiredUnfinished: the inbound SA may be used up before message 3, or while the outbound one is being installed.
func TestExpiredUnfinished(t *testing.T) {
	for name, before := range map[string]bool{"before message 3": true, "outbound SA being installed": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := newPeer(1)
			m := w.connect(p)
			q := m.QuickMode(1)
			w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
			in := w.inbound[q.Theirs]
			if !before {
				w.hold = func(a ikev1.Action) bool { _, outbound := a.(ikev1.InstallOutbound); return outbound }
				w.say(p, q.Message3())
			}
			w.absorb(w.engine.Expired(w.now, in.Client, in.Child, true))
			spis := deleted(w, m, w.take())
			if len(spis) != 1 || spis[0] != q.Theirs {
				t.Errorf("deleted %x, want %x", spis, q.Theirs)
			}
			if before {
				w.silent(p, q.Message3(), "its Quick Mode is over")
			}
			w.release()
			want(t, len(w.inbound)+len(w.outbound), 0, "SAs are left")
			want(t, len(eventsOf[ikev1.ChildEstablished](w)), 0, "it was never established")
			w.quick(m, 2)
			w.hangUp(m)
			w.elapse(2 * ikev1.MaxLifetime)
			w.empty("after all")
		})
	}
}
