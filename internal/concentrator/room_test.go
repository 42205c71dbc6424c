package concentrator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// TestFullServerIsTold: operators hear of the last slots, and then that there are none; the client is refused with that cause.
func TestFullServerIsTold(t *testing.T) {
	play(t, 81, func(t *testing.T, b *bench) {
		b.connected(1)
		if low := b.events(eventSlotsLow); len(low) != 0 {
			t.Errorf("a slot is free: %+v", low)
		}
		second := b.connected(3)
		low := b.events(eventSlotsLow)
		if len(low) != 1 || low[0].Severity != control.SeverityWarning || !strings.Contains(low[0].Text, "0 of 2 slots are free; 2 are in use") || low[0].Hint == "" {
			t.Errorf("the last slot: %+v", low)
		}
		third := b.station(5)
		third.dial()
		time.Sleep(20 * time.Second)
		full := b.events(eventSlotsExhausted)
		if len(full) != 1 || full[0].Severity != control.SeverityError || full[0].Cause != "no_slot" || !strings.Contains(full[0].Text, "2 are in use and 0 resting") || full[0].Hint == "" {
			t.Errorf("no slot, for several attempts: %+v", full)
		}
		failed := b.events(eventClientFailed)
		if len(failed) == 0 || failed[0].Cause != string(ikev1.CauseNoSlot) || !strings.Contains(failed[0].Text, "this server is full") || !strings.Contains(failed[0].Hint, "slots.port_mask") {
			t.Errorf("the client: %+v", failed)
		}
		stats, err := b.c.API().Stats(t.Context())
		if err != nil || stats.Slots.Used != 2 || stats.Slots.Free != 0 || stats.Slots.Exhausted == 0 {
			t.Errorf("stats: %+v, %v", stats.Slots, err)
		}
		third.vanish()
		time.Sleep(fullInterval)
		fourth := b.station(7)
		fourth.dial()
		time.Sleep(20 * time.Second)
		if n := len(b.events(eventSlotsExhausted)); n != 2 {
			t.Errorf("%d events after another minute, want 2", n)
		}
		second.leave()
		time.Sleep(2 * slotRest)
		fourth.vanish()
		b.connected(9)
		if n := len(b.events(eventSlotsLow)); n != 1 {
			t.Errorf("%d warnings, but there never were enough again", n)
		}
	}, func(_ *bench, opt *Options) { opt.Block.Mask = 0xfffe })
}

// TestTakenPorts: the slots whose ports other programs have are passed over, and told of once.
func TestTakenPorts(t *testing.T) {
	play(t, 82, func(t *testing.T, b *bench) {
		b.m.taken = map[uint16]bool{0x4000: true, 0x4001: true, 0x4003: true}
		first, second := b.connected(1), b.connected(2)
		b.on(func() {
			if p, q := b.clientOf(first).port, b.clientOf(second).port; p != 0x4002 || q != 0x4004 {
				t.Errorf("the clients have the slots %#x and %#x", p, q)
			}
		})
		first.leave()
		second.leave()
		time.Sleep(3 * slotRest)
		for n := range 14 { // once around
			s := b.connected(3 + n)
			s.leave()
			time.Sleep(2 * slotRest)
		}
		taken := b.events(eventPortTaken)
		if len(taken) != 3 {
			t.Fatalf("%d events, want one for each port: %+v", len(taken), taken)
		}
		for i, port := range []int{0x4000, 0x4001, 0x4003} {
			if e := taken[i]; int(e.TunnelID) != port || e.Cause != "port_taken" || !strings.Contains(e.Text, fmt.Sprint(port)) || !strings.Contains(e.Hint, "ip_local_reserved_ports") {
				t.Errorf("event %+v of port %d", e, port)
			}
		}
		stats, err := b.c.API().Stats(t.Context())
		if err != nil || stats.Slots.Taken <= 3 || stats.Slots.Exhausted != 0 {
			t.Errorf("stats %+v, %v", stats.Slots, err)
		}
	})
}

// TestEveryPortTaken: a client is refused with a cause when nothing but other programs' ports is left.
func TestEveryPortTaken(t *testing.T) {
	play(t, 83, func(t *testing.T, b *bench) {
		b.m.taken = map[uint16]bool{0x4000: true, 0x4001: true}
		s := b.station(1)
		s.dial()
		time.Sleep(20 * time.Second)
		failed := b.events(eventClientFailed)
		if len(failed) == 0 || failed[0].Cause != string(ikev1.CauseNoSlot) || len(b.events(eventPortTaken)) != 2 {
			t.Errorf("told %+v", b.events(""))
		}
		b.want("nothing is left", counts{})
		b.m.mu.Lock()
		b.m.taken = nil
		b.m.mu.Unlock()
		time.Sleep(slotRest)
		s.dial()
		b.until("it has a slot now", func() bool { return s.up(1) })
	}, func(_ *bench, opt *Options) { opt.Block.Mask = 0xfffe })
}
