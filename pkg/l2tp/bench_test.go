package l2tp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// slotA is the local tunnel id in the tests; clientA the address of the client in it.
const slotA = 20001

var (
	clientA = netip.MustParseAddrPort("198.51.100.7:1701")
	epoch   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// countingReader makes session ids 2561, 2562 and so on.
type countingReader struct{ n uint16 }

func (r *countingReader) Read(p []byte) (int, error) {
	for i := 0; i+1 < len(p); i += 2 {
		r.n++
		binary.BigEndian.PutUint16(p[i:], 2560+r.n)
	}
	return len(p), nil
}

// kernelModel performs actions and objects to what the contract excludes.
type kernelModel struct {
	t        testing.TB
	tunnels  map[uint16]bool
	sessions map[[2]uint16]bool
}

func newKernelModel(t testing.TB) *kernelModel {
	return &kernelModel{t, make(map[uint16]bool), make(map[[2]uint16]bool)}
}

func (k *kernelModel) perform(a Action, fail error) error {
	k.t.Helper()
	switch a := a.(type) {
	case CreateTunnel:
		if k.tunnels[a.Tunnel] || a.PeerTunnel == 0 {
			k.t.Fatalf("%v: exists already, or no peer", a)
		}
		k.tunnels[a.Tunnel] = fail == nil
	case DeleteTunnel:
		if !k.tunnels[a.Tunnel] {
			k.t.Fatalf("%v: is not there", a)
		}
		for id := range k.sessions {
			if id[0] == a.Tunnel && k.sessions[id] {
				k.t.Fatalf("%v: session %v is still there", a, id)
			}
		}
		delete(k.tunnels, a.Tunnel)
	case CreateSession:
		if !k.tunnels[a.Tunnel] || k.sessions[[2]uint16{a.Tunnel, a.Session}] || a.Session == 0 || a.PeerSession == 0 {
			k.t.Fatalf("%v: no tunnel, or exists already, or an id is 0", a)
		}
		k.sessions[[2]uint16{a.Tunnel, a.Session}] = fail == nil
	case DeleteSession:
		if !k.sessions[[2]uint16{a.Tunnel, a.Session}] {
			k.t.Fatalf("%v: is not there", a)
		}
		delete(k.sessions, [2]uint16{a.Tunnel, a.Session})
	}
	if fail != nil {
		return fail
	}
	return nil
}

// repeat performs an action that may have been performed before.
func (k *kernelModel) repeat(a Action, fail error) error {
	switch a := a.(type) {
	case CreateTunnel:
		delete(k.tunnels, a.Tunnel)
	case CreateSession:
		delete(k.sessions, [2]uint16{a.Tunnel, a.Session})
	case DeleteTunnel:
		k.tunnels[a.Tunnel] = true
	case DeleteSession:
		k.sessions[[2]uint16{a.Tunnel, a.Session}] = true
	}
	return k.perform(a, fail)
}

func (k *kernelModel) empty() bool {
	for _, present := range k.tunnels {
		if present {
			return false
		}
	}
	for _, present := range k.sessions {
		if present {
			return false
		}
	}
	return true
}

// bench is an engine in a dialogue: what it sends, asks for and reports piles up until it is expected.
type bench struct {
	t       testing.TB
	e       *Engine
	now     time.Time
	kernel  *kernelModel
	manual  bool // actions wait for complete
	remote  netip.AddrPort
	pending []Action
	sent    []Datagram
	events  []Event
	records records
	cfg     Config
	steps   int
	rand    io.Reader
}

func newBench(t testing.TB, cfg Config) *bench {
	t.Helper()
	return newBenchRand(t, cfg, &countingReader{})
}

func newBenchRand(t testing.TB, cfg Config, rand io.Reader) *bench {
	t.Helper()
	cfg.Records = true
	e, err := New(cfg, rand)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{
		t: t, e: e, now: epoch, kernel: newKernelModel(t), remote: clientA, records: make(records), cfg: cfg, rand: rand,
	}
}

func (b *bench) take(out Output) {
	b.t.Helper()
	b.sent = append(b.sent, out.Send...)
	b.events = append(b.events, out.Events...)
	b.pending = append(b.pending, out.Actions...)
	b.records.take(b.t, out)
	if b.steps < 1000 || b.steps%16 == 0 {
		b.records.check(b.t, b.e)
	}
	if b.steps++; b.steps < 20 || b.steps%64 == 0 {
		again, _ := b.records.restore(b.t, b.now, b.cfg, b.rand)
		wantSame(b.t, b.e, again)
	}
	for !b.manual && len(b.pending) > 0 {
		b.complete(nil)
	}
}

// complete performs the oldest action that waits.
func (b *bench) complete(fail error) {
	b.t.Helper()
	a := b.pending[0]
	b.pending = b.pending[1:]
	b.take(b.e.Complete(b.now, a.Identifier(), b.kernel.perform(a, fail)))
}

// restart puts an engine that knows the records only in the place of the one that there is.
func (b *bench) restart() {
	b.t.Helper()
	e, out := b.records.restore(b.t, b.now, b.cfg, b.rand)
	wantSame(b.t, b.e, e)
	b.e, b.pending = e, nil
	b.take(out)
}

// waitsForTurn tells whether a message came before its turn: it is not recorded, and comes again after a restart.
func (b *bench) waitsForTurn() bool {
	s := b.e.slots[slotA]
	return s != nil && s.tunnel != nil && len(s.tunnel.channel.early) > 0
}

// say sends a message of the peer.
func (b *bench) say(m wire.Message) {
	b.t.Helper()
	payload, err := m.Append(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.sayRaw(payload)
}

func (b *bench) sayRaw(payload []byte) {
	b.t.Helper()
	// The engine must not hold on to the datagram: what is left of it afterwards is overwritten.
	loan := bytes.Clone(payload)
	b.take(b.e.Handle(b.now, Datagram{Tunnel: slotA, Remote: b.remote, Payload: loan}))
	for i := range loan {
		loan[i] = 0xee
	}
}

// wait lets time pass, deadline by deadline.
func (b *bench) wait(d time.Duration) {
	b.t.Helper()
	end := b.now.Add(d)
	for {
		next := b.e.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.Before(b.now) {
			b.t.Fatalf("deadline %v is %v in the past", next, b.now.Sub(next))
		}
		b.now = next
		b.take(b.e.Advance(b.now))
		if !b.e.Next().After(b.now) && !b.e.Next().IsZero() {
			b.t.Fatalf("deadline %v does not move", next)
		}
	}
	b.now = end
}

// wantMessage expects the next sent message, with its numbers, and returns it.
func (b *bench) wantMessage(reason string, kind wire.MessageType, ns, nr uint16) wire.Message {
	b.t.Helper()
	m := b.wantAny(reason)
	if got, _, _ := m.Type(); got != kind || m.Ns != ns || m.Nr != nr {
		b.t.Fatalf("%s: got %s, want %v ns=%d nr=%d", reason, describe(m), kind, ns, nr)
	}
	return m
}

// wantZLB expects a bare acknowledgement of exactly 12 octets.
func (b *bench) wantZLB(reason string, ns, nr uint16) {
	b.t.Helper()
	if len(b.sent) > 0 && len(b.sent[0].Payload) != wire.HeaderLen {
		b.t.Fatalf("%s: got %d octets, want 12", reason, len(b.sent[0].Payload))
	}
	if m := b.wantAny(reason); !m.IsZLB() || m.Ns != ns || m.Nr != nr || m.SessionID != 0 {
		b.t.Fatalf("%s: got %s, want ZLB ns=%d nr=%d", reason, describe(m), ns, nr)
	}
}

func (b *bench) wantAny(reason string) wire.Message {
	b.t.Helper()
	if len(b.sent) == 0 {
		b.t.Fatalf("%s: nothing was sent (events %v)", reason, b.events)
	}
	d := b.sent[0]
	b.sent = b.sent[1:]
	if d.Remote != b.remote || d.Tunnel != slotA {
		b.t.Fatalf("%s: sent to %v in slot %d", reason, d.Remote, d.Tunnel)
	}
	m, err := wire.Parse(d.Payload)
	if err != nil {
		b.t.Fatalf("%s: sent %x: %v", reason, d.Payload, err)
	}
	return m
}

// wantSilence expects that nothing was sent.
func (b *bench) wantSilence(reason string) {
	b.t.Helper()
	if len(b.sent) > 0 {
		b.t.Fatalf("%s: but sent %s", reason, describe(b.wantAny(reason)))
	}
}

// wantEvent expects an event of type E next and returns it.
func wantEvent[E Event](b *bench, reason string) E {
	b.t.Helper()
	var none E
	if len(b.events) == 0 {
		b.t.Fatalf("%s: no event, want %T", reason, none)
	}
	e, ok := b.events[0].(E)
	if !ok {
		b.t.Fatalf("%s: event %T %v, want %T", reason, b.events[0], b.events[0], none)
	}
	b.events = b.events[1:]
	return e
}

func (b *bench) wantDrop(reason string, want DropReason) {
	b.t.Helper()
	if got := wantEvent[Dropped](b, reason).Reason; got != want {
		b.t.Fatalf("%s: dropped as %s, want %s", reason, got, want)
	}
}

// wantGone expects that nothing is left of the slot after the longest memory of it.
func (b *bench) wantGone(reason string) {
	b.t.Helper()
	b.wait(5 * time.Minute)
	if n := len(b.e.slots); n != 0 || len(b.e.requests) != 0 || !b.e.Next().IsZero() || !b.kernel.empty() {
		b.t.Fatalf("%s: %d slots, %d requests, next %v, kernel %v %v", reason, n, len(b.e.requests), b.e.Next(),
			b.kernel.tunnels, b.kernel.sessions)
	}
}

var errKernel = errors.New("no buffer space")

// describe writes a message in one line.
func describe(m wire.Message) string {
	kind := "ZLB"
	if !m.IsZLB() {
		t, _, _ := m.Type()
		kind = t.String()
	}
	s := fmt.Sprintf("%s tunnel=%d session=%d ns=%d nr=%d", kind, m.TunnelID, m.SessionID, m.Ns, m.Nr)
	for _, a := range m.AVPs[min(len(m.AVPs), 1):] {
		s += fmt.Sprintf(" %d", a.Type)
		if !a.Mandatory {
			s += "?"
		}
		if a.Is(wire.AttrHostName) || a.Is(wire.AttrVendorName) {
			s += fmt.Sprintf("=%q", a.Value)
		} else {
			s += fmt.Sprintf("=%x", a.Value)
		}
	}
	return s
}

// sayControl sends a message about the tunnel with the numbers given.
func (b *bench) sayControl(ns, nr uint16, avps ...wire.AVP) {
	b.t.Helper()
	b.say(wire.Message{TunnelID: slotA, Ns: ns, Nr: nr, AVPs: avps})
}

// establish brings a tunnel up as Windows does: afterwards the client's next Ns is 2 and ours is 1.
func (b *bench) establish() {
	b.t.Helper()
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.wantMessage("set-up", wire.SCCRP, 0, 1)
	b.sayControl(1, 1, wire.SCCCN.Value())
	b.wantZLB("set-up", 1, 2)
	wantEvent[TunnelUp](b, "set-up")
}

// call establishes a session: afterwards the client's next Ns is 4 and ours is 2. It returns our session id.
func (b *bench) call() uint16 {
	b.t.Helper()
	b.sayControl(2, 1, clients[0].icrq...)
	id := b.wantMessage("call", wire.ICRP, 1, 3).Decode(nil).AssignedSessionID
	b.say(wire.Message{TunnelID: slotA, SessionID: id, Ns: 3, Nr: 2, AVPs: clients[0].iccn})
	b.wantZLB("call", 2, 4)
	wantEvent[SessionUp](b, "call")
	return id
}

// wantStop expects a StopCCN of ours with the result code.
func (b *bench) wantStop(reason string, ns, nr uint16, want Result) {
	b.t.Helper()
	m := b.wantMessage(reason, wire.StopCCN, ns, nr)
	body := m.Decode(nil)
	if got := resultOf(body.Result); got != want || body.AssignedTunnelID != slotA || m.SessionID != 0 {
		b.t.Fatalf("%s: StopCCN %v tunnel %d, want %v", reason, got, body.AssignedTunnelID, want)
	}
}

// wantCDN expects a CDN of ours to the peer's session with the result code.
func (b *bench) wantCDN(reason string, ns, nr, session uint16, want Result) {
	b.t.Helper()
	m := b.wantMessage(reason, wire.CDN, ns, nr)
	body := m.Decode(nil)
	if got := resultOf(body.Result); got != want || body.AssignedSessionID == 0 || m.SessionID != session {
		b.t.Fatalf("%s: CDN %v to session %d, own %d; want %v to %d", reason, got, m.SessionID, body.AssignedSessionID, want, session)
	}
}
