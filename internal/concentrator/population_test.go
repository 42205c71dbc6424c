package concentrator

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// population is very many clients of a daemon in real time. They connect one after the other, without a network: what the daemon says is
// at the client at once. PPP is played, too; everything else of the machine is what the parts say.
type population struct {
	tb    testing.TB
	parts Parts
	opt   Options

	c      *Concentrator
	stop   context.CancelCauseFunc
	served chan error

	ike, l2tp chan []byte       // what the daemon says
	opened    chan uint16       // slots whose sockets it has opened
	links     chan pppd.Session // PPP endpoints that it has started

	mu        sync.Mutex
	processes map[string]*endpoint
}

func newPopulation(tb testing.TB, parts Parts) *population {
	p := &population{
		tb: tb, ike: make(chan []byte, 16), l2tp: make(chan []byte, 16), opened: make(chan uint16, 1), links: make(chan pppd.Session, 1), processes: make(map[string]*endpoint),
		opt: Options{
			Block: slot.Block{Tag: 0x1701, Base: 0x4000, Mask: 0xc000}, SlotRest: slotRest, TunnelWait: tunnelWait, TerminateWait: terminateWait,
			PPP: PPPOptions{InterfacePrefix: "l2t", LocalIP: netip.MustParseAddr("10.0.0.1"), MTU: 1400, Auth: pppd.AuthMSCHAPv2},
		},
	}
	p.renew(parts)
	return p
}

// renew is for parts that another daemon is to have.
func (p *population) renew(parts Parts) {
	p.parts = parts
	p.parts.IKEIO, p.parts.PPP, p.parts.AAA, p.parts.Sockets = postman{p}, idle{p}, openHouse{}, hearing{parts.Sockets, p}
	p.parts.Steering, p.parts.Log = steady{}, zap.NewNop()
}

// daemon makes a daemon that does not serve yet.
func (p *population) daemon() *Concentrator {
	p.tb.Helper()
	// Nobody answers questions whether he lives.
	ike, err := ikev1.New(ikev1.Config{Records: true, DPDInterval: -1, PSK: func(netip.Addr, netip.Addr) []byte { return []byte(testPSK) }}, rand.Reader)
	if err != nil {
		p.tb.Fatal(err)
	}
	lns, err := l2tp.New(l2tp.Config{Records: true, HelloInterval: -1}, rand.Reader)
	if err != nil {
		p.tb.Fatal(err)
	}
	parts := p.parts
	parts.IKE, parts.L2TP, parts.Links = ike, lns, p
	c, err := New(parts, p.opt)
	if err != nil {
		p.tb.Fatal(err)
	}
	return c
}

// serve lets a daemon serve.
func (p *population) serve(c *Concentrator) {
	ctx, cancel := context.WithCancelCause(context.Background())
	p.c, p.stop, p.served = c, cancel, make(chan error, 1)
	go func() { p.served <- c.Serve(ctx) }()
}

// leave ends it; the clients stay.
func (p *population) leave() {
	p.tb.Helper()
	p.stop(ErrLeave)
	if err := <-p.served; err != nil {
		p.tb.Fatal(err)
	}
}

// connect lets client number n connect, whose first L2TP message comes as soon as Quick Mode is through.
func (p *population) connect(n int) {
	p.tb.Helper()
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 198<<24|18<<16+uint32(n)))), 500)
	peer := ikev1test.NewPeer(at, serverAddr, []byte(testPSK), rand.Reader).BehindNAT(500, 4500)
	peer.VendorIDs = append(peer.VendorIDs, ikev1test.VendorDPD)
	peer.Offer = []wire.Transform{ikev1test.Phase1Transform(1, 256, keymat.SHA256, dh.ECP256)}
	m := peer.MainMode()
	ask := func(message []byte) []byte {
		p.c.HandleIKE(udp.Datagram{Local: m.Server, Remote: m.Addr, Encapsulated: m.Encapsulated, Payload: message})
		return hear(p, p.ike)
	}
	must := func(err error) {
		if err != nil {
			p.tb.Helper()
			p.tb.Fatal(err)
		}
	}
	must(m.TakeMessage2(ask(m.Message1())))
	must(m.TakeMessage4(ask(m.Message3())))
	must(m.TakeMessage6(ask(m.Message5())))
	q := m.QuickMode(1)
	must(q.TakeMessage2(ask(q.Message1())))
	p.c.HandleIKE(udp.Datagram{Local: m.Server, Remote: m.Addr, Encapsulated: m.Encapsulated, Payload: q.Message3()})

	port := hear(p, p.opened)
	lac := &l2tptest.LAC{Tunnel: 7, Window: 4, Calls: 1}
	lac.Start(time.Now())
	for {
		for _, payload := range lac.Take() {
			p.c.HandleL2TP(l2tp.Datagram{Tunnel: port, Remote: netip.AddrPortFrom(m.Addr.Addr(), 1701), Payload: payload})
		}
		if lac.Established() && len(lac.Sessions()) == 1 && lac.Idle() {
			break
		}
		lac.Receive(time.Now(), hear(p, p.l2tp))
	}
	link := hear(p, p.links)
	login := aaa.SessionInfo{
		Session: aaa.Session{NASID: link.Name, PeerAddr: m.Addr.Addr()}, User: "alice", Method: aaa.MethodMSCHAPv2, Up: true,
		Address: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}),
	}
	record, err := encodeRecord(loginRecord{recordVersion, login})
	must(err)
	must(p.parts.Store.Store([]Change{{Key: loginKey(link.Name), Value: record}}))
	p.c.HandleAAA(aaa.Authenticated{NASID: link.Name, User: login.User, Method: login.Method, Address: login.Address})
	p.c.HandleAAA(aaa.Started{NASID: link.Name, User: login.User, Address: login.Address})
}

// hear waits for what the daemon does next.
func hear[T any](p *population, from chan T) (v T) {
	p.tb.Helper()
	select {
	case v = <-from:
	case <-time.After(time.Minute):
		p.tb.Fatal("the daemon does nothing")
	}
	return v
}

// endpoints returns the PPP endpoints for an estate: each daemon has objects of its own.
func (p *population) endpoints() map[string]PPPProcess {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make(map[string]PPPProcess, len(p.processes))
	for name := range p.processes {
		p.processes[name] = &endpoint{done: make(chan struct{})}
		list[name] = p.processes[name]
	}
	return list
}

// forget ends the goroutines that wait for PPP endpoints on behalf of a daemon that has ended.
func (p *population) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.processes {
		close(e.done)
	}
}

// Names implements Links.
func (p *population) Names() (map[string]bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make(map[string]bool, len(p.processes))
	for name := range p.processes {
		names[name] = true
	}
	return names, nil
}

// postman takes what the daemon says in IKE.
type postman struct{ p *population }

func (m postman) Send(d udp.Datagram) error { m.p.ike <- bytes.Clone(d.Payload); return nil }
func (postman) Dropped() uint64             { return 0 }

// hearing are Sockets that tell the population what is sent.
type hearing struct {
	Sockets
	p *population
}

func (h hearing) OpenClient(local netip.Addr, port uint16, mark uint32) (ClientSocket, error) {
	s, err := h.Sockets.OpenClient(local, port, mark)
	if err != nil {
		return nil, err
	}
	h.p.opened <- port
	return heard{s, h.p}, nil
}

type heard struct {
	ClientSocket
	p *population
}

func (s heard) Send(remote netip.AddrPort, payload []byte) error {
	s.p.l2tp <- bytes.Clone(payload)
	return nil
}

// idle starts PPP endpoints that do nothing.
type idle struct{ p *population }

func (e idle) Start(s pppd.Session) (PPPProcess, error) {
	e.p.mu.Lock()
	started := &endpoint{done: make(chan struct{})}
	e.p.processes[s.Interface] = started
	e.p.mu.Unlock()
	e.p.links <- s
	return started, nil
}

func (e idle) Processes() int {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	return len(e.p.processes)
}

type endpoint struct{ done chan struct{} }

func (e *endpoint) Done() <-chan struct{} { return e.done }
func (*endpoint) Wait() pppd.Exit         { return pppd.Exit{} }
func (*endpoint) Terminate() error        { return nil }
func (*endpoint) Kill() error             { return nil }

// openHouse lets everybody in.
type openHouse struct{}

func (openHouse) Open(aaa.Session) error      { return nil }
func (openHouse) Adopt(aaa.SessionInfo) error { return nil }
func (openHouse) Close(string)                {}
func (openHouse) Configure(aaa.Config) error  { return nil }
func (openHouse) Addresses() (int, int)       { return 0, 0 }

// steady is a steering table that nobody touches.
type steady struct{}

func (steady) Read() (map[string]uint64, error) { return nil, nil }
func (steady) Intact() (bool, error)            { return true, nil }
