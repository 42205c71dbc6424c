package l2tp

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// FuzzHandle reads its input as a script of a peer that sends raw or half-way sensible messages, of a kernel that succeeds or fails, of
// time, of an operator and of restarts. Whatever happens, the contract of actions holds, what is sent can be parsed, time makes
// progress, and in the end nothing is left.
func FuzzHandle(f *testing.F) {
	sccrq, err := wire.Message{AVPs: clients[0].sccrq}.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	raw := append([]byte{0, byte(len(sccrq))}, sccrq...)
	f.Add(raw)
	// A whole connection: SCCRQ, complete, SCCCN, ICRQ, complete, ICCN, time, CDN, StopCCN.
	f.Add([]byte{1, 1, 0, 1, 2, 1, 3, 0, 1, 1, 10, 0, 1, 2, 1, 12, 0, 1, 4, 200, 1, 14, 0, 1, 1, 4, 0, 1})
	f.Add([]byte{1, 1, 0, 1, 2, 1, 3, 0, 1, 1, 10, 0, 1, 3, 5, 6, 7, 4, 255})
	f.Fuzz(func(t *testing.T, script []byte) {
		b := newBench(t, Config{MaxQueuedMessages: 8})
		b.manual, b.steps = true, 20 // compares with a restored engine now and then only, which takes long
		next := func() byte {
			if len(script) == 0 {
				return 0
			}
			c := script[0]
			script = script[1:]
			return c
		}
		for range 300 {
			if len(script) == 0 {
				break
			}
			switch next() % 9 {
			case 0:
				n := min(int(next()), len(script))
				b.sayRaw(script[:n])
				script = script[n:]
			case 1:
				b.say(fuzzMessage(b, next))
			case 2, 3:
				if len(b.pending) > 0 {
					var fail error
					if next()%4 == 3 {
						fail = failCreation(b.pending[0])
					}
					b.complete(fail)
				}
			case 4:
				b.wait(time.Duration(next()) * 100 * time.Millisecond)
			case 5:
				if list := b.e.Tunnels(); len(list) > 0 && len(list[0].Sessions) > 0 {
					b.take(b.e.CloseSession(b.now, slotA, list[0].Sessions[0].Session, Result{Code: CDNAdministrative}))
				}
			case 6:
				b.take(b.e.CloseTunnel(b.now, slotA, Result{Code: StopGeneral}))
			case 7:
				b.take(b.e.Forget(b.now, slotA))
			case 8:
				b.restart()
			}
			checkBounds(b)
		}
		for range 3 {
			for len(b.pending) > 0 {
				b.complete(nil)
			}
			b.wait(10 * time.Minute)
		}
		b.wantGone("the end")
	})
}

// FuzzRestore reads a record. What is understood is encoded again, and is a tunnel that can be ended.
func FuzzRestore(f *testing.F) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		play(f, string(script), func(b *bench) {
			if state := b.records[slotA]; state != nil {
				f.Add(state)
			}
		})
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		b := newBench(t, Config{})
		b.manual = true
		out, err := b.e.Restore(b.now, Record{Tunnel: slotA, State: state})
		if err != nil {
			if len(b.e.slots) > 0 || len(b.e.requests) > 0 || !b.e.Next().IsZero() {
				t.Fatalf("%v, but something is left", err)
			}
			return
		}
		b.records[slotA] = state
		finish := func() {
			for len(b.pending) > 0 {
				a := b.pending[0]
				b.pending = b.pending[1:]
				b.take(b.e.Complete(b.now, a.Identifier(), nil)) // the kernel has what no call of this engine made
			}
		}
		b.take(out)
		b.say(fuzzMessage(b, func() byte { return byte(len(state)) }))
		b.take(b.e.Advance(b.now))
		b.restart()
		finish()
		b.take(b.e.Shutdown(b.now))
		finish()
		b.wait(100 * 10 * time.Minute)
		b.wantGone("the end")
	})
}

func failCreation(a Action) error {
	switch a.(type) {
	case CreateTunnel, CreateSession:
		return errKernel
	}
	return nil
}

// fuzzMessage makes a message that mostly fits the state: numbers near what is expected, ids that exist.
func fuzzMessage(b *bench, next func() byte) wire.Message {
	kind := wire.MessageType(next())
	shift := uint16(int8(next()))
	m := wire.Message{TunnelID: slotA, Nr: uint16(next() % 4), AVPs: []wire.AVP{
		kind.Value(), wire.Uint16(wire.AttrAssignedTunnelID, 1+shift), wire.Uint16(wire.AttrAssignedSessionID, 1+shift),
	}}
	if kind == wire.SCCRQ {
		m.TunnelID = 0
		return m
	}
	if s := b.e.slots[slotA]; s != nil && s.tunnel != nil {
		m.Ns = s.tunnel.channel.nr + shift
		m.Nr = s.tunnel.channel.una + m.Nr%2*uint16(s.tunnel.channel.attempted)
		for id := range s.tunnel.sessions {
			if kind != wire.ICRQ && kind != wire.OCRQ {
				m.SessionID = max(m.SessionID, id)
			}
		}
	}
	if kind > 200 {
		m.AVPs = append(m.AVPs, wire.AVP{Mandatory: kind%2 == 0, Hidden: kind%3 == 0, Vendor: uint16(next()), Type: wire.AttributeType(next())})
	}
	return m
}

// checkBounds compares what a peer can make us keep with the limits.
func checkBounds(b *bench) {
	b.t.Helper()
	for _, d := range b.sent {
		if _, err := wire.Parse(d.Payload); err != nil {
			b.t.Fatalf("sent %x: %v", d.Payload, err)
		}
	}
	b.sent, b.events = nil, nil
	s := b.e.slots[slotA]
	if len(b.e.slots) > 1 || s == nil || s.tunnel == nil {
		return
	}
	c := s.tunnel.channel
	if len(c.queue) > b.e.cfg.MaxQueuedMessages+1 || len(c.early) > int(b.e.cfg.ReceiveWindow) ||
		len(s.tunnel.sessions) > b.e.cfg.MaxSessionsPerTunnel || c.sent > c.attempted || c.attempted > len(c.queue) {
		b.t.Fatalf("queue %d, sent %d, attempted %d, early %d, sessions %d", len(c.queue), c.sent, c.attempted, len(c.early), len(s.tunnel.sessions))
	}
}
