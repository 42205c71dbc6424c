package ikev1_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// stopwatch runs an engine and measures what it takes, with its Diffie-Hellman and without the client's.
type stopwatch struct {
	b      *testing.B
	engine *ikev1.Engine
	spent  time.Duration
}

// ask hands a message of p to the engine and returns its last answer.
func (s *stopwatch) ask(p *ikev1test.Peer, message []byte) []byte {
	from := time.Now()
	out := s.engine.Handle(start, ikev1.Datagram{Local: p.Server, Remote: p.Addr, Encapsulated: p.Encapsulated, Payload: message})
	var answer []byte
	for queue := []ikev1.Output{out}; len(queue) > 0; queue = queue[1:] {
		for _, a := range queue[0].Actions {
			var r ikev1.Result = ikev1.SimpleResult{}
			if a, ok := a.(ikev1.ComputeDH); ok {
				r = a.Perform()
			}
			queue = append(queue, s.engine.Complete(start, a.ActionID(), r))
		}
		for _, d := range queue[0].Send {
			answer = d.Payload
		}
	}
	s.spent += time.Since(from)
	return answer
}

// take takes an answer.
func (s *stopwatch) take(err error) {
	s.b.Helper()
	if err != nil {
		s.b.Fatal(err)
	}
}

// BenchmarkHandshake is Main Mode, Quick Mode and the end of a client.
func BenchmarkHandshake(b *testing.B) {
	for _, g := range []dh.Group{dh.MODP2048, dh.ECP256} {
		b.Run(g.String(), func(b *testing.B) {
			s := &stopwatch{b: b, engine: newWorld(b).engine}
			p := newPeer(1).BehindNAT(500, 4500)
			p.Offer = []wire.Transform{ikev1test.Phase1Transform(1, 256, keymat.SHA256, g)}
			home := *p
			n := 0
			for b.Loop() {
				n++
				*p = home
				m := p.MainMode()
				s.take(m.TakeMessage2(s.ask(p, m.Message1())))
				s.take(m.TakeMessage4(s.ask(p, m.Message3())))
				s.take(m.TakeMessage6(s.ask(p, m.Message5())))
				q := m.QuickMode(1)
				s.take(q.TakeMessage2(s.ask(p, q.Message1())))
				s.ask(p, q.Message3())
				s.ask(p, m.Informational(q.DeleteESP(), m.DeleteISAKMP()))
			}
			b.ReportMetric(float64(n)/s.spent.Seconds(), "handshakes/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// halfOpenState returns the octets of memory that each of n handshakes from n addresses takes after message 2.
func halfOpenState(t testing.TB, n int) float64 {
	w := newWorld(t, func(c *ikev1.Config) { c.HalfOpenMax = n })
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorWindows, ikev1test.VendorNATT02n, ikev1test.VendorDPD)
	p.Offer = nil
	for i, g := range []dh.Group{dh.ECP384, dh.ECP256, dh.MODP2048, dh.MODP1536, dh.MODP1024} {
		p.Offer = append(p.Offer, ikev1test.Phase1Transform(uint8(i+1), 256, keymat.SHA1, g))
	}
	message := p.MainMode().Message1()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		w.engine.Handle(w.now, ikev1.Datagram{Local: p.Server, Remote: stranger(i), Payload: message})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if w.engine.HalfOpen() != n {
		t.Fatalf("%d handshakes are under way, want %d", w.engine.HalfOpen(), n)
	}
	return float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
}

// TestHalfOpenState: what a stranger can make us remember is small.
func TestHalfOpenState(t *testing.T) {
	each := halfOpenState(t, 20000)
	t.Logf("%.0f octets for each handshake after message 2", each)
	if each > 2000 {
		t.Errorf("%.0f octets for each handshake after message 2", each)
	}
}
