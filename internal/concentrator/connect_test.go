package concentrator

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

func TestConnect(t *testing.T) {
	for n, name := range []string{"direct", "behind a NAT"} {
		t.Run(name, func(t *testing.T) {
			play(t, 1, func(t *testing.T, b *bench) {
				s := b.connected(n)
				b.want("one client", whole)
				sas, _ := machineSAs{b.m}.List()
				for _, sa := range sas {
					theirs := s.quick.Theirs
					if sa.Direction == xfrm.Out {
						theirs = s.quick.Ours
					}
					encryption, integrity := s.quick.KeysFor(theirs, len(sa.Crypt.Key), len(sa.Auth.Key))
					if sa.SPI != theirs || !bytes.Equal(encryption, sa.Crypt.Key) || !bytes.Equal(integrity, sa.Auth.Key) {
						t.Errorf("%v does not have the client's keys", sa)
					}
					if (sa.Encap != nil) != (n == 1) {
						t.Errorf("%v of a client %s", sa, name)
					}
				}
			})
		})
	}
}

// Clients behind one address are told apart by their ports.
func TestConnectManyBehindOneNAT(t *testing.T) {
	play(t, 2, func(t *testing.T, b *bench) {
		for n := range 8 {
			s := b.station(1)
			s.home.BehindNAT(uint16(20000+n), uint16(30000+n))
			s.home.Rand = bytes.NewReader(bytes.Repeat([]byte{byte(n + 1), 0x5a, byte(n), 17}, 1000))
			s.dial()
			b.until("client connected", func() bool { return s.up(1) })
		}
		b.until("all have sessions", func() bool { return b.count(sessionEstablished) == 8 })
		b.want("eight clients", counts{sas: 16, sockets: 8, tunnels: 8, sessions: 8, processes: 8, logins: 8})
	})
}

func TestConnectSeveralSessions(t *testing.T) {
	play(t, 3, func(t *testing.T, b *bench) {
		s := b.station(1)
		s.calls = 3
		s.dial()
		b.until("three sessions", func() bool { return s.up(3) && b.count(sessionEstablished) == 3 })
		b.want("three sessions", counts{sas: 2, sockets: 1, tunnels: 1, sessions: 3, processes: 3, logins: 3})
		s.hangup()
		b.until("one ends", func() bool { return b.count(sessionEstablished) == 2 })
		b.want("the others stay", counts{sas: 2, sockets: 1, tunnels: 1, sessions: 2, processes: 2, logins: 2})
	})
}

// The client may send SCCRQ as soon as it has message 2, and message 3 is slower.
func TestConnectTunnelOvertakesQuickMode(t *testing.T) {
	play(t, 4, func(t *testing.T, b *bench) {
		s := b.station(1)
		s.delay = 300 * time.Millisecond
		s.dial()
		b.before(time.Second, "connected without a retransmission", func() bool { return s.up(1) })
		if n := b.counted().sendErrors; n != 0 {
			t.Errorf("%d messages could not be sent", n)
		}
	})
}

// The same for a client that has deleted its ESP SAs and negotiates new ones within the ISAKMP SA.
func TestConnectTunnelOvertakesLaterQuickMode(t *testing.T) {
	play(t, 4, func(t *testing.T, b *bench) {
		s := b.connected(1)
		s.stop()
		s.deleteESP()
		b.until("the SAs are removed", func() bool { return b.m.counts().sas == 0 })
		s.delay = 300 * time.Millisecond
		s.do(func() { s.lac = nil })
		s.rekey()
		b.before(time.Second, "connected without a retransmission", func() bool { return s.up(1) })
	})
}

func TestConnectRepeatedMessages(t *testing.T) {
	play(t, 5, func(t *testing.T, b *bench) {
		b.repeat = 0.5
		b.delay = time.Second
		s := b.station(1)
		s.dial()
		b.until("connected", func() bool { return s.up(1) && b.count(sessionEstablished) == 1 })
		time.Sleep(10 * time.Second)
		b.want("repetitions change nothing", whole)
	})
}

func TestRekey(t *testing.T) {
	play(t, 6, func(t *testing.T, b *bench) {
		s := b.connected(1)
		old := s.quick
		s.rekey()
		b.until("new SAs", func() bool { return b.m.counts().sas == 4 })
		s.do(func() { s.toIKE(s.main.Informational(old.DeleteESP())) })
		b.until("old SAs are gone", func() bool { return b.m.counts().sas == 2 })
		b.want("the session has noticed nothing", whole)
		if b.stateOf(s) != sessionEstablished {
			t.Errorf("session is %q", b.stateOf(s))
		}
		time.Sleep(3 * time.Minute) // HELLO goes through the new SAs
		b.want("and the tunnel works", whole)
	})
}

// A new Main Mode of the same client (Apple's way to rekey) keeps slot, tunnel and session.
func TestReauthenticate(t *testing.T) {
	play(t, 7, func(t *testing.T, b *bench) {
		s := b.connected(1)
		s.do(func() {
			p := *s.peer
			s.peer = &p
			s.main = p.MainMode()
			s.await("2", s.main.Message1())
		})
		b.until("new SAs", func() bool { return b.m.counts().sas == 4 })
		if n := b.m.counts(); n.sockets != 1 || n.processes != 1 {
			t.Errorf("one client has %+v", n)
		}
	})
}

// A NAT gives the client another port: everything follows.
func TestRebind(t *testing.T) {
	play(t, 8, func(t *testing.T, b *bench) {
		s := b.connected(1)
		s.rebind(40000)
		time.Sleep(3 * time.Minute)
		b.want("HELLO has told the kernel, and the kernel us", whole)
		sas, _ := machineSAs{b.m}.List()
		for _, sa := range sas {
			if sa.Encap == nil || max(sa.Encap.SrcPort, sa.Encap.DstPort) != 40000 {
				t.Errorf("%v has %+v", sa, sa.Encap)
			}
		}
		rows, err := b.c.API().Tunnels(t.Context())
		if want := netip.AddrPortFrom(s.peer.Addr.Addr(), 40000); err != nil || len(rows) != 1 || rows[0].Peer != want {
			t.Errorf("rows %+v, %v", rows, err)
		}
	})
}

// A client that sends from many ports in turn costs a few requests to the kernel, and its SAs end where it is.
func TestRestlessClient(t *testing.T) {
	play(t, 64, func(t *testing.T, b *bench) {
		s := b.connected(1)
		var in xfrm.ID
		var reqid uint32
		b.on(func() {
			cl := b.clientOf(s)
			reqid = b.c.opt.Block.Mark(cl.port)
			for _, ch := range cl.children {
				in = ch.in
			}
		})
		at := s.peer.Addr
		for port := range uint16(500) {
			next := netip.AddrPortFrom(at.Addr(), 40000+port)
			b.c.HandleMapping(xfrm.Mapping{ID: in, ReqID: reqid, Old: at, New: next})
			at = next
		}
		time.Sleep(5 * time.Second)
		b.on(func() {
			if b.m.moves > 8 {
				t.Errorf("%d SAs were changed", b.m.moves)
			}
		})
		sas, _ := machineSAs{b.m}.List()
		for _, sa := range sas {
			if max(sa.Encap.SrcPort, sa.Encap.DstPort) != at.Port() {
				t.Errorf("%v has %+v, the client is at %v", sa, sa.Encap, at)
			}
		}
	})
}

func TestSlotsExhausted(t *testing.T) {
	play(t, 9, func(t *testing.T, b *bench) {
		first, second := b.connected(1), b.connected(3)
		third := b.station(5)
		third.dial()
		time.Sleep(20 * time.Second)
		if third.up(1) || b.counted().noSlot == 0 {
			t.Error("a third client is connected to a block of two slots")
		}
		b.want("the third has nothing", counts{sas: 4, sockets: 2, tunnels: 2, sessions: 2, processes: 2, logins: 2})
		first.leave()
		b.until("one has left", func() bool { return b.m.counts().sockets == 1 })
		third.dial()
		time.Sleep(20 * time.Second)
		if third.up(1) {
			t.Error("a slot was given to another client before it had rested")
		}
		time.Sleep(slotRest)
		third.dial()
		b.until("the third has its turn", func() bool { return third.up(1) && second.up(1) })
	}, func(_ *bench, opt *Options) { opt.Block.Mask = 0xfffe })
}

func TestNoTunnel(t *testing.T) {
	play(t, 10, func(t *testing.T, b *bench) {
		s := b.station(1)
		s.noL2TP = true
		s.dial()
		b.until("IPsec is up", func() bool { return b.m.counts() == counts{sas: 2, sockets: 1} })
		time.Sleep(tunnelWait - 10*time.Second)
		b.want("patience", counts{sas: 2, sockets: 1})
		time.Sleep(20 * time.Second)
		b.want("it never opened a tunnel", counts{})
		s.do(func() {
			if s.told.esp != 1 || s.told.isakmp != 1 {
				t.Errorf("the client was told %+v", s.told)
			}
		})
	})
}

// What early PPP frames need: the session exists in the kernel when ICRP is sent.
func TestPPPThatNeverAnswers(t *testing.T) {
	play(t, 11, func(t *testing.T, b *bench) {
		b.m.login = func(string) login { return login{silent: true} }
		s := b.station(1)
		s.dial()
		b.until("pppd runs", func() bool { return b.m.counts() == whole })
		b.until("given up", func() bool { return b.m.counts() == counts{} })
	})
}

func TestEcho(t *testing.T) {
	play(t, 12, func(t *testing.T, b *bench) {
		s := b.connected(1)
		s.vanish()
		b.m.process().hangup(pppd.ExitPeerDead)
		b.until("the session ends", func() bool { return b.m.counts().processes == 0 && b.m.counts().sessions == 0 })
		b.before(10*time.Minute, "then the tunnel, then the client", func() bool { return b.m.counts() == counts{} })
	})
}
