package concentrator

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

// nowhere takes what the daemon sends.
type nowhere struct{}

func (nowhere) Send(udp.Datagram) error { return nil }
func (nowhere) Dropped() uint64         { return 0 }

// BenchmarkStrangers is the way of first messages with false addresses through the loop, of all kinds of clients in turn, without the
// sockets: the cost of each in a flood.
func BenchmarkStrangers(b *testing.B) {
	ike, err := ikev1.New(ikev1.Config{PSK: func(netip.Addr, netip.Addr) []byte { return []byte(testPSK) }}, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	lns, err := l2tp.New(l2tp.Config{}, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	c, err := New(Parts{IKE: ike, L2TP: lns, IKEIO: nowhere{}, Log: zap.NewNop()},
		Options{Block: slot.Block{Tag: 0x1701, Base: 0x4000, Mask: 0xfff0}, SlotRest: slotRest})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	served := make(chan error)
	go func() { served <- c.Serve(ctx) }()
	var messages [][]byte
	for _, k := range ikev1test.Kinds() {
		p := k.Peer(netip.AddrPortFrom(netip.IPv4Unspecified(), 500), serverAddr, []byte(testPSK), rand.Reader)
		messages = append(messages, p.MainMode().Message1())
	}
	b.ReportAllocs()
	n := uint32(0)
	for b.Loop() {
		for len(c.strangers) == cap(c.strangers) {
			runtime.Gosched()
		}
		n++
		c.HandleIKE(udp.Datagram{
			Local: serverAddr, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 11<<24|n))), 500),
			Payload: messages[int(n)%len(messages)],
		})
	}
	if lost := c.counters.inboxFull.Load(); lost > 0 {
		b.Errorf("%d messages were lost", lost)
	}
	stop()
	if err := <-served; err != nil {
		b.Error(err)
	}
}
