package concentrator

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// sas are the SAs of a station's slot on the machine, by direction.
func (b *bench) sas(s *station) map[xfrm.Direction]xfrm.State {
	b.t.Helper()
	reqid := uint32(0)
	b.on(func() {
		if cl := b.clientOf(s); cl != nil {
			reqid = b.c.opt.Block.Mark(cl.port)
		}
	})
	found := make(map[xfrm.Direction]xfrm.State)
	list, _ := machineSAs{b.m}.List()
	for _, st := range list {
		if st.ReqID == reqid {
			found[st.Direction] = st
		}
	}
	return found
}

// lose ends an SA on the machine without a word.
func (m *machine) lose(id xfrm.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(id)
}

// wantTold checks how many Deletes of ESP a station has got.
func (s *station) wantTold(why string, esp int) {
	s.b.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told.esp != esp || s.told.isakmp != 0 {
		s.b.t.Errorf("%s: the client was told %+v, want %d Deletes of ESP", why, s.told, esp)
	}
}

// An SA at its hard limit takes the other one with it, the client is told, and what it negotiates then takes their place.
func TestHardLimit(t *testing.T) {
	for _, dir := range []xfrm.Direction{xfrm.In, xfrm.Out} {
		t.Run(dir.String(), func(t *testing.T) {
			play(t, 70, func(t *testing.T, b *bench) {
				s, other := b.connected(1), b.connected(2)
				st := b.sas(s)[dir]
				b.c.HandleExpire(xfrm.Expire{ID: st.ID, ReqID: st.ReqID})
				b.c.HandleExpire(xfrm.Expire{ID: st.ID, ReqID: b.sas(other)[dir].ReqID, Hard: true})
				b.c.HandleExpire(xfrm.Expire{ID: st.ID, ReqID: 7, Hard: true})
				time.Sleep(time.Second)
				s.wantTold("a soft limit, another client's, nobody's", 0)

				b.m.lose(st.ID)
				b.c.HandleExpire(xfrm.Expire{ID: st.ID, ReqID: st.ReqID, Hard: true})
				time.Sleep(time.Second)
				s.wantTold("hard limit", 1)
				other.wantTold("the other client", 0)
				b.want("one client has no SAs", counts{sas: 2, sockets: 2, tunnels: 2, sessions: 2, processes: 2, logins: 2})
				s.rekey()
				time.Sleep(3 * time.Minute)
				b.want("its tunnel lives on in new ones", counts{sas: 4, sockets: 2, tunnels: 2, sessions: 2, processes: 2, logins: 2})
			})
		})
	}
}

// When events were lost the daemon finds out itself which SAs the kernel has ended.
func TestLostEvents(t *testing.T) {
	for _, dir := range []xfrm.Direction{xfrm.In, xfrm.Out} {
		t.Run(dir.String(), func(t *testing.T) {
			play(t, 71, func(t *testing.T, b *bench) {
				s, other := b.connected(1), b.connected(2)
				b.c.HandleOverrun()
				time.Sleep(time.Second)
				s.wantTold("nothing was lost", 0)
				b.m.lose(b.sas(s)[dir].ID)
				b.c.HandleOverrun()
				time.Sleep(time.Second)
				s.wantTold("an SA is missing", 1)
				other.wantTold("the other client", 0)
				b.want("one client has no SAs", counts{sas: 2, sockets: 2, tunnels: 2, sessions: 2, processes: 2, logins: 2})
			})
		})
	}
}

// A client that asks for an end after some octets gets SAs that allow a quarter more, so that it can rekey at its own count; one that
// does not rekey is told the end.
func TestByteLimitOfClient(t *testing.T) {
	for name, rekeys := range map[string]bool{"rekeys": true, "forgets to rekey": false} {
		t.Run(name, func(t *testing.T) {
			play(t, 72, func(t *testing.T, b *bench) {
				s := b.station(1)
				s.offer = func(q *ikev1test.QuickMode) {
					for i := range q.Proposals {
						attributes := q.Proposals[i].Transforms[0].Attributes
						attributes[len(attributes)-1] = wire.LongAttribute(wire.AttrSALifeDuration, 10) // kilobytes
						q.Proposals[i].Transforms[0].Attributes = append(attributes, wire.ShortAttribute(wire.AttrSAExtendedSequence, 1))
					}
				}
				s.dial()
				b.until("the client is connected", func() bool { return s.up(1) && b.count(sessionEstablished) == 1 })
				for dir, st := range b.sas(s) {
					if st.Soft.Bytes != 10_000 || st.Hard.Bytes != 12_500 || !st.ESN {
						t.Errorf("the SA %v has limits %+v and %+v, ESN %v", dir, st.Soft, st.Hard, st.ESN)
					}
				}
				junk := make([]byte, 1000)
				for n := range 12 {
					s.do(func() { s.toL2TP(junk) })
					time.Sleep(100 * time.Millisecond)
					if n == 10 && rekeys {
						s.rekey()
						time.Sleep(time.Second)
					}
				}
				s.wantTold("before the hard limit", 0)
				if rekeys {
					b.want("the old SAs stay until the client deletes them", counts{sas: 4, sockets: 1, tunnels: 1, sessions: 1, processes: 1, logins: 1})
					return
				}
				b.want("the soft limit is passed", whole)
				for range 2 {
					s.do(func() { s.toL2TP(junk) })
					time.Sleep(100 * time.Millisecond)
				}
				s.wantTold("at the hard limit", 1)
				b.want("both SAs have gone", counts{sockets: 1, tunnels: 1, sessions: 1, processes: 1, logins: 1})
			})
		})
	}
}
