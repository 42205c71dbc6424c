package concentrator

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
)

// plainSent is a datagram that leaves without IPsec.
type plainSent struct {
	local   netip.Addr
	remote  netip.AddrPort
	payload []byte
}

// plainLAC is a LAC at one address and port, with its tunnels by their ids.
type plainLAC struct {
	b       *bench
	at      netip.AddrPort
	tunnels map[uint16]*l2tptest.LAC
	mute    bool
}

// withPlain lets 198.51.100.0/24 do without IPsec.
func withPlain(_ *bench, opt *Options) {
	opt.Plain = PlainOptions{Peers: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Block: slot.Block{Tag: 0x1701, Base: 0x2000, Mask: 0xfff8}, MaxTunnels: 3}
}

func (b *bench) lac(n byte, port uint16) *plainLAC {
	l := &plainLAC{b: b, at: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), port), tunnels: make(map[uint16]*l2tptest.LAC)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lacs == nil {
		b.lacs = make(map[netip.AddrPort]*plainLAC)
	}
	b.lacs[l.at] = l
	return l
}

// trunk is a tunnel of a plainLAC.
type trunk struct {
	l *plainLAC
	t *l2tptest.LAC
}

// open begins a tunnel.
func (l *plainLAC) open(id uint16, calls int) trunk {
	t := trunk{l, &l2tptest.LAC{Tunnel: id, Window: 4, Calls: calls, Calling: "555-1234"}}
	t.do(func(t *l2tptest.LAC) {
		l.tunnels[id] = t
		t.Start(time.Now())
	})
	return t
}

// do has a tunnel do something.
func (t trunk) do(f func(*l2tptest.LAC)) {
	t.l.b.mu.Lock()
	defer t.l.b.mu.Unlock()
	f(t.t)
	t.l.flush(t.t)
}

// is asks a tunnel.
func (t trunk) is(f func(*l2tptest.LAC) bool) bool {
	t.l.b.mu.Lock()
	defer t.l.b.mu.Unlock()
	return f(t.t)
}

func (t trunk) established() bool { return t.is((*l2tptest.LAC).Established) }

// flush sends what a tunnel has to say by the rules of the steering table. The caller holds the bench's mu.
func (l *plainLAC) flush(t *l2tptest.LAC) {
	for _, payload := range t.Take() {
		l.b.carry(func() { l.b.fromLAC(l.at, payload) })
	}
	if next := t.Next(); !next.IsZero() {
		time.AfterFunc(max(time.Until(next), 10*time.Millisecond), func() {
			l.b.mu.Lock()
			defer l.b.mu.Unlock()
			if l.tunnels[t.Tunnel] == t && !l.mute && t.Next().Equal(next) {
				t.Tick(time.Now())
				l.flush(t)
			}
		})
	}
}

// fromLAC is the way of a datagram to port 1701.
func (b *bench) fromLAC(from netip.AddrPort, payload []byte) {
	if tunnel := binary.BigEndian.Uint16(payload[4:]); tunnel != 0 {
		b.m.hear(l2tp.Datagram{Tunnel: tunnel, Remote: from, Payload: payload})
		return
	}
	b.serving.Load().HandlePlain(udp.Datagram{Local: netip.AddrPortFrom(serverAddr.Addr(), 1701), Remote: from, Payload: payload})
}

// toLAC is the way of a datagram from the port of a tunnel.
func (b *bench) toLAC(d plainSent) {
	b.carry(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		l := b.lacs[d.remote]
		if l == nil || l.mute || d.local != serverAddr.Addr() {
			return
		}
		if t := l.tunnels[binary.BigEndian.Uint16(d.payload[4:])]; t != nil {
			t.Receive(time.Now(), d.payload)
			l.flush(t)
		}
	})
}

// plainInvariants checks the books of tunnels without IPsec, and returns how many slots they have. It runs on the loop.
func (b *bench) plainInvariants(complain func(string, ...any)) int {
	c := b.c
	if c.plain.slots == nil {
		return 0
	}
	n := 0
	each := make(map[netip.Addr]int)
	for _, cl := range c.clients {
		if cl.plain == nil {
			continue
		}
		n++
		each[cl.remote.Addr()]++
		if c.plain.tunnels[*cl.plain] != cl || !c.opt.Plain.contains(cl.port) || len(cl.children) > 0 {
			complain("plain tunnel %d is not what the tables say", cl.port)
		}
	}
	if n != len(c.plain.tunnels) || fmt.Sprint(each) != fmt.Sprint(c.plain.each) {
		complain("%d plain tunnels, %d in the table, %v and %v", n, len(c.plain.tunnels), each, c.plain.each)
	}
	return c.plain.slots.Used()
}

func (b *bench) tunnels() []control.Tunnel {
	b.t.Helper()
	rows, err := b.c.API().Tunnels(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return rows
}
