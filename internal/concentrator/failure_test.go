package concentrator

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// Whatever the machine refuses, nothing is left of the attempt, and the next one succeeds.
func TestMachineRefuses(t *testing.T) {
	for _, c := range []struct {
		operation string
		after     counts // what a client has that was refused it, as long as it stays
	}{
		{"open socket", counts{}},
		{"add in", counts{}},
		{"add out", counts{sockets: 1}},
		{"connect", counts{sas: 2, sockets: 1}},
		{"create tunnel", counts{sas: 2, sockets: 1}},
		{"open session", counts{sas: 2, sockets: 1, tunnels: 1}},
		{"open login", counts{}},
		{"start pppd", counts{}},
	} {
		t.Run(c.operation, func(t *testing.T) {
			play(t, 40, func(t *testing.T, b *bench) {
				refusing := true
				b.m.refuse(func(operation string) bool { return refusing && operation == c.operation })
				s := b.station(1)
				s.dial()
				time.Sleep(6 * time.Second)
				b.want("refused: "+c.operation, c.after)
				if n := b.counted(); s.up(1) || n.sessionsUp != 0 {
					t.Errorf("the client is connected, counted %+v", n)
				}
				s.vanish()
				b.before(20*time.Minute, "nothing is left", func() bool { return b.m.counts() == counts{} && b.slots() == 0 })
				refusing = false
				s.dial()
				b.until("the next attempt", func() bool { return s.up(1) && b.count(sessionEstablished) == 1 })
				b.want("connected", whole)
			})
		})
	}
}

// An SA that cannot be installed at a rekey leaves the old ones alone.
func TestMachineRefusesRekey(t *testing.T) {
	for _, operation := range []string{"add in", "add out"} {
		t.Run(operation, func(t *testing.T) {
			play(t, 41, func(t *testing.T, b *bench) {
				s := b.connected(1)
				b.m.refuse(func(o string) bool { return o == operation })
				old := s.quick
				s.rekey()
				time.Sleep(5 * time.Second)
				b.want("the old SAs", whole)
				b.m.refuse(nil)
				s.do(func() { s.quick = old })
				time.Sleep(3 * time.Minute)
				b.want("and the tunnel lives on in them", whole)
			})
		})
	}
}

// A session that the operator closes while the machine takes its time to refuse it: tunnel, sockets and slot go one after the other.
func TestMachineRefusesClosedSession(t *testing.T) {
	play(t, 47, func(t *testing.T, b *bench) {
		b.m.latency = 500 * time.Millisecond
		b.m.refuse(func(operation string) bool { return operation == "open session" })
		s := b.station(1)
		s.dial()
		b.until("the session is being made", func() bool { return b.count(sessionConnecting) == 1 })
		b.close(s)
		b.before(5*time.Second, "nothing is left", func() bool { return b.m.counts() == counts{} })
	})
}

// A panic in one handler is counted, and all the others go on.
func TestPanic(t *testing.T) {
	play(t, 42, func(t *testing.T, b *bench) {
		s := b.connected(1)
		b.c.post(func() { panic("in a test") })
		b.c.post(func() { var cl *client; cl.idle = time.Now() })
		b.connected(3)
		if n := b.counted().panics; n != 2 {
			t.Errorf("%d panics counted", n)
		}
		b.panics = 2
		if !s.up(1) || b.logs.FilterMessageSnippet("panic").Len() != 2 {
			t.Errorf("log %v", b.words())
		}
	})
}

// A panic in the IKE engine costs a handshake. The client tries again, and its neighbour notices nothing.
func TestPanicInIKE(t *testing.T) {
	play(t, 48, func(t *testing.T, b *bench) {
		neighbour := b.connected(1)
		b.on(func() { b.onPSK = func() { b.onPSK = nil; panic("in a test") } })
		s := b.station(2)
		s.dial()
		b.until("the engine has met the panic", func() bool { return b.counted().panics == 1 })
		s.vanish()
		b.connected(3)
		b.panics = 1
		if !neighbour.up(1) || b.logs.FilterMessageSnippet("panic").Len() != 1 {
			t.Errorf("log %v", b.words())
		}
	})
}

// A panic in an operation off the loop fails the operation, not the daemon.
func TestPanicInOperation(t *testing.T) {
	for _, operation := range []string{"connect", "create tunnel", "open session", "start pppd"} {
		t.Run(operation, func(t *testing.T) {
			play(t, 43, func(t *testing.T, b *bench) {
				armed := true
				b.m.refuse(func(o string) bool {
					if armed && o == operation {
						armed = false
						panic("in " + o)
					}
					return false
				})
				s := b.station(1)
				s.dial()
				time.Sleep(10 * time.Second)
				s.vanish()
				b.before(20*time.Minute, "nothing is left", func() bool { return b.m.counts() == counts{} })
				b.connected(3)
				b.panics = 1
			})
		})
	}
}

// The same for a key agreement, a signature and a certificate.
func TestPanicInWork(t *testing.T) {
	play(t, 46, func(t *testing.T, b *bench) {
		b.on(func() {
			b.c.performIKE(time.Now(), ikev1.ComputeDH{ID: 1 << 40})
			b.c.performIKE(time.Now(), ikev1.Sign{ID: 1 << 41})
			b.c.verify(claim{prove: func() { panic("in a test") }})
			b.c.verify(claim{prove: func() {}, look: func(context.Context) { panic("in a test") }})
		})
		b.connected(1)
		b.panics = 4
		if n := b.counted().panics; n != 4 || b.logs.FilterMessageSnippet("panic").Len() != 4 {
			t.Errorf("%d panics counted; log %v", n, b.words())
		}
	})
}

// A panic in what follows an operation does not hold up the client's other operations.
func TestPanicAfterOperation(t *testing.T) {
	play(t, 44, func(t *testing.T, b *bench) {
		s := b.connected(1)
		b.on(func() {
			cl := b.clientOf(s)
			b.c.enqueue(&cl.ops, func() func() error { return func() error { return nil } }, func(error) { panic("in a test") })
			b.c.enqueue(&cl.ops, func() func() error { panic("in a test") }, nil)
		})
		b.panics = 2 // the second fails its operation
		b.close(s)
		b.before(10*time.Second, "it goes", func() bool { return b.m.counts() == counts{} })
	})
}

// The kernel still deletes the tunnel that had the number before.
func TestTunnelIDStillTaken(t *testing.T) {
	play(t, 45, func(t *testing.T, b *bench) {
		s := b.connected(1)
		for n := range 10 {
			s.stop()
			time.Sleep(b.delay)
			s.redial()
			b.until(fmt.Sprint("redial ", n), func() bool { return s.up(1) && b.count(sessionEstablished) == 1 })
		}
		if n := b.counted(); n.kernelErrors != 0 {
			t.Errorf("counted %+v; log %v", n, b.words())
		}
	})
}
