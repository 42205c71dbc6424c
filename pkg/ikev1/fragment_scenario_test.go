package ikev1_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// sayAll sends messages of p one after the other and returns all answers.
func (w *world) sayAll(p *ikev1test.Peer, messages ...[]byte) []ikev1.Datagram {
	var sent []ikev1.Datagram
	for _, m := range messages {
		sent = append(sent, w.say(p, m)...)
	}
	return sent
}

// long is a message 5 of several kilobytes, as with certificates.
func long(m *ikev1test.MainMode, octets int) []byte {
	return m.Message5(wire.VendorID(bytes.Repeat([]byte("long"), octets/4)))
}

// reassembling checks how much memory messages under reassembly take.
func (w *world) reassembling(most int, why string) {
	w.t.Helper()
	strangers, known := ikev1.Reassembling(w.engine)
	if strangers+known > most {
		w.t.Errorf("%d and %d octets under reassembly, at most %d may be: %s", strangers, known, most, why)
	}
}

func TestFragments(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		change func(parts [][]byte) [][]byte
	}{
		{"in order", 1212, nil},
		{"in pieces of 508 octets, as Windows makes them", 508, nil},
		{"backwards", 508, func(parts [][]byte) [][]byte { slices.Reverse(parts); return parts }},
		{"the last one first", 508, func(parts [][]byte) [][]byte { return append([][]byte{parts[len(parts)-1]}, parts[:len(parts)-1]...) }},
		{"each of them twice", 508, func(parts [][]byte) [][]byte {
			var twice [][]byte
			for _, part := range parts[:len(parts)-1] {
				twice = append(twice, part, part)
			}
			return append(twice, parts[len(parts)-1])
		}},
		{"one lost, and all repeated", 508, func(parts [][]byte) [][]byte { return append(slices.Clone(parts[:3]), parts[:5]...) }},
		{"shuffled", 100, func(parts [][]byte) [][]byte {
			rand.New(rand.NewPCG(1, 1)).Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			return parts
		}},
		{"with the encryption flag, as racoon sends them", 508, func(parts [][]byte) [][]byte {
			for _, part := range parts {
				part[19] |= byte(wire.FlagEncryption)
			}
			return parts
		}},
		{"with another exchange and message ID, which do not matter", 508, func(parts [][]byte) [][]byte {
			for i, part := range parts {
				part[18], part[23] = byte(wire.ExchangeQuick), byte(i)
			}
			return parts
		}},
	} {
		for _, p := range []*ikev1test.Peer{newPeer(1), newPeer(1).BehindNAT(500, 4500), overIPv6(newPeer(1))} {
			w := newWorld(t)
			m := w.greet(p)
			parts := ikev1test.Fragments(long(m, 2400), 1, c.size)
			if c.change != nil {
				parts = c.change(parts)
			}
			w.ok(m.TakeMessage6(w.one(p, w.sayAll(p, parts...), c.name)))
			want(t, w.client().Remote, p.Addr, c.name)
			w.reassembling(0, c.name)
			q := w.quick(m, 1)
			w.hangUp(m, q)
			w.empty(c.name)
		}
	}
}

// TestFragmentsOfWindows: the whole message comes first, and fragments each time that no answer has come.
func TestFragmentsOfWindows(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.greet(p)
	five := long(m, 2000)
	six := w.ask(p, five, "the whole message gets its answer, which is lost")
	for id := uint16(1); id <= 2; id++ {
		w.elapse(time.Second)
		again := w.one(p, w.sayAll(p, ikev1test.Fragments(five, id, 508)...), "fragments get the same answer")
		want(t, bytes.Equal(again, six), true, "nothing is computed twice")
	}
	want(t, len(eventsOf[ikev1.Phase1Established](w)), 1, "one phase 1")
	w.ok(m.TakeMessage6(six))
	w.quick(m, 1)
}

// TestFragmentsLater: fragments count after phase 1, too.
func TestFragmentsLater(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1).BehindNAT(500, 4500)
	m := w.connect(p)
	q := m.QuickMode(1)
	w.ok(q.TakeMessage2(w.one(p, w.sayAll(p, ikev1test.Fragments(q.Message1(), 1, 100)...), "a Quick Mode in fragments")))
	w.sayAll(p, ikev1test.Fragments(q.Message3(), 1, 30)...)
	w.ok(w.agree(q, true))
	w.sayAll(p, ikev1test.Fragments(m.Informational(q.DeleteESP()), 1, 30)...)
	want(t, len(eventsOf[ikev1.ChildClosed](w)), 1, "a Delete in fragments")
	w.hangUp(m)
	w.empty("hung up")
}

// TestFragmentsToPeer: a long answer goes in fragments to who has said that it takes them, and repetitions go the same way.
func TestFragmentsToPeer(t *testing.T) {
	for _, takes := range []bool{true, false} {
		w := newWorld(t)
		p := newPeer(1).BehindNAT(500, 4500)
		if !takes {
			p.VendorIDs = [][]byte{ikev1test.VendorRFC3947}
		}
		m := w.connect(p)
		// The transform comes back octet for octet: with a lifetime that has 3000 octets.
		q := m.QuickMode(1, func(q *ikev1test.QuickMode) {
			life := wire.Attribute{Type: wire.AttrSALifeDuration, Value: append(make([]byte, 2998), 0x0e, 0x10)}
			q.Propose(wire.Transform{Number: 1, ID: 12, Attributes: []wire.Attribute{
				wire.ShortAttribute(wire.AttrEncapsulation, 4), wire.ShortAttribute(wire.AttrSAKeyLength, 256),
				wire.ShortAttribute(wire.AttrAuthAlgorithm, 2), wire.ShortAttribute(wire.AttrSALifeType, 1), life,
			}})
		})
		sent := w.say(p, q.Message1())
		if (len(sent) > 1) != takes {
			t.Fatalf("%d datagrams, the peer takes fragments: %v", len(sent), takes)
		}
		two, err := ikev1test.Defragment(payloads(sent))
		w.ok(err)
		w.ok(q.TakeMessage2(two))
		for _, d := range sent {
			if takes && len(d.Payload) > 1248 {
				t.Errorf("a datagram of %d octets", len(d.Payload))
			}
		}
		w.elapse(3 * time.Second)
		if again := w.take(); !slices.EqualFunc(sent, again, func(a, b ikev1.Datagram) bool { return bytes.Equal(a.Payload, b.Payload) }) {
			t.Errorf("%d datagrams, then %d others", len(sent), len(again))
		}
		w.say(p, q.Message3())
		w.ok(w.agree(q, true))
	}
}

func payloads(list []ikev1.Datagram) [][]byte {
	var b [][]byte
	for _, d := range list {
		b = append(b, d.Payload)
	}
	return b
}

// TestFragmentationVendorID: it is answered in the long form, unless message 2 would be longer than message 1 with it.
func TestFragmentationVendorID(t *testing.T) {
	longForm := append(slices.Clone(ikev1test.VendorFragmentation), 0x80, 0, 0, 0)
	for _, c := range []struct {
		name      string
		vendorIDs [][]byte
		want      bool
	}{
		{"Windows", [][]byte{ikev1test.VendorWindows, ikev1test.VendorRFC3947, ikev1test.VendorFragmentation}, true},
		{"racoon", [][]byte{ikev1test.VendorRFC3947, longForm}, true},
		{"Cisco", [][]byte{ikev1test.VendorRFC3947, append(slices.Clone(ikev1test.VendorFragmentation), 0xc0, 0, 0, 0)}, true},
		{"no room", [][]byte{ikev1test.VendorRFC3947, ikev1test.VendorFragmentation}, false},
		{"not offered", [][]byte{ikev1test.VendorRFC3947, ikev1test.VendorUnknown}, false},
		{"cut short", [][]byte{ikev1test.VendorUnknown, ikev1test.VendorFragmentation[:15]}, false},
	} {
		w := newWorld(t)
		p := newPeer(1)
		p.VendorIDs = c.vendorIDs
		m := p.MainMode()
		one := m.Message1()
		two := w.ask(p, one, c.name)
		w.ok(m.TakeMessage2(two))
		got := slices.ContainsFunc(m.AnsweredVendorIDs, func(v []byte) bool { return bytes.Equal(v, longForm) })
		want(t, got, c.want, c.name)
		want(t, len(two) <= len(one), true, "message 2 is not longer than message 1: "+c.name)
	}
}

// TestMessage2IsWhole: a long answer to a stranger does not grow by the headers of fragments.
func TestMessage2IsWhole(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorWindows)
	life := &p.Offer[0].Attributes[len(p.Offer[0].Attributes)-1]
	life.Value = append(make([]byte, 2000), life.Value...)
	m := p.MainMode()
	one := m.Message1()
	for range 2 {
		two := w.ask(p, one, "message 2 and its repetition")
		w.ok(m.TakeMessage2(two))
		if len(two) < 2000 || len(two) > len(one) {
			t.Errorf("message 2 has %d octets, message 1 %d", len(two), len(one))
		}
	}
}

// TestFragmentLengths: payloads of 0 to 8 octets are no fragments, and are not kept.
func TestFragmentLengths(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.greet(p)
	good := ikev1test.Fragments(long(m, 100), 1, 60)[0]
	for n := range uint16(9) {
		short := bytes.Clone(good[:wire.HeaderLen+int(n)])
		binary.BigEndian.PutUint32(short[24:], uint32(len(short)))
		announced := bytes.Clone(good)
		binary.BigEndian.PutUint16(announced[wire.HeaderLen+2:], n)
		if n >= 4 {
			binary.BigEndian.PutUint16(short[wire.HeaderLen+2:], n)
		}
		want(t, w.silent(p, short, "cut"), ikev1.DropMalformed, "a message that ends there")
		want(t, w.silent(p, announced, "says so"), ikev1.DropMalformed, "a payload that says it ends there")
	}
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name    string
		message []byte
		reason  ikev1.DropReason
	}{
		{"number 0", change(34, 0), ikev1.DropMalformed},
		{"number 33", change(34, 33), ikev1.DropTooLarge},
		{"number 255", change(34, 255), ikev1.DropTooLarge},
		{"a payload behind it", wire.Message(m.Header(), wire.Fragment{ID: 1, Number: 1, Data: []byte("x")}, wire.VendorID("v")), ikev1.DropMalformed},
		{"a payload announced behind it", change(28, byte(wire.PayloadVendorID)), ikev1.DropMalformed},
		{"longer than the message", change(30, 0xff), ikev1.DropMalformed},
		{"another SA", change(0, good[0]^1), ikev1.DropUnknownSA},
		{"no responder's cookie", append(append(bytes.Clone(good[:8]), make([]byte, 8)...), good[16:]...), ikev1.DropUnknownSA},
	} {
		want(t, w.silent(p, c.message, c.name), c.reason, c.name)
		w.reassembling(0, c.name)
	}
	stranger := newPeer(2)
	want(t, w.silent(stranger, good, "from another address"), ikev1.DropUnknownSA, "from another address")
	early := stranger.MainMode()
	w.ok(early.TakeMessage2(w.ask(stranger, early.Message1(), "message 1")))
	for _, part := range ikev1test.Fragments(early.Message3(), 1, 100) {
		want(t, w.silent(stranger, part, "message 3"), ikev1.DropUnexpected, "nothing is kept before message 4")
	}
	w.reassembling(0, "nothing of that is kept")
}

// TestFragmentsOfNothingUseful: what is reassembled has to be a message of the same SA, and no fragment.
func TestFragmentsOfNothingUseful(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.greet(p)
	five := long(m, 400)
	nested := ikev1test.Fragments(five, 1, 2000)[0]
	stolen := bytes.Clone(five)
	stolen[3] ^= 1
	newer := bytes.Clone(five)
	newer[17] = 0x20
	for name, message := range map[string][]byte{"a fragment": nested, "of another SA": stolen, "IKEv2": newer} {
		parts := [][]byte{}
		for i, data := range [][]byte{message[:200], message[200:]} {
			parts = append(parts, wire.Message(m.Header(), wire.Fragment{ID: 1, Number: uint8(i + 1), Last: i == 1, Data: data}))
		}
		want(t, len(w.sayAll(p, parts[0])), 0, "the first part")
		want(t, w.silent(p, parts[1], name), ikev1.DropMalformed, name)
		w.reassembling(0, name)
	}
	w.ok(m.TakeMessage6(w.one(p, w.sayAll(p, ikev1test.Fragments(five, 1, 200)...), "the message itself")))
}

// TestForgedFragments: who sees the cookies can forge fragments. One that comes first is in nobody's way, one in between costs a
// repetition.
func TestForgedFragments(t *testing.T) {
	for _, c := range []struct {
		name   string
		forged wire.Fragment
		at     int // sent after so many of the 6 real ones
		twice  bool
	}{
		{"beforehand", wire.Fragment{ID: 1, Number: 2, Data: []byte("forged")}, 0, false},
		{"beforehand, the last", wire.Fragment{ID: 1, Number: 3, Last: true, Data: []byte("forged")}, 0, false},
		{"beforehand, another ID", wire.Fragment{ID: 9, Number: 3, Data: []byte("forged")}, 0, false},
		{"in between", wire.Fragment{ID: 1, Number: 2, Data: []byte("forged")}, 4, true},
		{"in between, the last", wire.Fragment{ID: 1, Number: 2, Last: true, Data: []byte("forged")}, 4, true},
		{"in between, another ID", wire.Fragment{ID: 9, Number: 1, Data: []byte("forged")}, 4, true},
		{"in between, too much", wire.Fragment{ID: 1, Number: 20, Data: make([]byte, 9900)}, 4, true},
		{"a number that there is not", wire.Fragment{ID: 1, Number: 30, Data: []byte("forged")}, 4, false},
	} {
		w := newWorld(t)
		p := newPeer(1)
		m := w.greet(p)
		five := long(m, 8000)
		parts := ikev1test.Fragments(five, 1, len(five)/6+1)
		w.sayAll(p, parts[:c.at]...)
		w.say(p, wire.Message(m.Header(), c.forged))
		sent := w.sayAll(p, parts[c.at:]...)
		want(t, len(sent) == 0, c.twice, "the first time: "+c.name)
		if len(sent) == 0 {
			sent = w.sayAll(p, parts...)
		}
		w.ok(m.TakeMessage6(w.one(p, sent, c.name)))
	}
}

// TestInterleavedFragments: a new ID is a new message; the older one is given up.
func TestInterleavedFragments(t *testing.T) {
	w := newWorld(t)
	p := newPeer(1)
	m := w.greet(p)
	five := long(m, 2000)
	a, b := ikev1test.Fragments(five, 1, 700), ikev1test.Fragments(five, 2, 700)
	for i := range a {
		want(t, len(w.sayAll(p, a[i], b[i])), 0, "neither is complete")
		w.reassembling(4096, "one message at a time")
	}
	w.ok(m.TakeMessage6(w.one(p, w.sayAll(p, b...), "one of them alone")))
}
