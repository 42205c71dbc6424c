package concentrator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// A client that hangs up says up to four things, in any order; some arrive, some do not.
func TestClientLeaves(t *testing.T) {
	words := map[string]func(*station){
		"CDN": (*station).hangup, "StopCCN": (*station).stop, "DeleteESP": (*station).deleteESP, "DeleteISAKMP": (*station).deleteISAKMP,
	}
	for _, c := range []struct {
		say   string
		after counts
		soon  bool // the rest follows within a minute
	}{
		{"CDN", counts{sas: 2, sockets: 1, tunnels: 1}, false},
		{"StopCCN", counts{sas: 2, sockets: 1}, false},
		{"CDN StopCCN", counts{sas: 2, sockets: 1}, false},
		{"CDN StopCCN DeleteESP", counts{sockets: 1}, false},
		{"CDN StopCCN DeleteESP DeleteISAKMP", counts{}, true},
		{"StopCCN DeleteESP DeleteISAKMP", counts{}, true},
		{"DeleteESP DeleteISAKMP", counts{}, true},
		{"DeleteESP StopCCN DeleteISAKMP", counts{}, true},
		{"DeleteESP CDN", counts{sockets: 1, tunnels: 1, sessions: 1, processes: 1, logins: 1}, false},
		{"DeleteISAKMP CDN StopCCN", counts{sas: 2, sockets: 1}, false},
		{"DeleteISAKMP", whole, false},
	} {
		t.Run(c.say, func(t *testing.T) {
			play(t, 20, func(t *testing.T, b *bench) {
				s := b.connected(1)
				for _, word := range strings.Fields(c.say) {
					words[word](s)
					time.Sleep(b.delay)
				}
				time.Sleep(time.Second)
				b.want("after "+c.say, c.after)
				s.vanish()
				limit := 100 * time.Hour
				if c.soon {
					limit = time.Minute
				}
				b.before(limit, "nothing is left", func() bool { return b.m.counts() == counts{} })
			})
		})
	}
}

func TestPPPEnds(t *testing.T) {
	for _, code := range []int{pppd.ExitOK, pppd.ExitPeerDead, pppd.ExitHangup, 1} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			play(t, 21, func(t *testing.T, b *bench) {
				s := b.connected(1)
				b.m.process().hangup(code)
				b.until("the client hears of it", func() bool { return s.up(0) })
				b.want("the tunnel stays for another call", counts{sas: 2, sockets: 1, tunnels: 1})
				s.call()
				b.until("another call", func() bool { return s.up(1) && b.count(sessionEstablished) == 1 })
			})
		})
	}
}

// A client whose only call fails is ended as a whole, so that it can say so to its user and begin anew.
func TestAuthenticationFails(t *testing.T) {
	play(t, 22, func(t *testing.T, b *bench) {
		b.m.login = func(string) login { return login{user: "mallory", rejected: aaa.ReasonWrongPassword} }
		s := b.station(1)
		s.dial()
		b.until("pppd runs", func() bool { return b.m.counts().processes == 1 })
		b.until("the client is gone", func() bool { return b.m.counts() == counts{} })
		s.do(func() {
			if s.told.isakmp != 1 {
				t.Errorf("told %+v", s.told)
			}
		})
		stats, err := b.c.API().Stats(t.Context())
		if statsFailed(err) || stats.PPP.Rejected != 1 || stats.PPP.Authenticated != 0 || stats.L2TP.SessionsUp != 0 {
			t.Errorf("stats %+v, %v", stats, err)
		}
		b.m.login = func(string) login { return login{user: "alice"} }
		s.dial()
		b.until("with the right password", func() bool { return s.up(1) && b.count(sessionEstablished) == 1 })
	})
}

// A client that knows none of the accepted methods never gets to the RADIUS server.
func TestNoMethodInCommon(t *testing.T) {
	play(t, 62, func(t *testing.T, b *bench) {
		s := b.station(1)
		b.m.login = func(string) login { return login{silent: true} }
		s.dial()
		b.until("pppd runs", func() bool { return b.m.counts().processes == 1 })
		b.m.process().hangup(pppd.ExitPeerAuthFailed)
		b.until("the client is gone", func() bool { return b.m.counts() == counts{} })
		told := b.logs.FilterMessage("authentication failed").All()
		if len(told) != 1 || told[0].ContextMap()["accepted"] != "mschapv2" || told[0].ContextMap()["hint"] == nil {
			t.Errorf("log %v", told)
		}
		if n := b.counted().rejected; n != 1 {
			t.Errorf("%d logins rejected", n)
		}
	})
}

// What was rejected goes as a whole, also if the client hangs up first.
func TestRejectedClientHangsUp(t *testing.T) {
	play(t, 63, func(t *testing.T, b *bench) {
		b.m.login = func(string) login { return login{user: "mallory", rejected: aaa.ReasonWrongPassword} }
		s := b.station(1)
		s.dial()
		b.until("it is rejected", func() bool { return b.counted().rejected == 1 })
		s.hangup()
		b.before(10*time.Second, "the client is gone", func() bool { return b.m.counts() == counts{} })
	})
}

// The record of a session has what the kernel counted, whoever ended it.
func TestRecord(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(*bench, *station)
		reason string
	}{
		{"the client hangs up", func(_ *bench, s *station) { s.hangup() }, "CDN received"},
		{"PPP ends", func(b *bench, _ *station) { b.m.process().hangup(pppd.ExitOK) }, "pppd exit 0"},
		{"the operator ends it", func(b *bench, s *station) { b.close(s) }, "closed by the operator"},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, 32, func(t *testing.T, b *bench) {
				s := b.connected(1)
				c.end(b, s)
				records := func() []observer.LoggedEntry { return b.logs.FilterMessage("session down").All() }
				b.until("there is a record", func() bool { return len(records()) > 0 })
				m := records()[0].ContextMap()
				if len(records()) != 1 || m["rx_bytes"] != uint64(1000) || m["tx_bytes"] != uint64(2000) || m["reason"] != c.reason || m["user"] != "alice" {
					t.Errorf("records %v", records())
				}
			})
		})
	}
}

func TestRedialInsideTheSA(t *testing.T) {
	play(t, 23, func(t *testing.T, b *bench) {
		s := b.connected(1)
		for range 5 {
			s.redial()
			b.until("a new tunnel in the old one's place", func() bool { return s.up(1) && b.count(sessionEstablished) == 1 })
			b.want("the old one is gone", whole)
		}
		s.stop()
		time.Sleep(b.delay)
		s.offered = 5000
		s.redial()
		b.until("from another port", func() bool { return s.up(1) && b.count(sessionEstablished) == 1 })
		b.want("redialled", whole)
	}, func(b *bench, _ *Options) { b.m.latency = 50 * time.Millisecond })
}

func TestOperatorClosesTunnel(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("deaf pppd %v", deaf), func(t *testing.T) {
			play(t, 24, func(t *testing.T, b *bench) {
				b.m.login = func(string) login { return login{user: "alice", deaf: deaf} }
				s, other := b.connected(1), b.connected(2)
				b.close(s)
				limit := stopWait // StopCCN may overtake CDN, and is ignored then
				if deaf {
					limit += terminateWait
				}
				b.before(limit, "it is gone, the other is not", func() bool { return b.m.counts() == whole })
				time.Sleep(b.delay)
				s.do(func() {
					if s.told.esp != 1 || s.told.isakmp != 1 || s.told.cut != 0 {
						t.Errorf("told %+v", s.told)
					}
				})
				if !other.up(1) {
					t.Error("the other client has lost its session")
				}
				if err := b.c.API().CloseTunnel(t.Context(), 0x4000); !errors.Is(err, control.ErrNotFound) {
					t.Errorf("closing it again: %v", err)
				}
			})
		})
	}
}

// A client that is being closed gets no new session, or it would stay.
func TestOperatorClosesTunnelOfClientThatCalls(t *testing.T) {
	play(t, 30, func(t *testing.T, b *bench) {
		b.m.login = func(string) login { return login{user: "alice", deaf: true} }
		s := b.connected(1)
		b.close(s)
		time.Sleep(time.Second)
		s.call()
		b.before(terminateWait+stopWait, "it is gone", func() bool { return b.m.counts() == counts{} })
	})
}

// A client that has left without a word keeps nothing for longer than it may take to answer.
func TestOperatorClosesTunnelOfClientThatIsSilent(t *testing.T) {
	play(t, 37, func(t *testing.T, b *bench) {
		s := b.connected(1)
		s.do(func() { s.gone = true })
		b.close(s)
		time.Sleep(stopWait - 500*time.Millisecond)
		b.want("it may answer still", counts{sas: 2, sockets: 1})
		b.before(terminateWait, "it is gone", func() bool { return b.m.counts() == counts{} })
	})
}

// close closes the tunnel of a station as an operator does.
func (b *bench) close(s *station) {
	b.t.Helper()
	var id uint16
	b.on(func() { id = uint16(b.clientOf(s).port) })
	if err := b.c.API().CloseTunnel(context.Background(), id); err != nil {
		b.t.Error(err)
	}
}

// The operator is impatient: a client that is closed in any moment of connecting goes, too.
func TestOperatorClosesWhileConnecting(t *testing.T) {
	for moment := time.Duration(0); moment < 4*time.Second; moment += 40 * time.Millisecond {
		play(t, 25+uint64(moment), func(t *testing.T, b *bench) {
			s := b.station(1)
			s.calls = 2
			s.dial()
			time.Sleep(moment)
			rows, err := b.c.API().Tunnels(t.Context())
			if err != nil || len(rows) == 0 {
				return // it has no slot yet
			}
			s.vanish()
			if err := b.c.API().CloseTunnel(t.Context(), rows[0].ID); err != nil {
				t.Error(err)
			}
			b.before(10*time.Second, fmt.Sprintf("closed after %v", moment), func() bool { return b.m.counts() == counts{} })
		}, func(b *bench, _ *Options) { b.m.latency = 500 * time.Millisecond })
	}
}

func TestOperatorClosesSession(t *testing.T) {
	play(t, 26, func(t *testing.T, b *bench) {
		s := b.station(1)
		s.calls = 2
		s.dial()
		b.until("two sessions", func() bool { return s.up(2) && b.count(sessionEstablished) == 2 })
		if err := b.c.API().CloseSession(t.Context(), "16384-1"); err != nil {
			t.Error(err)
		}
		b.until("one is left", func() bool { return b.m.counts() == whole && s.up(1) })
		if err := b.c.API().CloseSession(t.Context(), "16384-1"); !errors.Is(err, control.ErrNotFound) {
			t.Errorf("closing it again: %v", err)
		}
		if err := b.c.API().CloseSession(t.Context(), "16384-2"); err != nil {
			t.Error(err)
		}
		b.before(stopWait, "the last takes the client along", func() bool { return b.m.counts() == counts{} })
	})
}

// What the operator said stands in the record, also if IP comes up while pppd is on its way out.
func TestOperatorClosesSessionThatComesUp(t *testing.T) {
	play(t, 27, func(t *testing.T, b *bench) {
		b.m.login = func(string) login { return login{user: "alice", deaf: true} }
		s := b.station(1)
		s.dial()
		b.until("pppd runs", func() bool { return b.count(sessionAuthenticating) == 1 && b.m.counts().processes == 1 })
		if err := b.c.API().CloseSession(t.Context(), "16384-1"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if n := b.count(sessionClosing); n != 1 {
			t.Errorf("%d sessions are closing, the one is %q", n, b.stateOf(s))
		}
		b.before(terminateWait+stopWait, "it is killed", func() bool { return b.m.counts() == counts{} })
	})
}

// A request that was under way when its client went finds nobody: neither while the slot is being given back, nor afterwards.
func TestRequestOfClientThatHasGone(t *testing.T) {
	play(t, 31, func(t *testing.T, b *bench) {
		s := b.connected(1)
		lac := l2tptest.LAC{Tunnel: 999, Window: 4, Calls: 1}
		lac.Start(time.Now())
		late := l2tp.Datagram{Tunnel: 0x4000, Remote: netip.MustParseAddrPort("198.51.100.1:1701"), Payload: lac.Take()[0]}
		b.m.latency = time.Second
		s.deleteESP()
		time.Sleep(b.delay)
		s.deleteISAKMP()
		time.Sleep(b.delay)
		for _, state := range []string{"being closed", "closed"} {
			b.c.HandleL2TP(late)
			b.on(func() {
				if n := len(b.c.L2TP.Tunnels()); n != 0 {
					t.Errorf("the client is %s and has %d tunnels", state, n)
				}
			})
			time.Sleep(10 * time.Second)
			b.want("the client has gone", counts{})
		}
		b.on(func() {
			if n := b.c.counters.l2tp[dropNoClient]; n != 2 {
				t.Errorf("%d messages counted", n)
			}
		})
	})
}

// The client hangs up at any moment of connecting, while the kernel takes its time.
func TestClientLeavesWhileConnecting(t *testing.T) {
	for _, word := range []struct {
		name string
		say  func(*station)
	}{
		{"StopCCN", (*station).stop},
		{"DeleteESP", (*station).deleteESP},
		{"CDN", (*station).hangup},
		{"redial", (*station).redial},
	} {
		t.Run(word.name, func(t *testing.T) {
			for moment := time.Duration(0); moment < 3*time.Second; moment += 50 * time.Millisecond {
				play(t, 28+uint64(moment), func(t *testing.T, b *bench) {
					s := b.station(1)
					s.calls = 3
					s.dial()
					time.Sleep(moment)
					word.say(s)
					time.Sleep(2 * time.Second)
					s.stop()
					s.vanish()
					limit := 10 * time.Second
					if b.m.counts().sas == 0 {
						limit = 3 * time.Minute // StopCCN has no way to us, but nobody answers our HELLO either
					}
					b.before(limit, fmt.Sprintf("%s after %v", word.name, moment), func() bool {
						n := b.m.counts()
						return n.tunnels+n.sessions+n.processes+n.logins == 0
					})
					b.before(10*time.Hour, "then the client goes", func() bool { return b.slots() == 0 })
				}, func(b *bench, _ *Options) { b.m.latency = 500 * time.Millisecond })
			}
		})
	}
}

// slots is the number of slots in use.
func (b *bench) slots() (n int) {
	b.on(func() { n = b.c.slots.Used() })
	return n
}
