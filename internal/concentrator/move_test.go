package concentrator

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// whereabouts checks that SAs, tunnel and rows are where the client is.
func (b *bench) whereabouts(s *station) {
	b.t.Helper()
	at := s.peer.Addr
	sas, _ := machineSAs{b.m}.List()
	for _, sa := range sas {
		if peerOf(&sa) != at.Addr() || max(sa.Encap.SrcPort, sa.Encap.DstPort) != at.Port() ||
			sa.Direction == xfrm.In && sa.Selector.Src != hostPrefix(at.Addr()) {
			b.t.Errorf("%v has %+v and takes %+v, the client is at %v", sa, sa.Encap, sa.Selector, at)
		}
	}
	b.on(func() {
		cl := b.clientOf(s)
		b.m.mu.Lock()
		socket := b.m.sockets[uint16(cl.port)]
		remote := socket.remote
		b.m.mu.Unlock()
		if want := netip.AddrPortFrom(at.Addr(), 1701); remote != want {
			b.t.Errorf("the tunnel's socket is connected to %v, and its peer is at %v", remote, want)
		}
	})
	rows, err := b.c.API().Tunnels(b.t.Context())
	if err != nil || len(rows) != 1 || rows[0].Peer != at {
		b.t.Errorf("rows %+v, %v", rows, err)
	}
}

// TestRoam: a client goes to another address and back; SAs and tunnel follow, and its session is the same.
func TestRoam(t *testing.T) {
	play(t, 81, func(t *testing.T, b *bench) {
		s := b.connected(1)
		before, err := b.c.API().Sessions(t.Context())
		if err != nil || len(before) != 1 {
			t.Fatalf("%+v, %v", before, err)
		}
		home := s.peer.Addr
		for _, to := range []netip.AddrPort{netip.MustParseAddrPort("192.0.2.200:40000"), home, netip.MustParseAddrPort("192.0.2.201:4500")} {
			s.roam(to)
			time.Sleep(3 * time.Minute) // HELLO tells the kernel, and the kernel us
			b.want("the client has moved", whole)
			b.whereabouts(s)
		}
		s.rekey()
		b.until("new SAs", func() bool { return b.m.counts().sas == 4 })
		b.whereabouts(s)
		after, err := b.c.API().Sessions(t.Context())
		if err != nil || len(after) != 1 || after[0].ID != before[0].ID || after[0].Interface != before[0].Interface || after[0].Peer != s.peer.Addr {
			t.Errorf("sessions %+v, %v; before %+v", after, err, before)
		}
		if moved := b.events(eventClientMoved); len(moved) != 3 || moved[0].Peer.String() != "192.0.2.200:40000" || moved[0].Severity == control.SeverityWarning {
			t.Errorf("events %+v", moved)
		}
	})
}

// TestLatePacket: what was on its way when the client moved does not move it back, and later it may come back.
func TestLatePacket(t *testing.T) {
	play(t, 82, func(t *testing.T, b *bench) {
		s := b.connected(1)
		home, there := s.peer.Addr, netip.MustParseAddrPort("192.0.2.200:40000")
		var in xfrm.ID
		var reqid uint32
		b.on(func() {
			cl := b.clientOf(s)
			reqid = b.c.opt.Block.Mark(cl.port)
			for _, ch := range cl.children {
				in = ch.in
			}
		})
		s.roam(there)
		tell := func(to netip.AddrPort) { b.c.HandleMapping(xfrm.Mapping{ID: in, ReqID: reqid, Old: there, New: to}) }
		tell(there)
		b.until("the client is there", func() bool { return len(b.events(eventClientMoved)) == 1 })
		tell(home)
		time.Sleep(lateWait)
		b.whereabouts(s)
		s.roam(home)
		tell(home)
		time.Sleep(2 * moveInterval)
		b.whereabouts(s)
		if n := len(b.events(eventClientMoved)); n != 2 {
			t.Errorf("%d moves", n)
		}
	})
}

// TestCannotRoam: an SA that cannot follow ends, and the client negotiates another; a tunnel that cannot ends, and the client dials anew.
func TestCannotRoam(t *testing.T) {
	for n, operation := range []string{"move in", "move out", "reconnect"} {
		play(t, 83+uint64(n), func(t *testing.T, b *bench) {
			s := b.connected(1)
			var failed atomic.Bool
			b.m.refuse(func(what string) bool { return what == operation && !failed.Swap(true) })
			s.roam(netip.MustParseAddrPort("192.0.2.200:40000"))
			b.until(operation+" has failed", failed.Load)
			time.Sleep(10 * time.Second)
			if operation != "reconnect" {
				s.mu.Lock()
				told := s.told.esp
				s.mu.Unlock()
				if told != 1 {
					t.Errorf("%s: the client was told of %d SAs", operation, told)
				}
				s.rekey()
				time.Sleep(3 * time.Minute)
				b.want(operation+" once", whole)
				b.whereabouts(s)
				return
			}
			b.until("the tunnel is closed", func() bool { return b.m.counts().tunnels == 0 })
			s.redial()
			time.Sleep(time.Minute)
			b.want("the client has dialled anew", whole)
			b.whereabouts(s)
		})
	}
}

// TestRestoredElsewhere: an SA that is not where its client is, as after a restart in the middle of a move, follows when the kernel tells of it again.
func TestRestoredElsewhere(t *testing.T) {
	play(t, 86, func(t *testing.T, b *bench) {
		s := b.connected(1)
		s.roam(netip.MustParseAddrPort("192.0.2.200:40000"))
		b.on(func() {
			cl := b.clientOf(s)
			b.c.IKE.Moved(time.Now(), cl.id, s.peer.Addr)
			cl.remote = s.peer.Addr
		})
		time.Sleep(3 * time.Minute)
		b.want("the SAs have followed", whole)
		b.whereabouts(s)
	})
}

// TestRestartInMove kills the daemon at each operation of a move: its successor finds what has moved and what has not.
func TestRestartInMove(t *testing.T) {
	for n := range 12 {
		for name, say := range map[string]func(*station){
			"ESP":        (*station).call, // refused or not, it is a message
			"Quick Mode": (*station).rekey,
			"R-U-THERE":  func(s *station) { s.do(func() { s.toIKE(s.main.Informational(s.main.DPD(wire.NotifyRUThere, 7))) }) },
		} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				play(t, 87, func(t *testing.T, b *bench) {
					s := b.connected(1)
					names := b.sessionNames()
					s.roam(netip.MustParseAddrPort("192.0.2.200:40000"))
					say(s)
					b.kill(n, time.Second)
					time.Sleep(5 * time.Minute)
					if after := b.sessionNames(); len(after) == 0 || after[0] != names[0] {
						t.Errorf("sessions %v have become %v; log %v", names, after, b.words())
					}
					b.whereabouts(s)
					b.invariants("after a restart")
				})
			})
		}
	}
}
