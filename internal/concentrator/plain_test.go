package concentrator

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
)

// TestPlainTunnels has a LAC with two tunnels of two calls each, beside a client with IPsec.
func TestPlainTunnels(t *testing.T) {
	play(t, 1, func(t *testing.T, b *bench) {
		b.connected(1)
		l := b.lac(50, 1701)
		one, two := l.open(7, 2), l.open(8, 2)
		b.until("four sessions of the LAC are up", func() bool { return b.count(sessionEstablished) == 5 })
		b.want("with a LAC", counts{sas: 2, sockets: 3, tunnels: 3, sessions: 5, processes: 5, logins: 5})
		b.invariants("with a LAC")
		for i, row := range b.tunnels()[:2] {
			want := control.Tunnel{
				ID: 0x2000 + uint16(i), PeerID: row.PeerID, State: "established", Role: "lns", Peer: l.at, PeerName: "lac", Plain: true,
				Local: netip.AddrPortFrom(serverAddr.Addr(), 1701), Sessions: 2, UptimeSeconds: row.UptimeSeconds, RxBytes: 3000, TxBytes: 4000,
			}
			if row != want || row.PeerID != 7 && row.PeerID != 8 {
				t.Errorf("got  %+v\nwant %+v", row, want)
			}
		}

		rows, err := b.c.API().Sessions(t.Context())
		if err != nil || len(rows) != 5 || rows[0].Peer != l.at || rows[0].CallingNumber != "555-1234" || rows[0].Interface != "l2t8192-1" {
			t.Errorf("%+v, %v", rows, err)
		}

		// A call that ends leaves the tunnel, and a tunnel that ends leaves the other.
		one.do(func(t *l2tptest.LAC) { t.Hangup(time.Now(), t.Sessions()[0]) })
		b.until("a call has ended", func() bool { return b.count(sessionEstablished) == 4 })
		two.do(func(t *l2tptest.LAC) { t.Stop(time.Now()) })
		b.until("a tunnel has ended", func() bool { return b.count(sessionEstablished) == 2 })
		b.until("its slot is given back", func() bool { return len(b.tunnels()) == 2 })
		if !one.is(func(t *l2tptest.LAC) bool { return t.Established() && len(t.Sessions()) == 1 }) {
			t.Error("the other tunnel has suffered")
		}
		b.invariants("with one tunnel less")
	}, withPlain)
}

// TestPlainRepetition: an SCCRQ that comes several times makes one tunnel, and the same tunnel id from elsewhere another one.
func TestPlainRepetition(t *testing.T) {
	play(t, 2, func(t *testing.T, b *bench) {
		b.repeat, b.delay = 0.9, time.Second
		lacs := []*plainLAC{b.lac(50, 1701), b.lac(50, 1702), b.lac(51, 1701)}
		var all []trunk
		for _, l := range lacs {
			all = append(all, l.open(7, 1))
		}
		b.until("all are up", func() bool { return b.count(sessionEstablished) == 3 })
		for i, one := range all {
			if !one.established() {
				t.Errorf("tunnel %d is not up", i)
			}
		}
		if rows := b.tunnels(); len(rows) != 3 {
			t.Errorf("%+v", rows)
		}
		b.invariants("with repetitions")
	}, withPlain)
}

// TestPlainLimits: an address has so many tunnels, and there are so many slots. What ends makes room.
func TestPlainLimits(t *testing.T) {
	play(t, 3, func(t *testing.T, b *bench) {
		var all []trunk
		busy := b.lac(50, 1701)
		for id := range uint16(5) {
			all = append(all, busy.open(10+id, 1))
		}
		b.until("three tunnels are up", func() bool { return b.count(sessionEstablished) == 3 })
		for n := range byte(3) {
			for id := range uint16(2) {
				b.lac(60+n, 1701+id).open(20+id, 1)
			}
		}
		b.until("all slots are in use", func() bool { return b.count(sessionEstablished) == 8 })
		time.Sleep(30 * time.Second) // then the others have given up
		b.invariants("with all slots in use")
		stats, err := b.c.API().Stats(t.Context())
		if err != nil || stats.Plain.Tunnels != 8 || stats.Plain.Free != 0 || stats.Plain.Refused < 3 || stats.Slots.Used != 0 {
			t.Errorf("%+v, %v", stats.Plain, err)
		}
		var events []control.Event
		journal, _, _ := b.c.API().Events(t.Context(), control.EventQuery{})
		for _, e := range journal {
			if e.Kind == eventPlainRefused {
				events = append(events, e)
			}
		}
		if len(events) != 1 || events[0].Cause != "plain_limit" || events[0].Hint == "" || !events[0].Peer.IsValid() {
			t.Errorf("%+v", events)
		}
		all[slices.IndexFunc(all, trunk.established)].do(func(t *l2tptest.LAC) { t.Stop(time.Now()) })
		b.before(5*time.Minute, "there is room again", func() bool {
			stats, err := b.c.API().Stats(t.Context())
			return err == nil && stats.Plain.Free == 1
		})
		b.lac(70, 1701).open(9, 1)
		b.until("the next one has it", func() bool { return b.count(sessionEstablished) == 8 })
	}, withPlain)
}

// TestPlainStrangers: nothing comes of what is not an SCCRQ of a listed peer.
func TestPlainStrangers(t *testing.T) {
	play(t, 4, func(t *testing.T, b *bench) {
		l := b.lac(50, 1701)
		one := l.open(7, 1)
		b.until("a tunnel is up", func() bool { return b.count(sessionEstablished) == 1 })
		request := (&l2tptest.LAC{Tunnel: 9, Window: 4})
		request.Start(time.Now())
		sccrq := request.Take()[0]
		port := b.tunnels()[0].ID
		for _, c := range []struct {
			reason string
			do     func()
		}{
			{dropNotListed, func() { b.fromLAC(netip.MustParseAddrPort("192.0.2.1:1701"), sccrq) }},
			{string(l2tp.DropEarly), func() { b.fromLAC(l.at, sccrq[:12]) }},
			{string(l2tp.DropEarly), func() { b.fromLAC(l.at, append([]byte{0, 2}, sccrq[2:]...)) }},
			{dropPlainPeer, func() {
				forged := append([]byte(nil), sccrq...)
				binary.BigEndian.PutUint16(forged[4:], port)
				b.fromLAC(netip.AddrPortFrom(netip.MustParseAddr("198.51.100.51"), 1701), forged)
			}},
		} {
			var before, after uint64
			b.on(func() { before = b.c.counters.l2tp[c.reason] })
			c.do()
			synctest.Wait()
			b.on(func() { after = b.c.counters.l2tp[c.reason] })
			if after != before+1 {
				t.Errorf("%s: %d, then %d", c.reason, before, after)
			}
		}
		if n := len(b.tunnels()); n != 1 || !one.established() {
			t.Errorf("%d tunnels", n)
		}
	}, withPlain)
}

// TestPlainNobody: without plain peers there are none, whatever arrives.
func TestPlainNobody(t *testing.T) {
	play(t, 5, func(t *testing.T, b *bench) {
		b.lac(50, 1701).open(7, 1)
		time.Sleep(20 * time.Second)
		if n := len(b.tunnels()); n != 0 {
			t.Errorf("%d tunnels", n)
		}
		b.want("nobody may", counts{})
	})
}

// TestPlainFailedLogin: a caller who cannot log in costs the LAC that call, and no other.
func TestPlainFailedLogin(t *testing.T) {
	play(t, 6, func(t *testing.T, b *bench) {
		b.m.login = func(iface string) login {
			if iface == "l2t8192-1" {
				return login{user: "mallory", rejected: "wrong password"}
			}
			return login{user: "alice"}
		}
		l := b.lac(50, 1701)
		one := l.open(7, 1)
		b.until("the call has failed", func() bool {
			return b.counted().rejected == 1 && b.count(sessionEstablished)+b.count(sessionAuthenticating)+b.count(sessionClosing) == 0
		})
		if !one.established() {
			t.Fatal("the tunnel has gone with it")
		}
		one.do(func(t *l2tptest.LAC) { t.Call(time.Now()) })
		b.until("the next call is up", func() bool { return b.count(sessionEstablished) == 1 })
		// The operator ends the last session, and the tunnel stays; then the tunnel.
		if err := b.c.API().CloseSession(t.Context(), "8192-2"); err != nil {
			t.Fatal(err)
		}
		b.until("the session has ended", func() bool { return b.m.counts().sessions == 0 })
		if !one.established() {
			t.Fatal("the tunnel has gone with its last session")
		}
		if err := b.c.API().CloseTunnel(t.Context(), 8192); err != nil {
			t.Fatal(err)
		}
		b.until("the tunnel has ended", func() bool { return len(b.tunnels()) == 0 && one.is((*l2tptest.LAC).Done) })
		b.invariants("after its end")
	}, withPlain)
}

// TestPlainSilence: a LAC that vanishes is noticed, and its slot given back.
func TestPlainSilence(t *testing.T) {
	play(t, 7, func(t *testing.T, b *bench) {
		l := b.lac(50, 1701)
		l.open(7, 1)
		b.until("a tunnel is up", func() bool { return b.count(sessionEstablished) == 1 })
		b.mu.Lock()
		l.mute = true
		b.mu.Unlock()
		b.before(10*time.Minute, "it is noticed", func() bool { return len(b.tunnels()) == 0 })
		b.before(time.Minute, "nothing is left", func() bool { return b.m.counts() == counts{} })
		b.invariants("after silence")
	}, withPlain)
}

// TestPlainLostTunnel: somebody removes the tunnel from the kernel.
func TestPlainLostTunnel(t *testing.T) {
	play(t, 8, func(t *testing.T, b *bench) {
		l := b.lac(50, 1701)
		one := l.open(7, 1)
		b.until("a tunnel is up", func() bool { return b.count(sessionEstablished) == 1 })
		b.m.stealTunnel(8192)
		b.until("the LAC is told", func() bool { return one.is((*l2tptest.LAC).Failed) })
		b.before(2*time.Minute, "nothing is left", func() bool { return len(b.tunnels()) == 0 && b.m.counts() == counts{} })
	}, withPlain)
}

// TestPlainTakenPorts: ports of other programs are passed over.
func TestPlainTakenPorts(t *testing.T) {
	play(t, 9, func(t *testing.T, b *bench) {
		b.m.taken = map[uint16]bool{8192: true, 8193: true}
		b.lac(50, 1701).open(7, 1)
		b.until("a tunnel is up", func() bool { return b.count(sessionEstablished) == 1 })
		if rows := b.tunnels(); rows[0].ID != 8194 {
			t.Errorf("%+v", rows)
		}
	}, withPlain)
}

// TestPlainRestart: LACs notice nothing of a daemon that was killed, and their tunnels end as they would have.
func TestPlainRestart(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			play(t, seed, func(t *testing.T, b *bench) {
				l := b.lac(50, 1701)
				one, two := l.open(7, 2), l.open(8, 1)
				b.until("three calls are up", func() bool { return b.count(sessionEstablished) == 3 })
				before, names, rows := b.m.counts(), b.sessionNames(), b.tunnels()
				for range 3 {
					b.kill(b.pick(3), b.within(20*time.Second))
					b.want("after a restart", before)
					if after := b.sessionNames(); !slices.Equal(names, after) {
						t.Fatalf("sessions %v have become %v; log %v", names, after, b.words())
					}
					for i, row := range b.tunnels() {
						row.UptimeSeconds = rows[i].UptimeSeconds
						if row != rows[i] {
							t.Errorf("tunnel %+v has become %+v", rows[i], row)
						}
					}
					b.invariants("after a restart")
				}
				two.do(func(t *l2tptest.LAC) { t.Stop(time.Now()) })
				b.until("its slot is given back", func() bool { return len(b.tunnels()) == 1 })
				one.do(func(t *l2tptest.LAC) { t.Call(time.Now()) })
				b.until("another call is up", func() bool { return b.count(sessionEstablished) == 3 })
				l.open(9, 1) // as many as there were
				b.until("another tunnel is up", func() bool { return b.count(sessionEstablished) == 4 })
				b.invariants("later")
			}, withPlain)
		})
	}
}

// TestPlainRestartWithoutPeers: nobody may do without IPsec any more, and what there was of them is removed.
func TestPlainRestartWithoutPeers(t *testing.T) {
	play(t, 1, func(t *testing.T, b *bench) {
		b.lac(50, 1701).open(7, 2)
		b.until("two calls are up", func() bool { return b.count(sessionEstablished) == 2 })
		b.opt.Plain = PlainOptions{}
		b.kill(0, time.Second)
		b.until("nothing is left", func() bool { return b.m.counts() == counts{} })
		if rows := b.tunnels(); len(rows) != 0 {
			t.Errorf("%+v", rows)
		}
	}, withPlain)
}
