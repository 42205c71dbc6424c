package ikev1_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// manyRecords returns the records of n clients with one child each, and one of those clients.
func manyRecords(t testing.TB, n int) (*world, *ikev1test.MainMode, []ikev1.Record) {
	w := newWorld(t)
	s := &stopwatch{t: t, engine: w.engine}
	var m *ikev1test.MainMode
	for i := range n {
		p := newPeer(uint64(i)).BehindNAT(500, 4500)
		p.Addr = stranger(i)
		p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
		p.Offer = []wire.Transform{ikev1test.Phase1Transform(1, 256, keymat.SHA256, dh.ECP256)}
		m, _ = s.connect(p)
	}
	var list []ikev1.Record
	for id, state := range ikev1.States(w.engine) {
		list = append(list, ikev1.Record{Client: id, State: state})
	}
	return w, m, list
}

// TestRecordSize: a record is small, also when the memory of message IDs is full.
func TestRecordSize(t *testing.T) {
	w, m, list := manyRecords(t, 1)
	t.Logf("%d octets for a client with a child", len(list[0].State))
	want(t, len(list[0].State) < 1000, true, "it is small")
	size := 0
	for n := range uint32(300) {
		out := w.engine.Handle(start.Add(time.Duration(n)*time.Second), ikev1.Datagram{
			Local: m.Server, Remote: m.Addr, Encapsulated: true, Payload: m.Informational(m.DPD(wire.NotifyRUThere, n+1)),
		})
		if len(out.Records) != 1 {
			t.Fatalf("%d records for an answer: %v", len(out.Records), out.Events)
		}
		size = len(out.Records[0].State)
	}
	t.Logf("%d octets after 300 questions", size)
	want(t, size < 2100, true, "it has a limit")
}

// BenchmarkRecords writes the state of 10,000 clients, and restores it.
func BenchmarkRecords(b *testing.B) {
	const n = 10000
	w, _, list := manyRecords(b, n)
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			ikev1.States(w.engine)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/client")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			engine := newWorld(b).engine
			for _, r := range list {
				if _, err := engine.Restore(start, r); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/client")
	})
	for _, records := range []bool{false, true} {
		b.Run(fmt.Sprintf("question, records %v", records), func(b *testing.B) {
			_, m, list := manyRecords(b, 1)
			w := newWorld(b, func(c *ikev1.Config) { c.Records = records })
			if _, err := w.engine.Restore(start, list[0]); err != nil {
				b.Fatal(err)
			}
			sequence := uint32(0)
			for b.Loop() {
				b.StopTimer()
				sequence++
				d := ikev1.Datagram{Local: m.Server, Remote: m.Addr, Encapsulated: true, Payload: m.Informational(m.DPD(wire.NotifyRUThere, sequence))}
				b.StartTimer()
				w.engine.Handle(start, d)
			}
		})
	}
}
