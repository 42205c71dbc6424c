package concentrator

import (
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// TestRemovedSA: a client whose SA somebody deletes is told so; its tunnel waits for new SAs, but not for long.
func TestRemovedSA(t *testing.T) {
	for _, dir := range []xfrm.Direction{xfrm.In, xfrm.Out} {
		for name, returns := range map[string]bool{"negotiates anew": true, "does not": false} {
			t.Run(dir.String()+" "+name, func(t *testing.T) {
				play(t, 84, func(t *testing.T, b *bench) {
					s, other := b.connected(1), b.connected(2)
					id := b.sas(s)[dir].ID
					b.c.HandleDeleted(xfrm.Deleted{ID: id, ReqID: b.sas(other)[dir].ReqID})
					b.c.HandleDeleted(xfrm.Deleted{ID: id, ReqID: 7})
					time.Sleep(time.Second)
					s.wantTold("an SA of nobody", 0)
					if _, err := (machineSAs{b.m}).Delete(id); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
					s.wantTold("an SA is removed", 1)
					other.wantTold("the other client", 0)
					b.want("one client has no SAs", counts{sas: 2, sockets: 2, tunnels: 2, sessions: 2, processes: 2, logins: 2})
					lost := b.events(eventSALost)
					if len(lost) != 1 || lost[0].Peer != s.peer.Addr || lost[0].Severity != control.SeverityWarning || lost[0].Cause != "removed" || lost[0].Hint == "" {
						t.Errorf("told %+v", lost)
					}
					if returns {
						s.rekey()
						time.Sleep(3 * time.Minute)
						b.want("its tunnel lives on in new ones", counts{sas: 4, sockets: 2, tunnels: 2, sessions: 2, processes: 2, logins: 2})
						return
					}
					// Nothing reaches it: whoever waited for its answer would end it while it dials again.
					b.before(lostWait, "it is ended", func() bool { return b.m.counts() == whole })
					down := b.events(eventSessionDown)
					if len(down) != 1 || !strings.Contains(down[0].Text, "was removed from the kernel, and it did not negotiate another") {
						t.Errorf("told %+v", down)
					}
				})
			})
		}
	}
}

// TestFlushedSAs: when all are gone, all clients are told, and the operator once.
func TestFlushedSAs(t *testing.T) {
	for name, clients := range map[string]int{"a few": 3, "many": maxLost + 4} {
		t.Run(name, func(t *testing.T) {
			play(t, 85, func(t *testing.T, b *bench) {
				var all []*station
				for n := range clients {
					all = append(all, b.connected(n+1))
				}
				b.m.flush()
				b.c.HandleOverrun()
				time.Sleep(time.Second)
				for _, s := range all {
					s.wantTold("flushed", 1)
				}
				want := clients
				if clients > maxLost {
					want = 1
				}
				if lost := b.events(eventSALost); len(lost) != want {
					t.Errorf("%d events, want %d: %+v", len(lost), want, lost)
				}
				for _, s := range all[1:] {
					s.rekey()
				}
				time.Sleep(lostWait + 10*time.Second)
				rest := clients - 1
				b.want("one did not come back", counts{sas: 2 * rest, sockets: rest, tunnels: rest, sessions: rest, processes: rest, logins: rest})
				stats, err := b.c.API().Stats(t.Context())
				if err != nil || stats.Errors.LostSAs != uint64(clients) {
					t.Errorf("stats %+v, %v", stats.Errors, err)
				}
			}, func(_ *bench, opt *Options) { opt.Block.Mask = 0xff00 })
		})
	}
}
