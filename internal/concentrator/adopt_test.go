package concentrator

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// dead ends the daemon as kill -9 does, after what it does at the moment. What it leaves can be altered before another begins.
func (b *bench) dead() Estate {
	b.t.Helper()
	synctest.Wait()
	return b.die(0)
}

// altered changes the records of one kind.
func altered[T any](t *testing.T, e Estate, kind string, change func(*T)) {
	t.Helper()
	for key, value := range e.Records {
		if !strings.HasPrefix(key, kind) {
			continue
		}
		var r T
		if err := cbor.Unmarshal(value, &r); err != nil {
			t.Fatal(err)
		}
		change(&r)
		b, err := encodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		e.Records[key] = b
	}
}

// TestAdoptMissedEvents: what a daemon was about to hear when it was killed, its successor finds in the records of who would have told. A session
// whose login it cannot read ends.
func TestAdoptMissedEvents(t *testing.T) {
	for name, c := range map[string]struct {
		alter func(*testing.T, Estate)
		after counts
	}{
		"the user has connected again": {
			func(t *testing.T, e Estate) {
				altered(t, e, keyLogin, func(r *loginRecord) { r.Superseded = true })
			}, counts{sas: 2, sockets: 1, tunnels: 1},
		},
		"a login of another version": {
			func(t *testing.T, e Estate) {
				altered(t, e, keyLogin, func(r *loginRecord) { r.Version++ })
			}, counts{sas: 2, sockets: 1, tunnels: 1},
		},
		"a second try to log in": {
			func(t *testing.T, e Estate) {
				altered(t, e, keySession, func(r *sessionRecord) {
					r.State, r.Up, r.Failed, r.Reason = sessionAuthenticating, time.Time{}, true, "authentication failed: the password is wrong"
				})
			}, whole,
		},
		"SAs in place of those that were lost": {
			func(t *testing.T, e Estate) {
				altered(t, e, keyClient, func(r *clientRecord) { r.Lost = r.Opened.Add(time.Second) })
			}, whole,
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, 90, func(t *testing.T, b *bench) {
				b.connected(1)
				e := b.dead()
				c.alter(t, e)
				b.start(e)
				time.Sleep(lostWait - time.Second)
				b.want("after half a minute", c.after)
				if c.after == whole {
					time.Sleep(10 * time.Minute)
					b.want("after ten minutes", whole)
				}
				b.invariants("at the end")
			})
		})
	}
}

// TestAdoptWithoutSocket: a session whose socket the keeper has closed, and that has no PPP yet, would wait for one for ever.
func TestAdoptWithoutSocket(t *testing.T) {
	play(t, 91, func(t *testing.T, b *bench) {
		b.connected(1)
		process := b.m.process()
		b.m.crashed.Store(true) // so that nobody hears of it
		process.hangup(pppd.ExitOK)
		e := b.dead()
		process.Wait()
		e.Sessions, e.Processes = nil, nil
		b.m.mu.Lock()
		clear(b.m.sessions)
		b.m.mu.Unlock()
		altered(t, e, keySession, func(r *sessionRecord) { r.State, r.Up, r.Running = sessionConnecting, time.Time{}, false })
		b.start(e)
		b.until("its only call has failed, and the client is gone", func() bool { return b.m.counts() == counts{} })
	})
}

// TestAdoptAfterClockWasSetBack: nobody waits for as long as the clock was set back.
func TestAdoptAfterClockWasSetBack(t *testing.T) {
	play(t, 92, func(t *testing.T, b *bench) {
		s := b.station(1)
		s.noL2TP = true
		s.dial()
		b.until("IPsec is up", func() bool { return b.m.counts().sas == 2 })
		e := b.dead()
		altered(t, e, keyClient, func(r *clientRecord) { r.Opened, r.Idle = r.Opened.Add(24*time.Hour), r.Idle.Add(24*time.Hour) })
		b.start(e)
		rows, err := b.c.API().Tunnels(t.Context())
		if err != nil || len(rows) != 1 || rows[0].UptimeSeconds != 0 {
			t.Errorf("%+v, %v", rows, err)
		}
		time.Sleep(tunnelWait + time.Second)
		b.want("it never opened a tunnel", counts{})
	})
}

// TestAdoptAstray: a tunnel whose client has moved and has no SAs is connected to where it is when it has some, whichever daemon that is.
func TestAdoptAstray(t *testing.T) {
	play(t, 93, func(t *testing.T, b *bench) {
		s := b.connected(1)
		b.m.flush()
		b.c.HandleOverrun()
		s.roam(netip.MustParseAddrPort("192.0.2.200:40000"))
		s.do(func() { s.toIKE(s.main.Informational(s.main.DPD(wire.NotifyRUThere, 7))) })
		b.until("the client has moved", func() bool { return len(b.events(eventClientMoved)) == 1 })
		b.start(b.dead())
		s.rekey()
		b.until("new SAs", func() bool { return b.m.counts().sas == 2 })
		time.Sleep(time.Second)
		b.whereabouts(s)
		time.Sleep(5 * time.Minute)
		b.want("the session goes on", whole)
	})
}

// TestAdoptLost: an SA that was removed while there was no daemon is missed at once, and for that the kernel lists its SAs once. If it could not,
// that is made good later.
func TestAdoptLost(t *testing.T) {
	play(t, 96, func(t *testing.T, b *bench) {
		s := b.connected(1)
		e := b.dead()
		b.m.flush()
		b.m.mu.Lock()
		b.m.listed = 0
		b.m.mu.Unlock()
		b.start(e)
		if events := b.events(eventSALost); len(events) != 1 {
			t.Errorf("events %+v", events)
		}
		b.m.mu.Lock()
		if b.m.listed != 1 {
			t.Errorf("SAs were listed %d times", b.m.listed)
		}
		b.m.mu.Unlock()
		b.until("the client is told", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.told.esp == 1
		})
		s.rekey()
		time.Sleep(3 * time.Minute)
		b.want("the session goes on", whole)

		b.on(func() { b.c.uncompared = true })
		b.m.flush()
		b.c.Compare()
		b.until("it is missed again", func() bool { return len(b.events(eventSALost)) == 2 })
	})
}

// cursed is a pppd that meets a defect.
type cursed struct{ PPPProcess }

func (cursed) Kill() error { panic("a defect") }

// TestAdoptDefect: a panic does not end the daemon, whose successors would meet it again.
func TestAdoptDefect(t *testing.T) {
	play(t, 97, func(t *testing.T, b *bench) {
		b.connected(1)
		e := b.dead()
		e.Processes["l2t1-1"] = cursed{}
		b.panics++
		b.start(e)
		time.Sleep(10 * time.Minute)
		b.want("the client goes on", whole)
		b.invariants("after the restart")
	})
}

// TestAdoptIdle: a client whose tunnel turns out to be over has a deadline from then on.
func TestAdoptIdle(t *testing.T) {
	play(t, 94, func(t *testing.T, b *bench) {
		b.connected(1)
		now := time.Now()
		b.on(func() {
			for _, cl := range b.c.clients {
				b.c.nextClient = time.Time{}
				out := b.c.L2TP.CloseTunnel(now, uint16(cl.port), l2tp.Result{Code: l2tp.StopGeneral})
				a := &adoption{c: b.c, now: now}
				a.judge(cl)
				if cl.tunnel || !b.c.nextClient.Equal(now.Add(tunnelWait)) {
					t.Errorf("tunnel %v, the next deadline is %v", cl.tunnel, b.c.nextClient)
				}
				b.c.applyL2TP(now, out)
			}
		})
	})
}

// TestAdoptEnding: a client that was to go does so, wherever the daemon before was with its session.
func TestAdoptEnding(t *testing.T) {
	for operations := range int64(40) {
		play(t, 98, func(t *testing.T, b *bench) {
			s := b.station(1)
			s.dial()
			b.m.doom.Store(operations)
			time.Sleep(5 * time.Second)
			e := b.dead()
			altered(t, e, keyClient, func(r *clientRecord) { r.Ending = "the operator wants it" })
			b.start(e)
			s.do(func() { s.gone = true })
			b.before(2*time.Minute, "the client goes", func() bool { return b.m.counts() == counts{} })
			b.invariants("at the end")
		})
	}
}
