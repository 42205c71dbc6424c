package ikev1_test

import (
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
	t      testing.TB
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
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// connect brings p through Main Mode and Quick Mode, and returns what it can say afterwards.
func (s *stopwatch) connect(p *ikev1test.Peer) (*ikev1test.MainMode, *ikev1test.QuickMode) {
	m := p.MainMode()
	s.take(m.TakeMessage2(s.ask(p, m.Message1())))
	s.take(m.TakeMessage4(s.ask(p, m.Message3())))
	s.take(m.TakeMessage6(s.ask(p, m.Message5())))
	q := m.QuickMode(1)
	s.take(q.TakeMessage2(s.ask(p, q.Message1())))
	s.ask(p, q.Message3())
	return m, q
}

// BenchmarkHandshake is Main Mode, Quick Mode and the end of a client.
func BenchmarkHandshake(b *testing.B) {
	for _, g := range []dh.Group{dh.MODP2048, dh.ECP256} {
		b.Run(g.String(), func(b *testing.B) {
			s := &stopwatch{t: b, engine: newWorld(b).engine}
			p := newPeer(1).BehindNAT(500, 4500)
			p.Offer = []wire.Transform{ikev1test.Phase1Transform(1, 256, keymat.SHA256, g)}
			home := *p
			n := 0
			for b.Loop() {
				n++
				*p = home
				m, q := s.connect(p)
				s.ask(p, m.Informational(q.DeleteESP(), m.DeleteISAKMP()))
			}
			b.ReportMetric(float64(n)/s.spent.Seconds(), "handshakes/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
