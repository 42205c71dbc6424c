package l2tp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// established returns a bench with one call, and its record taken apart.
func established(t *testing.T) (*bench, savedSlot) {
	t.Helper()
	b := newBench(t, Config{})
	b.establish()
	b.call()
	saved, err := b.e.codec.decode(b.records[slotA])
	if err != nil {
		t.Fatal(err)
	}
	return b, saved
}

func TestRestoreGoesOnUnnoticed(t *testing.T) {
	b, _ := established(t)
	session := b.e.Tunnels()[0].Sessions[0].Session
	t.Logf("a tunnel with one session: %d octets", len(b.records[slotA]))
	b.restart()
	if len(b.pending) > 0 || len(b.sent) > 0 {
		t.Fatalf("restored: %v %v", b.pending, b.sent)
	}
	b.wait(60 * time.Second)
	b.wantMessage("silence", wire.HELLO, 2, 4)
	b.restart()
	b.wait(time.Second)
	b.wantMessage("not acknowledged", wire.HELLO, 2, 4)
	b.sayControl(4, 3)
	b.restart()
	b.take(b.e.CloseSession(b.now, slotA, session, Result{Code: CDNAdministrative}))
	b.wantCDN("closed", 3, 4, clientSession, Result{Code: CDNAdministrative})
	b.restart()
	b.wait(time.Second)
	b.wantCDN("not acknowledged", 3, 4, clientSession, Result{Code: CDNAdministrative})
}

func TestRestoreAsksAgain(t *testing.T) {
	b := newBench(t, Config{})
	b.manual = true
	want := func(reason, action string) {
		t.Helper()
		old := b.e.lastAction
		b.restart()
		if len(b.pending) != 1 || fmt.Sprintf("%T", b.pending[0]) != "l2tp."+action || b.pending[0].Identifier() <= old {
			t.Fatalf("%s: %v after %d, want %s", reason, b.pending, old, action)
		}
	}
	b.say(wire.Message{AVPs: clients[0].sccrq})
	want("SCCRQ", "CreateTunnel")
	b.complete(nil)
	b.wantMessage("created", wire.SCCRP, 0, 1)
	b.sayControl(1, 1, wire.SCCCN.Value())
	b.sayControl(2, 1, clients[0].icrq...)
	want("ICRQ", "CreateSession")
	b.take(b.e.CloseTunnel(b.now, slotA, Result{Code: StopGeneral}))
	want("closed meanwhile", "CreateSession")
	b.complete(nil)
	want("created and unwanted", "DeleteSession")
	b.complete(nil)
	want("its session is gone", "DeleteTunnel")
	b.say(wire.Message{AVPs: anotherTunnel(77)})
	want("a successor waits", "DeleteTunnel")
	b.complete(nil)
	want("the successor's turn", "CreateTunnel")
	b.complete(nil)
	if state := b.e.Tunnels()[0]; state.State != "connecting" || state.PeerTunnel != 77 {
		t.Errorf("%+v", state)
	}
}

// TestRestoreOfACall: what the peer said at ICRQ is reported at ICCN, by another engine.
func TestRestoreOfACall(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.sayControl(2, 1, append(slices.Clone(clients[0].icrq),
		wire.Bytes(wire.AttrCallingNumber, "555-1234"), wire.Bytes(wire.AttrCalledNumber, "lns"))...)
	id := b.wantMessage("call", wire.ICRP, 1, 3).Decode(nil).AssignedSessionID
	b.restart()
	b.say(wire.Message{TunnelID: slotA, SessionID: id, Ns: 3, Nr: 2, AVPs: clients[0].iccn})
	up := wantEvent[SessionUp](b, "call")
	b.restart()
	info := b.e.Tunnels()[0].Sessions[0]
	if up.CallingNumber != "555-1234" || up.CalledNumber != "lns" || info.CallingNumber != "555-1234" || info.CalledNumber != "lns" {
		t.Errorf("%+v %+v", up, info)
	}
}

// TestRestoreAfterTheClockWasSetBack: a timer waits for as long as it would have, and not for an hour.
func TestRestoreAfterTheClockWasSetBack(t *testing.T) {
	b, _ := established(t)
	e, err := New(Config{}, b.rand)
	if err != nil {
		t.Fatal(err)
	}
	now := b.now.Add(-time.Hour)
	if _, err := e.Restore(now, Record{Tunnel: slotA, State: b.records[slotA]}); err != nil {
		t.Fatal(err)
	}
	if next := e.Next(); next.After(now.Add(60*time.Second)) || !next.After(now) {
		t.Errorf("next deadline in %v", next.Sub(now))
	}
}

func TestRestoreRefuses(t *testing.T) {
	b, _ := established(t)
	state := b.records[slotA]
	if _, err := b.e.Restore(b.now, Record{Tunnel: slotA, State: state}); !errors.Is(err, ErrRecord) {
		t.Errorf("a slot in use: %v", err)
	}
	e, err := New(Config{}, b.rand)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, tunnel uint16, state []byte, want error) {
		t.Helper()
		if _, err := e.Restore(b.now, Record{Tunnel: tunnel, State: state}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if len(e.slots) != 0 || len(e.requests) != 0 || !e.Next().IsZero() {
			t.Fatalf("%s: something is left", name)
		}
	}
	try("slot 0", 0, state, ErrRecord)
	try("nothing", slotA, nil, ErrRecord)
	try("more than one", slotA, append(state[:len(state):len(state)], 0), ErrRecord)
	for n := range state {
		try("truncated", slotA, state[:n], ErrRecord)
	}
	future, err := cbor.Marshal(map[int]any{1: stateVersion + 1, 99: "unheard of"})
	if err != nil {
		t.Fatal(err)
	}
	try("another version", slotA, future, ErrRecordVersion)
	hello, err := wire.Message{AVPs: []wire.AVP{wire.HELLO.Value()}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*savedSlot){
		"no kernel tunnel":           func(s *savedSlot) { s.Kernel = nil },
		"kernel tunnel in the works": func(s *savedSlot) { s.Kernel.State = objectCreating },
		"nothing in it":              func(s *savedSlot) { s.Kernel, s.Tunnel = nil, nil },
		"no budget":                  func(s *savedSlot) { s.Tunnels = nil },
		"action id":                  func(s *savedSlot) { s.Asked = 1 << 63 },
		"no address":                 func(s *savedSlot) { s.Tunnel.Remote = []byte{1, 2} },
		"state":                      func(s *savedSlot) { s.Tunnel.State = tunnelClosed + 1 },
		"closing without a word":     func(s *savedSlot) { s.Tunnel.State, s.Tunnel.IdleAt = tunnelClosing, 0 },
		"session without tunnel":     func(s *savedSlot) { s.Tunnel.State, s.Tunnel.Established = tunnelConnecting, 0 },
		"session without its tunnel": func(s *savedSlot) {
			s.Tunnel.State, s.Tunnel.Established = tunnelCreating, 0
			s.Tunnel.Config.HostName, s.Tunnel.Config.VendorName, s.Tunnel.Config.FirmwareRevision = []byte("l2tpctl"), []byte("l2tpctl"), 1
			s.Kernel.Former, s.Kernel.Peer, s.Kernel.Remote, s.Kernel.State = true, 1, s.Tunnel.Remote, objectDeleting
		},
		"closed with a session": func(s *savedSlot) { s.Kernel, s.Tunnel.State = nil, tunnelClosed },
		"closed with a message": func(s *savedSlot) {
			s.Kernel, s.Tunnel.State, s.Tunnel.Sessions = nil, tunnelClosed, nil
			c := &s.Tunnel.Channel
			c.Queue, c.Sent, c.Attempted, c.ResendAt = []savedMessage{hello}, 1, 1, 1
		},
		"session 0":         func(s *savedSlot) { s.Tunnel.Sessions[0].ID = 0 },
		"a session twice":   func(s *savedSlot) { s.Tunnel.Sessions = append(s.Tunnel.Sessions, s.Tunnel.Sessions...) },
		"never established": func(s *savedSlot) { s.Tunnel.Sessions[0].Established = 0 },
		"peer's tunnel":     func(s *savedSlot) { s.Tunnel.Channel.Peer = 0 },
		"sent nothing":      func(s *savedSlot) { s.Tunnel.Channel.Sent = 1 },
		"queue of junk":     func(s *savedSlot) { s.Tunnel.Channel.Queue = []savedMessage{{1}} },
		"tries":             func(s *savedSlot) { s.Tunnel.Channel.Tries = 1 << 30 },
		"window":            func(s *savedSlot) { s.Tunnel.Channel.Window.Size = 0 },
		"configuration":     func(s *savedSlot) { s.Tunnel.Config.ReceiveWindow = 65 },
		"idle for ever":     func(s *savedSlot) { s.Tunnel.Sessions = nil },
		"digest":            func(s *savedSlot) { s.Tunnel.Request = nil },
	} {
		saved, err := e.codec.decode(state)
		if err != nil {
			t.Fatal(err)
		}
		spoil(&saved)
		spoiled, err := cbor.Marshal(saved)
		if err != nil {
			t.Fatal(err)
		}
		try(name, slotA, spoiled, ErrRecord)
	}
	if _, err := e.Restore(b.now, Record{Tunnel: slotA, State: state}); err != nil {
		t.Errorf("unspoiled: %v", err)
	}
}

// TestRestoreOfALaterRecord: what a later program writes besides, under the same version, is nothing that this one has to know.
func TestRestoreOfALaterRecord(t *testing.T) {
	b, _ := established(t)
	var state map[any]any
	if err := cbor.Unmarshal(b.records[slotA], &state); err != nil {
		t.Fatal(err)
	}
	state[99] = "unheard of"
	later, err := cbor.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Records: true}, b.rand)
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Restore(b.now, Record{Tunnel: slotA, State: later})
	if err != nil || len(out.Records) != 1 || !bytes.Equal(out.Records[0].State, b.records[slotA]) {
		t.Errorf("%v, %d records", err, len(out.Records))
	}
}

func TestStamps(t *testing.T) {
	from := base(epoch.UnixMilli())
	for _, d := range []time.Duration{0, time.Millisecond, -time.Millisecond, time.Hour, -time.Hour, -50 * 365 * 24 * time.Hour} {
		at := epoch.Add(d)
		if got := from.past(from.stamp(at), epoch.Add(2*time.Hour)); !got.Equal(at) {
			t.Errorf("%v became %v", at, got)
		}
	}
	for _, from := range []base{-1 << 47, -1 << 63, 0} {
		first := from.past(-1, epoch)
		if again := base(first.UnixMilli()).past(1, epoch.Add(time.Second)); !again.Equal(first) {
			t.Errorf("from %d: %v became %v at the next restoration", from, first, again)
		}
	}
	if from.stamp(time.Time{}) != 0 || !from.past(0, epoch).IsZero() {
		t.Error("no time became one")
	}
}
