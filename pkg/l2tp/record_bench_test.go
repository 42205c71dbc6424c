package l2tp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// manyTunnels returns an engine with n tunnels of one session each, and their records.
func manyTunnels(b *testing.B, n int, cfg Config) (*Engine, records) {
	b.Helper()
	e, err := New(cfg, rand.NewChaCha8([32]byte{1}))
	if err != nil {
		b.Fatal(err)
	}
	written := make(records)
	take := func(out Output) {
		for len(out.Actions) > 0 {
			action := out.Actions[0]
			out.Actions = out.Actions[1:]
			written.take(b, out)
			out = e.Complete(epoch, action.Identifier(), nil)
		}
		written.take(b, out)
	}
	for i := range n {
		slot := uint16(16384 + i)
		say := func(m wire.Message) { take(e.Handle(epoch, datagram(b, slot, m))) }
		say(wire.Message{AVPs: clients[0].sccrq})
		say(wire.Message{TunnelID: slot, Ns: 1, Nr: 1, AVPs: []wire.AVP{wire.SCCCN.Value()}})
		say(wire.Message{TunnelID: slot, Ns: 2, Nr: 1, AVPs: clients[0].icrq})
		for id := range e.slots[slot].tunnel.sessions {
			say(wire.Message{TunnelID: slot, SessionID: id, Ns: 3, Nr: 2, AVPs: clients[0].iccn})
		}
	}
	return e, written
}

func datagram(b *testing.B, slot uint16, m wire.Message) Datagram {
	b.Helper()
	payload, err := m.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	return Datagram{Tunnel: slot, Remote: netip.AddrPortFrom(clientA.Addr(), slot), Payload: payload}
}

// BenchmarkHello is what a message of one of 10,000 peers costs, with and without records.
func BenchmarkHello(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("records=%v", on), func(b *testing.B) {
			const n = 10_000
			e, _ := manyTunnels(b, n, Config{Records: on})
			b.ReportAllocs()
			now := epoch
			for i := 0; b.Loop(); i++ {
				slot := uint16(16384 + i%n)
				m := wire.Message{TunnelID: slot, Ns: e.slots[slot].tunnel.channel.nr, Nr: 2, AVPs: []wire.AVP{wire.HELLO.Value()}}
				now = now.Add(time.Millisecond)
				if out := e.Handle(now, datagram(b, slot, m)); len(out.Send) != 1 || (len(out.Records) == 1) != on {
					b.Fatalf("%+v", out)
				}
			}
		})
	}
}

// BenchmarkRestore is what a restart costs with 10,000 tunnels of one session each.
func BenchmarkRestore(b *testing.B) {
	const n = 10_000
	_, written := manyTunnels(b, n, Config{Records: true})
	size := 0
	for _, state := range written {
		size += len(state)
	}
	b.ReportAllocs()
	for b.Loop() {
		e, out := written.restore(b, epoch, Config{Records: true}, rand.NewChaCha8([32]byte{2}))
		if len(e.slots) != n || len(out.Actions) > 0 || len(out.Records) > 0 {
			b.Fatalf("%d slots, %v", len(e.slots), out.Actions)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/tunnel")
	b.ReportMetric(float64(size)/n, "octets/tunnel")
}

// BenchmarkEncode is what the records of 10,000 tunnels cost that are all encoded anew.
func BenchmarkEncode(b *testing.B) {
	const n = 10_000
	e, _ := manyTunnels(b, n, Config{Records: true})
	b.ReportAllocs()
	for b.Loop() {
		for _, s := range e.slots {
			if _, err := e.codec.encode(s); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/tunnel")
}
