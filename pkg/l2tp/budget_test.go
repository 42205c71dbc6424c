package l2tp

import (
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// caller is a client that keeps the numbers of its messages.
type caller struct {
	*bench
	ns, session uint16
}

// request sends ICRQ with a fresh session id and returns the answer.
func (c *caller) request() wire.Message {
	c.t.Helper()
	c.session++
	c.sayControl(c.ns, c.peerNs(), wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, c.session))
	c.ns++
	if c.manual {
		return wire.Message{}
	}
	return c.answer()
}

// answer is the latest message of the engine, which the next one of the caller acknowledges.
func (c *caller) answer() wire.Message {
	c.t.Helper()
	m := c.wantAny("answer")
	c.wantSilence("one answer")
	return m
}

// hangUp sends CDN for the latest call.
func (c *caller) hangUp() {
	c.t.Helper()
	c.sayControl(c.ns, c.peerNs(), wire.CDN.Value(), wire.Bytes(wire.AttrResultCode, "\x00\x03\x00\x00"),
		wire.Uint16(wire.AttrAssignedSessionID, c.session))
	c.ns++
	c.sent = nil
}

// peerNs acknowledges all that was sent.
func (c *caller) peerNs() uint16 {
	ch := &c.e.slots[slotA].tunnel.channel
	return ch.una + uint16(ch.attempted)
}

func newCaller(t *testing.T, cfg Config) *caller {
	b := newBench(t, cfg)
	b.establish()
	return &caller{bench: b, ns: 2}
}

func (c *caller) wantRefused(reason string, m wire.Message, want Result) {
	c.t.Helper()
	kind, _, _ := m.Type()
	if got := resultOf(m.Decode(nil).Result); kind != wire.CDN || got != want || m.SessionID != c.session {
		c.t.Fatalf("%s: got %s, want CDN %v to session %d", reason, describe(m), want, c.session)
	}
}

// TestLeavingSessionsCount: calls whose kernel sessions are still being made or deleted count, however soon they were hung up.
func TestLeavingSessionsCount(t *testing.T) {
	c := newCaller(t, Config{MaxSessionsPerTunnel: 2})
	c.manual = true
	for range 2 {
		c.request()
		c.hangUp()
	}
	if n := len(c.pending); n != 2 {
		t.Fatalf("%d actions: %v", n, c.pending)
	}
	c.request()
	c.wantRefused("two are leaving", c.answer(), Result{Code: CDNTemporary})
	if n := len(c.pending); n != 2 {
		t.Fatalf("%d actions after the third call: %v", n, c.pending)
	}
	for len(c.pending) > 0 {
		c.complete(nil)
	}
	c.request()
	if _, ok := c.pending[0].(CreateSession); len(c.pending) != 1 || !ok {
		t.Errorf("once they are gone: %v", c.pending)
	}
}

func TestCallsPerMinute(t *testing.T) {
	c := newCaller(t, Config{CallsPerMinute: 3, IdleTimeout: -1})
	for range 3 {
		if kind, _, _ := c.request().Type(); kind != wire.ICRP {
			t.Fatalf("answer %v", kind)
		}
		c.hangUp()
		c.now = c.now.Add(10 * time.Second)
	}
	c.events = nil
	c.wantRefused("the fourth", c.request(), Result{Code: CDNTemporary})
	c.wantDrop("the fourth", DropManyCalls)
	c.now = c.now.Add(30 * time.Second) // a minute after the first
	if kind, _, _ := c.request().Type(); kind != wire.ICRP {
		t.Fatalf("a minute later: answer %v", kind)
	}
	c.hangUp()
	c.events = nil
	c.wantRefused("a minute after the first, but not after the second", c.request(), Result{Code: CDNTemporary})

	// A new tunnel in the slot brings no new calls.
	c.say(wire.Message{AVPs: anotherTunnel(8)})
	c.sent, c.events, c.ns = nil, nil, 1
	c.sayControl(c.ns, 1, wire.SCCCN.Value())
	c.sent, c.events, c.ns = nil, nil, 2
	c.wantRefused("in a new tunnel", c.request(), Result{Code: CDNTemporary})
	c.wantDrop("in a new tunnel", DropManyCalls)
}

// anotherTunnel is an SCCRQ with another Assigned Tunnel ID.
func anotherTunnel(id uint16) []wire.AVP {
	request := slices.Clone(clients[0].sccrq)
	request[7] = wire.Uint16(wire.AttrAssignedTunnelID, id)
	return request
}

func TestDefaultBudgets(t *testing.T) {
	c := newCaller(t, Config{IdleTimeout: -1})
	answered := 0
	for range 100 {
		if kind, _, _ := c.request().Type(); kind == wire.ICRP {
			answered++
			c.hangUp()
		}
	}
	if answered != 30 {
		t.Errorf("%d calls were accepted at once, want 30", answered)
	}
}

func TestTunnelsPerMinute(t *testing.T) {
	b := newBench(t, Config{})
	for i := range uint16(100) {
		b.say(wire.Message{AVPs: anotherTunnel(100 + i)})
		if i < 30 {
			b.wantMessage("within the limit", wire.SCCRP, 0, 1)
			b.events = nil
			continue
		}
		b.wantSilence("beyond the limit")
		b.wantDrop("beyond the limit", DropManyTunnels)
	}
	b.say(wire.Message{AVPs: anotherTunnel(129)})
	b.wantMessage("a copy of the last one's request", wire.SCCRP, 0, 1)
	b.wantDrop("a copy of the last one's request", DropDuplicate)
	b.now = b.now.Add(time.Minute)
	b.say(wire.Message{AVPs: anotherTunnel(300)})
	b.wantMessage("a minute later", wire.SCCRP, 0, 1)
	b.wantGone("closed")
}

func TestRefuse(t *testing.T) {
	c := newCaller(t, Config{})
	c.take(c.e.Refuse(c.now, slotA+1))
	if kind, _, _ := c.request().Type(); kind != wire.ICRP {
		t.Fatalf("answer %v", kind)
	}
	c.take(c.e.Refuse(c.now, slotA))
	c.wantSilence("refusing says nothing by itself")
	c.events = nil
	c.wantRefused("refusing", c.request(), Result{Code: CDNAdministrative})
	c.wantDrop("refusing", DropRefusing)
	if infos := c.e.Tunnels(); len(infos[0].Sessions) != 1 {
		t.Errorf("the call from before: %+v", infos)
	}
	c.say(wire.Message{AVPs: anotherTunnel(8)})
	c.wantSilence("no way around it")
	c.wantDrop("no way around it", DropRefusing)
	c.take(c.e.CloseTunnel(c.now, slotA, Result{Code: StopGeneral}))
	c.sent, c.events = nil, nil
	c.say(wire.Message{AVPs: anotherTunnel(8)})
	c.wantMessage("after the old one", wire.SCCRP, 0, 1)
	c.say(wire.Message{TunnelID: slotA, Ns: 1, Nr: 1, AVPs: []wire.AVP{wire.SCCCN.Value()}})
	c.sent, c.events, c.ns = nil, nil, 2
	if kind, _, _ := c.request().Type(); kind != wire.ICRP {
		t.Errorf("the next tunnel refuses, too: %v", kind)
	}
}
