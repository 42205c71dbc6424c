package concentrator

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const testPSK = "correct horse battery staple"

var serverAddr = netip.MustParseAddrPort("203.0.113.1:500")

// bench is a daemon on a fake machine, and a network to its clients, in the virtual time of a synctest bubble.
type bench struct {
	t *testing.T
	*dice
	m *machine
	c *Concentrator
	// serving is c for who runs beside the test: a daemon that has died until another has begun.
	serving atomic.Pointer[Concentrator]
	opt     Options
	log     *zap.Logger
	logs    *observer.ObservedLogs

	seed    uint64
	daemons int // so far

	loss, repeat float64
	delay        time.Duration

	mu       sync.Mutex
	places   map[netip.AddrPort]*station
	outbound map[uint32]*station // by the SPI that the station chose
	stations []*station
	lacs     map[netip.AddrPort]*plainLAC

	since, earlier map[string]time.Time // see lasting

	stop   context.CancelCauseFunc
	served chan error
	ended  bool
	panics uint64 // that the test provokes
	onPSK  func() // when the engine asks for the key
}

// play runs a daemon in a bubble and a test with it. When the test is over the daemon is stopped, and must leave nothing.
func play(t *testing.T, seed uint64, test func(*testing.T, *bench), adjust ...func(*bench, *Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, seed, adjust...)
		defer b.finish() // also of a test that fails, or its goroutines would remain
		test(t, b)
	})
}

func newBench(t *testing.T, seed uint64, adjust ...func(*bench, *Options)) *bench {
	opt := Options{
		Block: slot.Block{Tag: 0x1701, Base: 0x4000, Mask: 0xfff0}, SlotRest: slotRest, TunnelWait: tunnelWait, TerminateWait: terminateWait,
		PPP: PPPOptions{InterfacePrefix: "l2t", LocalIP: netip.MustParseAddr("10.0.0.1"), MTU: 1400, Auth: pppd.AuthMSCHAPv2},
	}
	core, logs := observer.New(zapcore.InfoLevel)
	d := newDice(seed)
	b := &bench{
		t: t, dice: d, logs: logs, log: zap.New(core), seed: seed, delay: 10 * time.Millisecond, m: newMachine(t, opt.Block, d),
		since: make(map[string]time.Time), places: make(map[netip.AddrPort]*station), outbound: make(map[uint32]*station), served: make(chan error, 1),
	}
	for _, f := range adjust {
		f(b, &opt)
	}
	b.m.block, b.m.plain = opt.Block, opt.Plain
	b.m.tell = func(e aaa.Event) { b.serving.Load().HandleAAA(e) }
	b.m.move = func(m xfrm.Mapping) { b.serving.Load().HandleMapping(m) }
	b.m.end = func(e xfrm.Expire) { b.serving.Load().HandleExpire(e) }
	b.m.gone = func(d xfrm.Deleted) { b.serving.Load().HandleDeleted(d) }
	b.m.note = func(e l2tpnl.Event) { b.serving.Load().HandleL2TPEvent(e) }
	b.m.link = func(names []string) { b.serving.Load().HandleLinksDeleted(names) }
	b.m.hear = func(d l2tp.Datagram) { b.serving.Load().HandleL2TP(d) }
	b.m.send, b.m.bare = b.toStation, b.toLAC
	b.opt = opt
	b.start(Estate{})
	return b
}

// start makes a daemon that goes on with an estate.
func (b *bench) start(e Estate) {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], b.seed)
	key[9] = byte(b.daemons)
	b.daemons++
	ike, err := ikev1.New(ikev1.Config{Records: true, PSK: func(netip.Addr, netip.Addr) []byte {
		if b.onPSK != nil {
			b.onPSK()
		}
		return []byte(testPSK)
	}}, rand.NewChaCha8(key))
	if err != nil {
		b.t.Fatal(err)
	}
	key[8] = 1
	lns, err := l2tp.New(l2tp.Config{Records: true}, rand.NewChaCha8(key))
	if err != nil {
		b.t.Fatal(err)
	}
	b.c, err = New(Parts{
		IKE: ike, L2TP: lns, IKEIO: ikeNetwork{b}, SAs: machineSAs{b.m}, Egress: b.m, Tunnels: machineTunnels{b.m}, Sockets: b.m, PPP: machinePPP{b.m},
		AAA: b.m, Steering: b.m, Links: b.m, Store: b.m, Log: b.log,
	}, b.opt)
	if err != nil {
		b.t.Fatal(err)
	}
	b.serving.Store(b.c)
	b.c.Adopt(time.Now(), e)
	ctx, cancel := context.WithCancelCause(b.t.Context())
	b.stop = cancel
	c := b.c
	go func() { b.served <- c.Serve(ctx) }()
	b.c.Compare()
}

// shutdown stops the daemon, which must not complain.
func (b *bench) shutdown() {
	b.t.Helper()
	if b.ended {
		return
	}
	b.ended = true
	b.stop(nil)
	if err := <-b.served; err != nil {
		b.t.Errorf("the daemon ended with %v; log %v", err, b.words())
	}
}

// finish stops the daemon and checks that nothing is left of it.
func (b *bench) finish() {
	b.shutdown()
	time.Sleep(time.Minute) // deletions, and what is still under way
	if left := b.m.left(); left != "" {
		b.t.Errorf("after the shutdown there is: %s; log %v", left, b.words())
	}
	if n := len(b.c.peers); n != 0 {
		b.t.Errorf("%d peers are remembered", n)
	}
	if n := b.c.counters.panics; n != b.panics {
		b.t.Errorf("%d panics: %v", n, b.words())
	}
}

// counted reads the daemon's counters.
func (b *bench) counted() (n *counters) {
	b.t.Helper()
	b.on(func() {
		n = &counters{
			panics: b.c.counters.panics, sendErrors: b.c.counters.sendErrors, kernelErrors: b.c.counters.kernelErrors, noSlot: b.c.counters.noSlot,
			tunnelsUp: b.c.counters.tunnelsUp, tunnelsDown: b.c.counters.tunnelsDown,
			sessionsUp: b.c.counters.sessionsUp, sessionsDown: b.c.counters.sessionsDown,
			rejected: b.c.counters.rejected,
		}
	})
	return n
}

// station makes client number n, behind a NAT if it is odd.
func (b *bench) station(n int) *station {
	var key [32]byte
	key[0], key[1] = byte(n), 7
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 500)
	s := &station{b: b, calls: 1, offer: func(*ikev1test.QuickMode) {}, home: *ikev1test.NewPeer(addr, serverAddr, []byte(testPSK), rand.NewChaCha8(key))}
	s.home.VendorIDs = append(s.home.VendorIDs, ikev1test.VendorDPD)
	if n%2 == 1 {
		s.home.BehindNAT(uint16(20000+n), uint16(30000+n))
	}
	b.stations = append(b.stations, s)
	return s
}

// connected is a station with its sessions up.
func (b *bench) connected(n int) *station {
	b.t.Helper()
	s := b.station(n)
	s.dial()
	b.until("the client is connected", func() bool { return s.up(1) && b.count(sessionEstablished) >= 1 && b.stateOf(s) == "established" })
	return s
}

// place says that the network leads an address to s; expect that packets with an SPI are for s.
func (b *bench) place(at netip.AddrPort, s *station) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places[at] = s
}

func (b *bench) expect(spi uint32, s *station) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outbound[spi] = s
}

// carry takes a packet through the network: never, once or twice.
func (b *bench) carry(deliver func()) {
	for copies := 1; copies > 0; copies-- {
		if b.chance(b.repeat) {
			copies++
		}
		if !b.chance(b.loss) {
			time.AfterFunc(b.within(b.delay), deliver)
		}
	}
}

// ikeNetwork is the daemon's way to the network.
type ikeNetwork struct{ b *bench }

// Dropped implements IKE: this network carries nothing but IKE.
func (ikeNetwork) Dropped() uint64 { return 0 }

func (n ikeNetwork) Send(d udp.Datagram) error {
	if n.b.m.dies() {
		return errFault
	}
	n.b.mu.Lock()
	s := n.b.places[d.Remote]
	n.b.mu.Unlock()
	if s != nil {
		n.b.carry(func() { s.fromIKE(d.Payload) })
	}
	return nil
}

// toStation carries an ESP packet to who negotiated its SA, if it goes to the right port.
func (b *bench) toStation(sa xfrm.State, payload []byte) {
	b.mu.Lock()
	s := b.outbound[sa.SPI]
	if sa.Encap != nil && b.places[netip.AddrPortFrom(sa.Dst, sa.Encap.DstPort)] != s {
		s = nil
	}
	b.mu.Unlock()
	if s != nil {
		b.carry(func() { s.fromL2TP(payload) })
	}
}

// on runs f on the daemon's loop.
func (b *bench) on(f func()) {
	b.t.Helper()
	if err := b.c.call(context.Background(), f); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for a condition, a minute of virtual time at most.
func (b *bench) until(what string, condition func() bool) {
	b.t.Helper()
	b.before(time.Minute, what, condition)
}

// before is until with another limit.
func (b *bench) before(limit time.Duration, what string, condition func() bool) {
	b.t.Helper()
	pause := max(5*time.Millisecond, limit/5000)
	for end := time.Now().Add(limit); !condition(); {
		if time.Now().After(end) {
			b.t.Fatalf("not within %v: %s; left %s; log %v", limit, what, b.m.left(), b.words())
		}
		time.Sleep(pause)
		synctest.Wait()
	}
}

// words are the messages of the log, at warning level and above.
func (b *bench) words() []string {
	var list []string
	for _, e := range b.logs.Filter(func(e observer.LoggedEntry) bool { return e.Level >= zapcore.WarnLevel }).All() {
		list = append(list, fmt.Sprint(e.Message, e.ContextMap()))
	}
	return list
}

// count is the number of sessions in a state.
func (b *bench) count(state sessionState) (n int) {
	b.on(func() {
		for _, cl := range b.c.clients {
			for _, s := range cl.sessions {
				if s.state == state {
					n++
				}
			}
		}
	})
	return n
}

// clientOf finds a station's client; it must be called on the loop.
func (b *bench) clientOf(s *station) *client {
	for _, cl := range b.c.clients {
		for _, ch := range cl.children {
			if s.quick != nil && ch.in.SPI == s.quick.Theirs {
				return cl
			}
		}
	}
	return nil
}

// stateOf is the state of a station's newest session, empty for none.
func (b *bench) stateOf(s *station) (state sessionState) {
	b.on(func() {
		last := 0
		if cl := b.clientOf(s); cl != nil {
			for _, session := range cl.sessions {
				if session.n > last {
					last, state = session.n, session.state
				}
			}
		}
	})
	return state
}

// want compares the objects on the machine.
func (b *bench) want(why string, w counts) {
	b.t.Helper()
	synctest.Wait()
	if got := b.m.counts(); got != w {
		b.t.Errorf("%s: got %+v, want %+v; there is %s; log %v", why, got, w, b.m.left(), b.words())
	}
}

// whole is what one connected client has.
var whole = counts{sas: 2, sockets: 1, tunnels: 1, sessions: 1, processes: 1, logins: 1}
