package ikev1_test

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

func TestKeepalive(t *testing.T) {
	w := newWorld(t)
	p := serverBehindNAT(newPeer(1))
	m := w.connect(p)
	q := w.quick(m, 1)
	w.take()
	w.elapse(19 * time.Second)
	want(t, len(w.take()), 0, "nothing before the interval is over")
	for range 3 {
		w.elapse(20 * time.Second)
		sent := w.take()
		if len(sent) != 1 || string(sent[0].Payload) != "\xff" || !sent[0].Encapsulated || sent[0].Remote != p.Addr {
			t.Fatalf("sent %+v, want one keepalive", sent)
		}
	}
	w.hangUp(m, q)
	w.take()
	w.elapse(time.Hour)
	want(t, len(w.take()), 0, "no keepalive to a client that has gone")

	w = newWorld(t)
	w.quick(w.connect(newPeer(1).BehindNAT(500, 4500)), 1)
	w.take()
	w.elapse(10 * time.Minute)
	want(t, len(w.take()), 0, "the NAT in front of the client is the client's business")
}

func TestMoved(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(500, 4500)
	m := w.connect(p)
	w.quick(m, 1)
	id := w.client().ID
	to := newPeer(1).BehindNAT(500, 4711).Addr
	w.absorb(w.engine.Moved(w.now, id, to))
	moved := eventsOf[ikev1.ClientMoved](w)
	if len(moved) != 1 || moved[0].Client != id || moved[0].Remote != w.client().Remote {
		t.Errorf("ClientMoved events %+v", moved)
	}
	w.absorb(w.engine.Moved(w.now, id, w.client().Remote))
	want(t, len(eventsOf[ikev1.ClientMoved](w)), 1, "no event when nothing changes")
	w.absorb(w.engine.CloseClient(w.now, id, "by the operator"))
	for _, d := range w.take() {
		want(t, d.Remote, moved[0].Remote, "we talk to the new port")
	}
}
