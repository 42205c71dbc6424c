package ikev1_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestFragmentsExpire: after 30 s what there is counts no more.
func TestFragmentsExpire(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.connect(p)
	q := m.QuickMode(1)
	parts := ikev1test.Fragments(q.Message1(), 1, 120)
	last := len(parts) - 1
	w.sayAll(p, parts[:last]...)
	w.elapse(30 * time.Second)
	want(t, len(w.say(p, parts[last])), 0, "too late for the others")
	w.elapse(29 * time.Second)
	want(t, len(w.sayAll(p, parts[:last]...)), 1, "the others again")

	w.say(p, parts[0])
	w.elapse(time.Minute)
	w.take() // repetitions of Quick Mode message 2
	stranger := newPeer(2)
	w.say(stranger, wire.Message(w.greet(stranger).Header(), wire.Fragment{ID: 1, Number: 1, Data: []byte("x")}))
	_, known := ikev1.Reassembling(w.engine)
	want(t, known, 0, "anybody's fragment clears up what is late")
	w.say(p, parts[0])
	w.hangUp(m)
	w.elapse(time.Minute)
	w.empty("the memory goes with the SA")
}

// TestFragmentFlood: 10,000 fragments of each of many SAs take no more memory than is allowed, keep no client out, and push no client's
// message out.
func TestFragmentFlood(t *testing.T) {
	const limit = 1<<20 + 32<<10
	w := newWorld(t)
	friend := newPeer(1000)
	f := w.connect(friend)
	q := f.QuickMode(1)
	mine := ikev1test.Fragments(q.Message1(), 1, 100)
	w.sayAll(friend, mine[0])

	var crowd []*ikev1test.MainMode
	for n := range uint64(300) {
		crowd = append(crowd, w.greet(newPeer(n+1)))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	junk := make([]byte, 9000)
	for range 10_000 {
		m := crowd[rng.IntN(len(crowd))]
		part := wire.Fragment{ID: uint16(rng.IntN(2)), Number: uint8(1 + rng.IntN(40)), Last: rng.IntN(20) == 0, Data: junk[:1+rng.IntN(len(junk))]}
		want(t, len(w.say(m.Peer, wire.Message(m.Header(), part))), 0, "junk is not answered")
		if strangers, _ := ikev1.Reassembling(w.engine); strangers > limit {
			t.Fatalf("%d octets under reassembly", strangers)
		}
	}
	if strangers, _ := ikev1.Reassembling(w.engine); strangers < limit-64<<10 {
		t.Errorf("only %d octets under reassembly: this was no flood", strangers)
	}
	// One octet each is the worst that numbers can do.
	for range 300 {
		for n := range uint8(31) {
			w.say(crowd[0].Peer, wire.Message(crowd[0].Header(), wire.Fragment{ID: 3, Number: 32 - n, Data: junk[:1]}))
		}
	}
	honest := newPeer(2000)
	m := w.greet(honest)
	w.ok(m.TakeMessage6(w.one(honest, w.sayAll(honest, ikev1test.Fragments(long(m, 12000), 1, 508)...), "an honest client in a flood")))
	w.ok(q.TakeMessage2(w.one(friend, w.sayAll(friend, mine[1:]...), "a client's fragment is still there")))
	w.elapse(8 * 24 * time.Hour)
	w.empty("everything has expired")
}

// TestHugeMessage: 64 KB are too much, in one datagram or in fragments.
func TestHugeMessage(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.greet(p)
	iv := m.IV
	five := long(m, 60000)
	want(t, w.silent(p, five, "one datagram"), ikev1.DropTooLarge, "one datagram")
	for _, size := range []int{508, 1212, 9000} {
		want(t, len(w.sayAll(p, ikev1test.Fragments(five, 1, size)...)), 0, "64 KB in fragments")
		w.reassembling(32<<10, "64 KB in fragments")
	}
	m.IV = iv
	w.ok(m.TakeMessage6(w.one(p, w.sayAll(p, ikev1test.Fragments(long(m, 16000), 2, 508)...), "16 KB are not too much")))
}

// FuzzFragments gives an engine a sequence of fragments: each is an octet of length and a payload's body with so many octets, for a
// stranger's SA or a client's. The engine must not panic, must keep its bounds, and must come to rest.
func FuzzFragments(f *testing.F) {
	p := newPeer(1)
	body := func(part wire.Fragment) []byte {
		b := part.AppendBody(nil)
		return append([]byte{byte(len(b))}, b...)
	}
	whole := p.MainMode().Message1()
	f.Add(byte(2), append(body(wire.Fragment{ID: 1, Number: 1, Data: whole[:50]}), body(wire.Fragment{ID: 1, Number: 2, Last: true, Data: whole[50:]})...))
	f.Add(byte(3), append(body(wire.Fragment{ID: 1, Number: 2, Last: true, Data: []byte("x")}), body(wire.Fragment{ID: 2, Number: 1, Data: []byte("y")})...))
	f.Fuzz(func(t *testing.T, state byte, b []byte) {
		w := newWorld(t)
		p := newPeer(1)
		m := w.reach(p, 2+state%4)
		w.take()
		for len(b) > 0 {
			n := min(1+int(b[0]), len(b))
			body := bytes.Clone(b[1:n])
			// A message that is complete belongs to this SA and has the right length, so that more of it is looked at.
			if len(body) >= 4+wire.HeaderLen && body[2] == 1 {
				copy(body[4:], m.CookieI[:])
				copy(body[12:], m.CookieR[:])
				if body[3]&1 != 0 {
					binary.BigEndian.PutUint32(body[28:], uint32(len(body)-4))
				}
			}
			w.say(p, wire.Message(m.Header(), wire.Raw{Kind: wire.PayloadFragment, Body: body}))
			w.reassembling(32<<10, "one message")
			b = b[n:]
		}
		w.elapse(8 * 24 * time.Hour)
		w.empty("everything has expired")
	})
}
