package l2tp

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

func TestRetransmissionWaits1_2_4_8_8(t *testing.T) {
	b := newBench(t, Config{SetupTimeout: 10 * time.Minute})
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.wantMessage("first", wire.SCCRP, 0, 1)
	for _, wait := range []time.Duration{1, 2, 4, 8, 8} {
		b.wait(wait*time.Second - time.Millisecond)
		b.wantSilence("not yet")
		b.wait(time.Millisecond)
		b.wantMessage("retransmission", wire.SCCRP, 0, 1)
	}
	b.wait(8*time.Second - time.Millisecond)
	if len(b.events) > 0 {
		t.Fatalf("events %v before the last wait is over", b.events)
	}
	b.wait(time.Millisecond)
	b.wantSilence("given up")
	if down := wantEvent[TunnelDown](b, "given up"); down.ByPeer || down.Established {
		t.Errorf("event %+v", down)
	}
	b.wantGone("given up")
}

func TestNumbersWrapAround(t *testing.T) {
	b := newBench(t, Config{IdleTimeout: -1})
	b.establish()
	ns, nr := uint16(2), uint16(1)
	for range 66_000 {
		b.sayControl(ns, nr, wire.HELLO.Value())
		ns++
		b.wantZLB("HELLO", nr, ns)
		if ns%16 == 0 {
			b.wait(60 * time.Second)
			b.wantMessage("ours", wire.HELLO, nr, ns)
			nr++
			b.sayControl(ns, nr)
		}
	}
	if len(b.events) > 0 {
		t.Errorf("events %v", b.events)
	}
}

func TestReorderQueue(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	for _, ns := range []uint16{9, 5, 3, 5, 4} {
		b.sayControl(ns, 1, wire.HELLO.Value())
		b.wantSilence("2 is missing")
	}
	if len(b.events) > 0 {
		t.Fatalf("events %v", b.events)
	}
	b.sayControl(2, 1, wire.HELLO.Value())
	b.wantZLB("2 to 5 are complete", 1, 6)
	b.sayControl(14, 1, wire.HELLO.Value())
	b.wantDrop("beyond our window of 8", DropOutOfWindow)
	b.sayControl(40_000, 1, wire.HELLO.Value())
	b.wantDrop("a jump back", DropDuplicate)
	b.wantZLB("tells where we are", 1, 6)
	b.sayControl(6, 2, wire.HELLO.Value())
	b.wantDrop("acknowledges what was not sent", DropBadAck)
	b.wantSilence("dropped")
}

func TestPeerWindowIsRespected(t *testing.T) {
	b := newBench(t, Config{MaxSessionsPerTunnel: 100})
	request := append([]wire.AVP{}, clients[0].sccrq...)
	request[8] = wire.Uint16(wire.AttrReceiveWindow, 2)
	b.say(wire.Message{AVPs: request})
	b.wantMessage("set-up", wire.SCCRP, 0, 1)
	b.sayControl(1, 1, wire.SCCCN.Value())
	b.wantZLB("set-up", 1, 2)
	for i := range uint16(6) {
		b.sayControl(2+i, 1, wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, 100+i))
	}
	b.wantMessage("slow start has ended at 2", wire.ICRP, 1, 3)
	b.wantMessage("slow start has ended at 2", wire.ICRP, 2, 4)
	b.wait(100 * time.Millisecond)
	b.wantZLB("the rest is acknowledged alone", 3, 8)
	b.wantSilence("the window is full")
	b.sayControl(8, 2)
	b.wantMessage("room for one", wire.ICRP, 3, 8)
	b.wantSilence("the window is full")
	b.wait(time.Second)
	b.wantMessage("after a loss one at a time", wire.ICRP, 2, 8)
	b.wantSilence("after a loss one at a time")
	b.sayControl(8, 4)
	b.wantMessage("the acknowledgement was late, not the message", wire.ICRP, 4, 8)
}

func TestQueueIsBounded(t *testing.T) {
	b := newBench(t, Config{MaxQueuedMessages: 8})
	b.establish()
	for i := range uint16(20) {
		b.sayControl(2+i, 1, wire.OCRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, 100+i))
	}
	var down int
	for _, e := range b.events {
		if e, ok := e.(TunnelDown); ok && e.Result == (Result{Code: StopError, Error: ErrorResources}) {
			down++
		}
	}
	if down != 1 {
		t.Errorf("%d ends of the tunnel for a peer that acknowledges nothing, events %v", down, b.events)
	}
	b.wantGone("flooded")
}

func TestLongEarlyDatagramIsNotKept(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	big := []wire.AVP{wire.HELLO.Value()}
	for range 5 {
		big = append(big, wire.Bytes(wire.AttrHostName, make([]byte, 1000)))
	}
	b.sayControl(3, 1, big...)
	b.wantDrop("memory for strangers is bounded", DropOutOfWindow)
	b.sayControl(2, 1, big...)
	b.wantZLB("in order it is fine", 1, 3)
}

func TestHelloUnanswered(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.call()
	b.wait(60 * time.Second)
	b.wantMessage("silence", wire.HELLO, 2, 4)
	b.wait(31 * time.Second)
	for range 5 {
		b.wantMessage("again", wire.HELLO, 2, 4)
	}
	b.wantSilence("five times")
	wantEvent[SessionDown](b, "peer is dead")
	wantEvent[TunnelDown](b, "peer is dead")
	b.wantGone("peer is dead")
}

func TestHelloCanBeSwitchedOff(t *testing.T) {
	b := newBench(t, Config{HelloInterval: -1})
	b.establish()
	b.call()
	b.wait(24 * time.Hour)
	b.wantSilence("no HELLO for dozing phones")
	if next := b.e.Next(); !next.IsZero() {
		t.Errorf("next deadline %v", next)
	}
}

func TestAnyMessagePostponesHello(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.call()
	b.wait(40 * time.Second)
	b.sayControl(4, 2)
	b.wait(40 * time.Second)
	b.wantSilence("heard 40 s ago")
	b.wait(20 * time.Second)
	b.wantMessage("heard 60 s ago", wire.HELLO, 2, 4)
}

func TestWaitsStartOverAfterAcknowledgement(t *testing.T) {
	b := newBench(t, Config{SetupTimeout: 10 * time.Minute})
	b.establish()
	b.sayControl(2, 1, clients[0].icrq...)
	b.sayControl(3, 1, wire.OCRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, 100))
	b.wait(15 * time.Second) // waits of 1, 2, 4 and 8 s are over
	b.sent = nil
	b.sayControl(4, 2)
	b.wantMessage("the next one", wire.CDN, 2, 4)
	b.wait(time.Second)
	b.wantMessage("waits 1 s again", wire.CDN, 2, 4)
}

func TestStopEndsRetransmission(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.sayControl(2, 1, clients[0].icrq...)
	b.wantMessage("not acknowledged", wire.ICRP, 1, 3)
	b.sayControl(3, 1, clients[0].stop...)
	b.wantZLB("StopCCN", 2, 4)
	b.wait(20 * time.Second)
	b.wantSilence("nobody is there to hear ICRP")
	b.sayControl(3, 1, clients[0].stop...)
	b.wantZLB("still remembered", 2, 4)
}
