package ikev1_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// TestUnservedExchanges: XAUTH, Mode Config and New Group Mode are refused politely to whoever proves to be a client, and to no other.
func TestUnservedExchanges(t *testing.T) {
	attributes := wire.Raw{Kind: 14, Body: []byte{1, 0, 0, 0, 0x40, 0x88, 0, 0}}
	for _, c := range []struct {
		name   string
		kind   wire.ExchangeType
		reason ikev1.DropReason
	}{
		{"XAUTH", wire.ExchangeTransaction, ikev1.DropTransaction},
		{"New Group Mode", wire.ExchangeNewGroup, ikev1.DropExchange},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			p := newPeer(1)
			m := w.greet(p)
			ask := func(id uint32) []byte { return m.Exchange(c.kind, id, attributes) }
			want(t, w.silent(p, ask(9), "before phase 1 is done"), c.reason, "the reason")
			w.ok(m.TakeMessage6(w.ask(p, m.Message5(), "message 6")))

			clear := wire.Message(wire.Header{InitiatorCookie: m.CookieI, ResponderCookie: m.CookieR, Exchange: c.kind, MessageID: 3}, wire.Hash(make([]byte, 32)), attributes)
			want(t, w.silent(p, clear, "in the clear"), c.reason, "the reason")
			want(t, w.silent(p, ask(0), "without a message ID"), c.reason, "the reason")
			forged := ask(4)
			forged[len(forged)-20] ^= 1
			want(t, w.silent(p, forged, "forged"), ikev1.DropHash, "the reason")
			stranger := ask(5)
			stranger[9] ^= 1
			want(t, w.silent(p, stranger, "cookies of no SA"), c.reason, "the reason")
			want(t, len(eventsOf[ikev1.Phase2Failed](w)), 0, "nobody is told of strangers")

			request := ask(6)
			list, err := m.OpenInformational(w.ask(p, request, "an authentic request"))
			w.ok(err)
			n, err := wire.ParseNotification(list[0].Body)
			w.ok(err)
			if len(list) != 1 || n.Kind != wire.NotifyUnsupportedExchangeType || !bytes.Equal(n.SPI, m.Cookies()) {
				t.Errorf("the answer is %+v", n)
			}
			failed := eventsOf[ikev1.Phase2Failed](w)
			if len(failed) != 1 || failed[0].Code != ikev1.CauseExchange || !strings.Contains(failed[0].Cause, c.name) || failed[0].Hint == "" {
				t.Errorf("the operator is told %+v", failed)
			}
			want(t, w.silent(p, request, "a repetition"), ikev1.DropDuplicate, "the reason")

			w.quick(m, 1)
			answers := 0
			for id := range uint32(100) {
				answers += len(w.say(p, ask(1000+id)))
			}
			want(t, answers, 3, "four answers in a minute")
			w.elapse(time.Minute)
			w.take()
			w.ask(p, ask(5000), "a minute later")
		})
	}
}
