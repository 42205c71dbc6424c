package concentrator

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// kill kills the daemon after so many more operations, at the latest in a moment, and starts another in its place some time later.
func (b *bench) kill(operations int, pause time.Duration) {
	b.t.Helper()
	if operations == 0 {
		b.m.crashed.Store(true)
	}
	b.m.doom.Store(int64(operations))
	time.Sleep(b.within(2 * time.Second))
	e := b.die(pause)
	b.panics += b.c.counters.panics
	b.start(e)
}

// die ends the daemon at once. What it leaves is told when its last operations have come to nothing, and some time later.
func (b *bench) die(pause time.Duration) Estate {
	b.t.Helper()
	b.m.crashed.Store(true)
	b.stop(ErrLeave)
	if err := <-b.served; err != nil {
		b.t.Errorf("the daemon ended with %v; log %v", err, b.words())
	}
	time.Sleep(b.m.latency + pause)
	synctest.Wait()
	clear(b.since) // others may be where those that were lasting stood
	return b.m.estate()
}

// TestRestart: clients notice nothing of a daemon that was killed.
func TestRestart(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			play(t, seed, func(t *testing.T, b *bench) {
				s1, s2 := b.connected(1), b.connected(2)
				before := b.m.counts()
				ids := b.sessionNames()
				for range 3 {
					b.kill(b.pick(3), b.within(20*time.Second))
					b.want("after a restart", before)
					if after := b.sessionNames(); !slices.Equal(ids, after) {
						t.Fatalf("sessions %v have become %v; log %v", ids, after, b.words())
					}
					b.invariants("after a restart")
				}
				s1.rekey()
				time.Sleep(10 * time.Second)
				s2.hangup()
				b.until("one session is gone", func() bool { return len(b.sessionNames()) == 1 })
				time.Sleep(30 * time.Minute) // DPD, Hello
				if n := len(b.sessionNames()); n != 1 || !s1.up(1) {
					t.Errorf("%d sessions half an hour later; log %v", n, b.words())
				}
				b.invariants("half an hour later")
			})
		})
	}
}

// TestRestartWithoutRecords: what nobody can take over any more is removed, and is in nobody's way.
func TestRestartWithoutRecords(t *testing.T) {
	play(t, 1, func(t *testing.T, b *bench) {
		s := b.connected(1)
		b.kill(0, 0)
		b.m.mu.Lock()
		clear(b.m.kept)
		b.m.mu.Unlock()
		b.kill(0, 0)
		b.until("the pppd is gone, and was heard of", func() bool {
			b.m.mu.Lock()
			defer b.m.mu.Unlock()
			return len(b.m.processes)+len(b.m.exits) == 0
		})
		s.hangup()
	})
}

// sessionNames are those of the sessions that are up, with their users.
func (b *bench) sessionNames() (names []string) {
	b.t.Helper()
	rows, err := b.c.API().Sessions(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, row := range rows {
		if row.State == string(sessionEstablished) {
			names = append(names, row.ID+" "+row.User+" "+row.IP.String())
		}
	}
	return names
}

// diagnosed shows a record to people.
func diagnosed(b []byte) string {
	text, err := cbor.Diagnose(b)
	if err != nil {
		return fmt.Sprintf("%q", b)
	}
	return text
}

// written complains of state that was not written down as it is.
func (b *bench) written(complain func(string, ...any)) {
	c := b.c
	want := make(map[string]string)
	for _, cl := range c.clients {
		r, err := encodeRecord(cl.record())
		if err != nil {
			b.t.Error(err)
		}
		want[clientKey(cl.port)] = string(r)
		for _, s := range cl.sessions {
			if r, err = encodeRecord(s.record()); err != nil {
				b.t.Error(err)
			}
			want[sessionKey(s)] = string(r)
		}
	}
	b.m.mu.Lock()
	kept := maps.Clone(b.m.kept)
	b.m.mu.Unlock()
	for key, value := range kept {
		if strings.HasPrefix(key, keyClient) || strings.HasPrefix(key, keySession) {
			if want[key] != string(value) {
				complain("record %s is %s, it should be %s", key, diagnosed(value), diagnosed([]byte(want[key])))
			}
			delete(want, key)
		}
	}
	if len(want) > 0 {
		complain("there is no record of %v", slices.Sorted(maps.Keys(want)))
	}
}

// TestUnrecordedOutbound kills the daemon after each operation of a client's set-up. When it has installed an outbound SA and could not write that
// down, the next one keeps the SA, and its counters, until the engine asks for it.
func TestUnrecordedOutbound(t *testing.T) {
	found := 0
	for n := range int64(60) {
		play(t, 1, func(t *testing.T, b *bench) {
			s := b.station(1)
			b.m.doom.Store(n + 1)
			s.dial()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			kept := b.outbound1()
			if kept.SPI == 0 || b.recorded(kept) {
				kept = xfrm.ID{}
			} else {
				found++
			}
			b.kill(0, 0)
			if kept.SPI != 0 && b.outbound1() != kept {
				t.Errorf("after %d operations: the SA %v is gone", n+1, kept)
			}
			b.invariants("after the restart")
			time.Sleep(time.Minute)
			if !s.up(1) {
				s.dial()
			}
			b.until("the client is connected", func() bool { return s.up(1) })
		})
	}
	if found == 0 {
		t.Error("no kill was between the SA and its record: this test tests nothing")
	}
}

// TestRestartInReauthentication kills the daemon at each operation of a client's new Main Mode and of the Quick Mode in it: the client tries again,
// and its session notices nothing.
func TestRestartInReauthentication(t *testing.T) {
	for n := range 16 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			play(t, 88, func(t *testing.T, b *bench) {
				s := b.connected(1)
				names := b.sessionNames()
				again := func() {
					s.do(func() {
						p := *s.peer
						s.peer = &p
						s.main = p.MainMode()
						s.await("2", s.main.Message1())
					})
				}
				again()
				b.kill(n, 10*time.Second)
				time.Sleep(time.Minute)
				b.invariants("after a restart")
				again()
				time.Sleep(10 * time.Minute)
				if after := b.sessionNames(); !slices.Equal(names, after) || !s.up(1) {
					t.Errorf("sessions %v have become %v; log %v", names, after, b.words())
				}
				b.invariants("ten minutes later")
			})
		})
	}
}

// TestClaim: an outbound SA is not a client's for the sake of its SPI, which another one behind the same NAT may have chosen too.
func TestClaim(t *testing.T) {
	play(t, 1, func(t *testing.T, b *bench) {
		b.connected(1)
		if err := b.c.call(t.Context(), func() {
			for _, cl := range b.c.clients {
				for _, ch := range cl.children {
					ours := b.c.opt.Block.Mark(cl.port)
					out := ch.out
					for _, tt := range []struct {
						reqid uint32
						want  xfrm.ID
					}{{ours + 1, xfrm.ID{}}, {ours, out}} {
						ch.out = xfrm.ID{}
						a := &adoption{c: b.c, states: []xfrm.State{{ID: out, ReqID: tt.reqid}}}
						if a.claim(); ch.out != tt.want {
							t.Errorf("slot %d gets %v when there is %v of reqid %#x", cl.port, ch.out, out, tt.reqid)
						}
					}
				}
			}
		}); err != nil {
			t.Error(err)
		}
	})
}

// outbound1 is the only outbound SA there is; the zero value for none.
func (b *bench) outbound1() (id xfrm.ID) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	for _, sa := range b.m.sas {
		if sa.Direction == xfrm.Out {
			id = sa.ID
		}
	}
	return id
}

// recorded says whether the record of a client has an outbound SA.
func (b *bench) recorded(id xfrm.ID) bool {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	for key, value := range b.m.kept {
		if !strings.HasPrefix(key, keyClient) {
			continue
		}
		r, err := decodeRecord[clientRecord](value)
		if err != nil {
			b.t.Error(err)
		}
		for _, ch := range r.Children {
			if ch.Out == id {
				return true
			}
		}
	}
	return false
}

// TestUnrecordedOutboundElsewhere: as in TestUnrecordedOutbound, but the client repeats message 3 from another address. The SA follows it there,
// with its counters.
func TestUnrecordedOutboundElsewhere(t *testing.T) {
	found := 0
	for n := range int64(20) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			play(t, 95, func(t *testing.T, b *bench) {
				s := b.connected(1)
				old := b.outbound1()
				b.m.doom.Store(n + 1)
				s.rekey()
				time.Sleep(time.Second)
				synctest.Wait()
				kept := b.newestOutbound()
				unrecorded := kept.SPI != old.SPI && !b.recorded(kept)
				s.roam(netip.MustParseAddrPort("192.0.2.200:40000"))
				b.start(b.dead())
				time.Sleep(10 * time.Second)
				if unrecorded {
					found++
					if at := b.newestOutbound(); at.SPI != kept.SPI || at.Dst != s.peer.Addr.Addr() {
						t.Errorf("the SA %v has become %v; log %v", kept, at, b.words())
					}
				}
				b.invariants("after the restart")
				time.Sleep(3 * time.Minute)
				b.whereabouts(s)
			})
		})
	}
	if found == 0 {
		t.Error("no kill was between the SA and its record: this test tests nothing")
	}
}

// newestOutbound is the outbound SA that was installed last; the zero value for none.
func (b *bench) newestOutbound() (id xfrm.ID) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	for _, at := range b.m.order {
		if b.m.sas[at].Direction == xfrm.Out {
			id = at
		}
	}
	return id
}
