package concentrator

import (
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// sessionOf is a station's only session: its tunnel and session id, and its interface.
func (b *bench) sessionOf(s *station) (tunnel, id uint32, iface string) {
	b.t.Helper()
	b.on(func() {
		if cl := b.clientOf(s); cl != nil {
			for _, session := range cl.sessions {
				tunnel, id, iface = uint32(cl.port), uint32(session.id), session.iface
			}
		}
	})
	if iface == "" {
		b.t.Fatal("the station has no session")
	}
	return tunnel, id, iface
}

// wantLost checks that one event tells of something lost, and one of the session's end for that reason.
func (b *bench) wantLost(kind, reason string) {
	b.t.Helper()
	lost, down := b.events(kind), b.events(eventSessionDown)
	if len(lost) != 1 || lost[0].Cause != "removed" || lost[0].Hint == "" || lost[0].TunnelID == 0 || !lost[0].Peer.IsValid() {
		b.t.Errorf("%s: %+v", kind, lost)
	}
	if len(down) != 1 || down[0].Text != reason {
		b.t.Errorf("the session's end: %+v, want %q", down, reason)
	}
}

var two = counts{sas: 4, sockets: 2, tunnels: 2, sessions: 2, processes: 2, logins: 2}

// TestRemovedTunnel: its session ends with the reason, the client is told and dials again in its SA.
func TestRemovedTunnel(t *testing.T) {
	for name, told := range map[string]bool{"told by the kernel": true, "found after lost events": false} {
		t.Run(name, func(t *testing.T) {
			play(t, 86, func(t *testing.T, b *bench) {
				s, other := b.connected(1), b.connected(2)
				tunnel, _, _ := b.sessionOf(s)
				if told {
					b.m.stealTunnel(tunnel)
				} else {
					note := b.m.note
					b.m.note = func(l2tpnl.Event) {}
					b.m.stealTunnel(tunnel)
					time.Sleep(time.Second)
					b.m.note = note
					b.c.HandleL2TPOverrun()
				}
				time.Sleep(2 * time.Second)
				b.wantLost(eventTunnelLost, "its tunnel was removed from the kernel")
				b.want("the other one is left", counts{sas: 4, sockets: 2, tunnels: 1, sessions: 1, processes: 1, logins: 1})
				if s.up(1) || !other.up(1) {
					t.Errorf("the client is up: %v, the other one: %v", s.up(1), other.up(1))
				}
				s.redial()
				b.until("the client has a tunnel again", func() bool { return s.up(1) && b.m.counts() == two })
				if n := len(b.events(eventTunnelLost)); n != 1 {
					t.Errorf("%d events", n)
				}
			})
		})
	}
}

func TestRemovedSession(t *testing.T) {
	play(t, 87, func(t *testing.T, b *bench) {
		s, other := b.connected(1), b.connected(2)
		tunnel, id, _ := b.sessionOf(s)
		b.m.stealSession(tunnel, id)
		time.Sleep(2 * time.Second)
		b.wantLost(eventSessionLost, "it was removed from the kernel")
		b.want("its tunnel is left", counts{sas: 4, sockets: 2, tunnels: 2, sessions: 1, processes: 1, logins: 1})
		if !s.up(0) || !other.up(1) {
			t.Errorf("the client knows: %v, the other one is up: %v", s.up(0), other.up(1))
		}
		s.call()
		b.until("it calls again", func() bool { return s.up(1) && b.m.counts() == two })
	})
}

// TestRemovedInterface: a pppd that does not notice is killed.
func TestRemovedInterface(t *testing.T) {
	for name, told := range map[string]bool{"told by the kernel": true, "pppd notices": true, "found after lost events": false} {
		t.Run(name, func(t *testing.T) {
			play(t, 88, func(t *testing.T, b *bench) {
				s, other := b.connected(1), b.connected(2)
				_, _, iface := b.sessionOf(s)
				if told {
					b.m.link([]string{"eth0", "l2tfoo", "l2t99999-1", "l2t16384-7", iface})
				} else {
					_, _, others := b.sessionOf(other)
					b.c.HandleLinksOverrun(func() (map[string]bool, error) { return map[string]bool{others: true}, nil })
				}
				if name == "pppd notices" {
					b.m.mu.Lock()
					p := b.m.processes[iface]
					b.m.mu.Unlock()
					time.Sleep(100 * time.Millisecond)
					p.hangup(pppd.ExitHangup)
				}
				time.Sleep(linkWait + 2*time.Second)
				b.wantLost(eventInterfaceLost, "its interface was removed")
				b.want("its tunnel is left", counts{sas: 4, sockets: 2, tunnels: 2, sessions: 1, processes: 1, logins: 1})
				if !s.up(0) || !other.up(1) {
					t.Errorf("the client knows: %v, the other one is up: %v", s.up(0), other.up(1))
				}
			})
		})
	}
}

// TestNothingIsLost: what ends in the ordinary way, and what belongs to others, is no loss.
func TestNothingIsLost(t *testing.T) {
	play(t, 89, func(t *testing.T, b *bench) {
		s, other := b.connected(1), b.connected(2)
		tunnel, id, iface := b.sessionOf(s)
		for _, e := range []l2tpnl.Event{
			l2tpnl.TunnelEvent{Change: l2tpnl.Deleted, Tunnel: l2tpnl.Tunnel{ID: tunnel}}, // of another namespace
			l2tpnl.TunnelEvent{Change: l2tpnl.Created, Tunnel: l2tpnl.Tunnel{ID: tunnel}},
			l2tpnl.TunnelEvent{Change: l2tpnl.Deleted, Tunnel: l2tpnl.Tunnel{ID: 7}},
			l2tpnl.TunnelEvent{Change: l2tpnl.Deleted, Tunnel: l2tpnl.Tunnel{ID: 0x10000 + tunnel}},
			l2tpnl.SessionEvent{Change: l2tpnl.Deleted, Session: l2tpnl.Session{TunnelID: tunnel, ID: id}},
			l2tpnl.SessionEvent{Change: l2tpnl.Deleted, Session: l2tpnl.Session{TunnelID: tunnel, ID: 0x10000 + id}},
			l2tpnl.SessionEvent{Change: l2tpnl.Deleted, Session: l2tpnl.Session{TunnelID: 7, ID: id}},
		} {
			b.m.note(e)
		}
		b.c.HandleL2TPOverrun()
		time.Sleep(5 * time.Second)
		b.want("nothing has happened", two)

		b.m.mu.Lock()
		p := b.m.processes[iface]
		b.m.mu.Unlock()
		b.m.link([]string{iface}) // as pppd does at its end
		time.Sleep(time.Second)
		p.hangup(pppd.ExitPeerDead)
		other.leave()
		time.Sleep(time.Minute)
		for _, e := range b.events("") {
			if strings.HasSuffix(e.Kind, "_lost") {
				t.Errorf("told %+v", e)
			}
		}
		stats, err := b.c.API().Stats(t.Context())
		if err != nil || stats.Errors.LostObjects != 0 || stats.Errors.LostSAs != 0 {
			t.Errorf("stats %+v, %v", stats.Errors, err)
		}
	})
}

// TestRemovedFlood: events of another namespace, as many as somebody there likes, keep neither a client waiting nor its slot.
func TestRemovedFlood(t *testing.T) {
	play(t, 90, func(t *testing.T, b *bench) {
		s, other := b.connected(1), b.connected(2)
		tunnel, id, _ := b.sessionOf(s)
		flood := func() {
			for range 100 {
				b.m.note(l2tpnl.TunnelEvent{Change: l2tpnl.Deleted, Tunnel: l2tpnl.Tunnel{ID: tunnel}})
				b.m.note(l2tpnl.SessionEvent{Change: l2tpnl.Deleted, Session: l2tpnl.Session{TunnelID: tunnel, ID: id}})
			}
		}
		flood()
		waiting := 0
		b.on(func() { waiting = len(b.clientOf(s).ops.waiting) })
		if waiting > 2 { // one for the tunnel and one for the session
			t.Errorf("%d operations wait", waiting)
		}
		s.leave()
		for range 20 {
			flood()
			time.Sleep(100 * time.Millisecond)
		}
		b.want("the client has gone meanwhile", counts{sas: 2, sockets: 1, tunnels: 1, sessions: 1, processes: 1, logins: 1})
		if !other.up(1) {
			t.Error("the other one is down")
		}
	})
}
