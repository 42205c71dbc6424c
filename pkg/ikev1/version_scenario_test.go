package ikev1_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// ikev2 is a message of IKEv2 with so many octets in all.
func ikev2(octets int, flags wire.Flags, change ...func(b []byte)) []byte {
	b := wire.Header{
		InitiatorCookie: wire.Cookie{1, 2, 3, 4, 5, 6, 7, 8}, NextPayload: 33, Version: 0x20, Exchange: 34, Flags: flags, Length: uint32(octets),
	}.Append(nil)
	b = append(b, bytes.Repeat([]byte{0xff}, octets-len(b))...) // no payload that could be parsed
	for _, f := range change {
		f(b)
	}
	return b
}

// TestIKEv2Refused: a client that begins with IKEv2 learns at once that there is none.
func TestIKEv2Refused(t *testing.T) {
	const request, response = wire.Flags(0x08), wire.Flags(0x20)
	for _, c := range []struct {
		name     string
		message  []byte
		answered bool
	}{
		{"IKE_SA_INIT", ikev2(300, request), true},
		{"another exchange", ikev2(300, request, func(b []byte) { b[18], b[15] = 37, 9; binary.BigEndian.PutUint32(b[20:], 7) }), true},
		{"a later minor version", ikev2(300, request, func(b []byte) { b[17] = 0x2f }), true},
		{"just as long as the answer", ikev2(36, request), true},
		{"shorter than the answer", ikev2(35, request), false},
		{"a response", ikev2(300, response), false},
		{"a response of the initiator", ikev2(300, request|response), false},
		{"no SPI", ikev2(300, request, func(b []byte) { clear(b[:8]) }), false},
	} {
		for _, p := range []*ikev1test.Peer{newPeer(1), overIPv6(newPeer(1))} {
			w := newWorld(t)
			sent := w.say(p, c.message)
			want(t, len(sent) == 1, c.answered, c.name)
			want(t, len(eventsOf[ikev1.Dropped](w)), 1, "counted: "+c.name)
			want(t, eventsOf[ikev1.Dropped](w)[0].Reason, ikev1.DropIKEv2, c.name)
			if len(sent) == 0 {
				continue
			}
			answer := w.one(p, sent, c.name)
			h, payloads, err := ikev1test.Parse(answer)
			w.ok(err)
			want(t, h.Version, 0x20, "a message that such a peer reads")
			want(t, h.Flags, response, "a response, not of the initiator")
			want(t, bytes.Equal(answer[:16], c.message[:16]), true, "the SPIs come back")
			want(t, answer[18], c.message[18], "the exchange comes back")
			want(t, bytes.Equal(answer[20:24], c.message[20:24]), true, "the message ID comes back")
			if len(payloads) != 1 || payloads[0].Kind != 41 || !bytes.Equal(payloads[0].Body, []byte{0, 0, 0, 5}) {
				t.Errorf("%s: payloads %+v", c.name, payloads)
			}
			want(t, len(answer) <= len(c.message), true, "nothing is amplified: "+c.name)

			// Our own answer, sent back to us, ends there.
			want(t, len(w.say(p, answer)), 0, "the answer to an answer")
			w.empty(c.name)
		}
	}
}

// TestIKEv2RefusedSeldom: a flood of IKEv2 gets few answers, and takes none from others.
func TestIKEv2RefusedSeldom(t *testing.T) {
	w := newWorld(t)
	answers := 0
	for range 5 {
		for n := range uint64(1000) {
			answers += len(w.say(newPeer(n), ikev2(300, 0x08)))
		}
		w.elapse(time.Second)
	}
	want(t, answers, 50, "10 in a second")
	for n := range uint64(1000) {
		w.say(newPeer(n), ikev2(300, 0x08))
	}
	p := newPeer(1)
	p.PSK = []byte("wrong")
	w.say(p, w.greet(p).Message5())
	told := map[ikev1.Cause]int{}
	for _, failed := range eventsOf[ikev1.Phase1Failed](w) {
		told[failed.Code]++
	}
	want(t, told[ikev1.CauseIKEv2], 60, "the operator is told as often")
	want(t, told[ikev1.CausePSKMismatch], 1, "failures of IKEv1 are still explained")
	w.engine.Shutdown(w.now)
	w.elapse(time.Minute)
	want(t, len(w.say(p, ikev2(300, 0x08))), 0, "nobody is answered after the end")
	want(t, len(eventsOf[ikev1.Dropped](w)) > 5000, true, "each is counted")
}
