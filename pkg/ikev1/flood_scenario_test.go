package ikev1_test

import (
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// floodMessage is a message 1 to repeat.
type floodMessage struct {
	name    string
	from    *ikev1test.Peer
	payload []byte
}

// floodMessages are what a flood is made of: a message 1 of each kind of clients, some of which are answered.
func floodMessages() (list []floodMessage) {
	for i, k := range ikev1test.Kinds() {
		p := clientOf(k, uint64(i+1))
		list = append(list, floodMessage{k.Name, p, p.MainMode().Message1()})
	}
	return list
}

// TestFlood: while 50,000 messages 1 with false addresses come in each second, honest clients connect, far away ones too.
func TestFlood(t *testing.T) {
	const rate = 50000
	const every = time.Second / rate
	w := newWorld(t, func(c *ikev1.Config) { c.ChildWait = -1 })
	messages := floodMessages()
	strangers := 0
	// flood lets d pass, in which the flood goes on.
	flood := func(d time.Duration) {
		for range d / every {
			w.now = w.now.Add(every)
			one := messages[strangers%len(messages)]
			out := w.engine.Handle(w.now, ikev1.Datagram{Local: one.from.Server, Remote: stranger(strangers), Payload: one.payload})
			for _, d := range out.Send {
				if len(d.Payload) > len(one.payload) {
					t.Fatalf("%d octets answer %d: a reflector", len(d.Payload), len(one.payload))
				}
			}
			if len(out.Actions) > 0 {
				t.Fatalf("a stranger makes us work: %v", out.Actions)
			}
			strangers++
		}
		w.absorb(w.engine.Advance(w.now))
	}
	flood(700 * time.Millisecond) // the table is full
	var visits []*visit
	for i := range uint64(40) {
		roundTrip := []time.Duration{10, 100, 300, 600}[i%4] * time.Millisecond
		visits = append(visits, &visit{m: newPeer(100 + i).MainMode(), at: w.now.Add(time.Duration(i) * 3 * time.Millisecond), roundTrip: roundTrip})
	}
	for {
		next := slices.MinFunc(visits, func(a, b *visit) int { return a.at.Compare(b.at) })
		if next.at.After(w.now.Add(time.Minute)) {
			break
		}
		flood(next.at.Sub(w.now))
		next.step(w)
	}
	want(t, len(w.engine.Clients()), len(visits), "all honest clients are connected")
	want(t, w.engine.HalfOpen() <= ikev1.DefaultUnprovedMax, true, "the limit holds")
	w.elapse(time.Minute)
	want(t, w.engine.HalfOpen(), 0, "the flood is forgotten")
}

// visit is a client that comes in the flood. It takes a round trip from one message to the next.
type visit struct {
	m         *ikev1test.MainMode
	at        time.Time // of the next message
	roundTrip time.Duration
	messages  int // that were sent
	answer    []byte
}

// step sends the next message.
func (v *visit) step(w *world) {
	v.at = v.at.Add(v.roundTrip)
	switch v.messages++; v.messages {
	case 1:
		v.answer = w.ask(v.m.Peer, v.m.Message1(), "message 2")
	case 2:
		w.ok(v.m.TakeMessage2(v.answer))
		v.answer = w.ask(v.m.Peer, v.m.Message3(), "message 4")
	case 3:
		w.ok(v.m.TakeMessage4(v.answer))
		v.answer = w.ask(v.m.Peer, v.m.Message5(), "message 6")
	case 4:
		w.ok(v.m.TakeMessage6(v.answer))
		w.quick(v.m, 1)
		v.at = w.now.Add(time.Hour) // it is there
	}
}
