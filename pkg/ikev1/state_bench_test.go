package ikev1_test

import (
	"runtime"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// inUse returns the octets that are in use.
func inUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one has only found to be dead
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// halfOpenState returns the octets of memory that each of n handshakes from n addresses takes after message 2.
func halfOpenState(t testing.TB, n int) float64 {
	w := newWorld(t, func(c *ikev1.Config) { c.UnprovedMax = n })
	p := newPeer(1)
	p.VendorIDs = append(p.VendorIDs, ikev1test.VendorWindows, ikev1test.VendorNATT02n, ikev1test.VendorDPD)
	p.Offer = nil
	for i, g := range []dh.Group{dh.ECP384, dh.ECP256, dh.MODP2048, dh.MODP1536, dh.MODP1024} {
		p.Offer = append(p.Offer, ikev1test.Phase1Transform(uint8(i+1), 256, keymat.SHA1, g))
	}
	message := p.MainMode().Message1()
	before := inUse()
	for i := range n {
		w.engine.Handle(w.now, ikev1.Datagram{Local: p.Server, Remote: stranger(i), Payload: message})
	}
	after := inUse()
	if w.engine.HalfOpen() != n {
		t.Fatalf("%d handshakes are under way, want %d", w.engine.HalfOpen(), n)
	}
	return float64(after-before) / float64(n)
}

// establishedState returns the octets of memory that each of n clients with one child takes, some time after its handshake.
func establishedState(t testing.TB, n int) float64 {
	s := &stopwatch{t: t, engine: newWorld(t).engine}
	before := inUse()
	for i := range n {
		p := newPeer(uint64(i)).BehindNAT(500, 4500)
		p.Addr = stranger(i)
		p.Offer = []wire.Transform{ikev1test.Phase1Transform(1, 256, keymat.SHA256, dh.ECP256)}
		s.connect(p)
	}
	after := inUse()
	clients := s.engine.Clients()
	if len(clients) != n {
		t.Fatalf("%d clients, want %d", len(clients), n)
	}
	for _, c := range clients {
		if len(c.Children) != 1 {
			t.Fatalf("client %d has %d children", c.ID, len(c.Children))
		}
	}
	return float64(after-before) / float64(n)
}

// TestHalfOpenState: what a stranger can make us remember is small.
func TestHalfOpenState(t *testing.T) {
	each := halfOpenState(t, 10000)
	t.Logf("%.0f octets for each handshake after message 2", each)
	if each > 1400 {
		t.Errorf("%.0f octets for each handshake after message 2", each)
	}
}

// TestEstablishedState: a client is small.
func TestEstablishedState(t *testing.T) {
	each := establishedState(t, 2000)
	t.Logf("%.0f octets for each client with a child", each)
	if each > 8192 {
		t.Errorf("%.0f octets for each client with a child", each)
	}
}

// BenchmarkState is the memory that a handshake and a client take.
func BenchmarkState(b *testing.B) {
	for _, c := range []struct {
		name string
		of   func(testing.TB, int) float64
	}{{"halfOpen", halfOpenState}, {"established", establishedState}} {
		b.Run(c.name, func(b *testing.B) {
			var each float64
			for b.Loop() {
				each = c.of(b, 10000)
			}
			b.ReportMetric(each, "octets")
			b.ReportMetric(0, "ns/op")
		})
	}
}
