package concentrator

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// The daemon is stopped at any moment of connecting and of leaving; play checks that nothing is left.
func TestShutdownWhileConnecting(t *testing.T) {
	for _, latency := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
		t.Run(fmt.Sprint(latency), func(t *testing.T) {
			for step := range time.Duration(60) {
				play(t, 50+uint64(step), func(t *testing.T, b *bench) {
					for n := range 3 {
						s := b.station(n)
						s.calls = 2
						s.dial()
					}
					time.Sleep(step * (5*time.Millisecond + latency/20))
				}, func(b *bench, _ *Options) { b.m.latency = latency })
			}
		})
	}
}

func TestShutdownWhileLeaving(t *testing.T) {
	for step := range time.Duration(40) {
		play(t, 150+uint64(step), func(t *testing.T, b *bench) {
			leaving, closed, stays := b.connected(1), b.connected(2), b.connected(3)
			go leaving.leave()
			b.close(closed)
			time.Sleep(step * 5 * time.Millisecond)
			if !stays.up(1) {
				t.Error("the third client has lost its session")
			}
		}, func(b *bench, _ *Options) { b.m.latency = 100 * time.Millisecond })
	}
}

// Everybody is told, layer by layer.
func TestShutdownSaysGoodbye(t *testing.T) {
	play(t, 200, func(t *testing.T, b *bench) {
		var all []*station
		for n := range 4 {
			all = append(all, b.connected(n))
		}
		b.shutdown()
		time.Sleep(time.Second)
		for _, s := range all {
			s.do(func() {
				if s.told.esp != 1 || s.told.isakmp != 1 || s.told.cut != 0 {
					t.Errorf("client %v was told %+v", s.home.Addr, s.told)
				}
			})
		}
	})
}

// A pppd that does not end when asked does not keep the daemon.
func TestShutdownWithDeafPPP(t *testing.T) {
	play(t, 201, func(t *testing.T, b *bench) {
		b.m.login = func(string) login { return login{user: "alice", deaf: true} }
		b.connected(1)
		start := time.Now()
		b.shutdown()
		if d := time.Since(start); d > terminateWait+stopWait+settleWait {
			t.Errorf("it took %v", d)
		}
	})
}

// Clients that begin during the shutdown find nobody.
func TestShutdownWhileOthersCome(t *testing.T) {
	for step := range time.Duration(30) {
		play(t, 202+uint64(step), func(t *testing.T, b *bench) {
			b.connected(1)
			b.m.latency = 3 * time.Second
			late := b.station(2)
			time.AfterFunc(step*200*time.Millisecond, late.dial)
			b.stop(nil)
			time.Sleep(10 * time.Millisecond)
		})
	}
}

func TestStopped(t *testing.T) {
	play(t, 232, func(t *testing.T, b *bench) {
		s := b.connected(1)
		b.shutdown()
		for range 300 { // more than any queue holds
			s.deleteISAKMP()
			s.rekey()
			s.do(func() { s.state = "up" })
		}
		if _, err := b.c.API().Tunnels(context.Background()); !errors.Is(err, errStopped) {
			t.Errorf("the control API says %v", err)
		}
	})
}
