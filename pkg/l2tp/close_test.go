package l2tp

import (
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

func TestCloseSession(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	session := b.call()
	b.take(b.e.CloseSession(b.now, slotA, session, Result{Code: CDNAdministrative, Message: "bye"}))
	b.wantCDN("closed", 2, 4, clientSession, Result{Code: CDNAdministrative, Message: "bye"})
	if down := wantEvent[SessionDown](b, "closed"); down.ByPeer || !down.Established || down.Session != session {
		t.Errorf("event %+v", down)
	}
	if len(b.kernel.sessions) != 0 {
		t.Error("the kernel session survives CDN")
	}
	b.take(b.e.CloseSession(b.now, slotA, session, Result{Code: CDNAdministrative}))
	b.wantSilence("closed already")
	b.say(wire.Message{TunnelID: slotA, SessionID: session, Ns: 4, Nr: 3, AVPs: cdnAdministrative})
	b.wantZLB("crossing CDN", 3, 5)
	b.wantDrop("crossing CDN", DropUnknownSession)
	b.wait(60 * time.Second)
	b.wantStop("a tunnel that carries nothing ends", 3, 5, Result{Code: StopGeneral})
}

func TestCloseTunnelIsRepeatedUntilAcknowledged(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.call()
	b.take(b.e.CloseTunnel(b.now, slotA, Result{Code: StopGeneral, Message: "maintenance"}))
	b.wantStop("closed", 2, 4, Result{Code: StopGeneral, Message: "maintenance"})
	wantEvent[SessionDown](b, "closed")
	wantEvent[TunnelDown](b, "closed")
	if !b.kernel.empty() {
		t.Error("kernel objects survive StopCCN")
	}
	b.wait(time.Second)
	b.wantStop("not acknowledged", 2, 4, Result{Code: StopGeneral, Message: "maintenance"})
	b.sayControl(4, 2, wire.HELLO.Value())
	b.wantZLB("sent before it knew", 3, 5)
	b.wantDrop("sent before it knew", DropClosed)
	b.sayControl(5, 3)
	b.wait(10 * time.Second)
	b.wantSilence("acknowledged")
	b.sayControl(5, 3, clients[0].stop...)
	b.wantZLB("crossing StopCCN", 3, 6)
	b.wantGone("closed")
	if len(b.events) > 0 {
		t.Errorf("events %v", b.events)
	}
}

func TestCloseTunnelPassesAFullWindow(t *testing.T) {
	b := newBench(t, Config{MaxSessionsPerTunnel: 100})
	b.establish()
	for i := range uint16(8) {
		b.sayControl(2+i, 1, wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, 100+i))
	}
	b.sent = nil
	b.take(b.e.CloseTunnel(b.now, slotA, Result{Code: StopGeneral}))
	b.wantStop("replaces what was never sent", 3, 10, Result{Code: StopGeneral})
}

func TestRedialInALingeringTunnel(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.sayControl(2, 1, clients[0].stop...)
	b.wantZLB("StopCCN", 1, 3)
	wantEvent[TunnelDown](b, "StopCCN")
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.wantDrop("a late copy of the old request", DropDuplicate)
	b.wantZLB("late copy", 1, 3)
	request := slices.Clone(clients[0].sccrq)
	request[7] = wire.Uint16(wire.AttrAssignedTunnelID, 8)
	b.say(wire.Message{AVPs: request})
	if m := b.wantMessage("a new one", wire.SCCRP, 0, 1); m.TunnelID != 8 {
		t.Errorf("SCCRP to %d", m.TunnelID)
	}
	if len(b.events) > 0 {
		t.Errorf("events %v: the old tunnel's end was reported", b.events)
	}
}

func TestForget(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.call()
	b.take(b.e.Forget(b.now, slotA))
	b.wantSilence("there is no IPsec SA to send through")
	wantEvent[SessionDown](b, "forgotten")
	wantEvent[TunnelDown](b, "forgotten")
	if len(b.e.slots) != 0 || !b.kernel.empty() {
		t.Errorf("left: %v", b.e.slots)
	}
	b.take(b.e.Forget(b.now, slotA))
	b.take(b.e.CloseTunnel(b.now, slotA, Result{}))
	if len(b.events) > 0 {
		t.Errorf("events %v", b.events)
	}
}

func TestForgetWhileCreating(t *testing.T) {
	b := newBench(t, Config{})
	b.manual = true
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.take(b.e.Forget(b.now, slotA))
	wantEvent[TunnelDown](b, "forgotten")
	b.complete(nil)
	b.complete(nil)
	b.wantSilence("forgotten")
	b.wantGone("forgotten")
}

func TestShutdown(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.take(b.e.Shutdown(b.now))
	b.wantStop("shutdown", 1, 2, Result{Code: StopShutdown})
	wantEvent[TunnelDown](b, "shutdown")
	request := slices.Clone(clients[0].sccrq)
	request[7] = wire.Uint16(wire.AttrAssignedTunnelID, 8)
	b.say(wire.Message{AVPs: request})
	b.wantStop("no new ones", 0, 1, Result{Code: StopShutdown})
	b.wantGone("shutdown")
}

func TestSessionSetupTimesOut(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.sayControl(2, 1, clients[0].icrq...)
	b.wantMessage("call", wire.ICRP, 1, 3)
	b.sayControl(3, 2)
	b.wait(30 * time.Second)
	b.wantCDN("no ICCN", 2, 3, clientSession, Result{Code: CDNTimeout})
	wantEvent[SessionDown](b, "no ICCN")
}

func TestSessionKernelFailure(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.manual = true
	b.sayControl(2, 1, clients[0].icrq...)
	b.complete(errKernel)
	b.wantCDN("no kernel session", 1, 3, clientSession, Result{Code: CDNTemporary})
	wantEvent[SessionDown](b, "no kernel session")
	if len(b.pending) != 0 {
		t.Errorf("actions %v for a session that never was", b.pending)
	}
}

func TestSessionIDsAreNotReused(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	e := b.e
	tun := e.slots[slotA].tunnel
	e.ids.rand = &countingReader{}
	seen := make(map[uint16]bool)
	for range recentIDs {
		id, ok := e.ids.draw(tun)
		if !ok || id == 0 || seen[id] {
			t.Fatalf("id %d, ok %v, after %d", id, ok, len(seen))
		}
		seen[id] = true
	}
	if len(e.ids.recent) != recentIDs || len(e.ids.ring) != recentIDs {
		t.Errorf("%d ids remembered", len(e.ids.recent))
	}
	e.ids.rand = zeroReader{}
	if id, ok := e.ids.draw(tun); ok {
		t.Errorf("drew %d from a source that knows only zero", id)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestConfigRanges(t *testing.T) {
	for name, cfg := range map[string]Config{
		"window":   {ReceiveWindow: 65},
		"retries":  {Retries: -1},
		"waits":    {RetransmitInitial: time.Minute, RetransmitMax: time.Second},
		"sessions": {MaxSessionsPerTunnel: -1},
		"queue":    {MaxQueuedMessages: 1},
		"host":     {HostName: string(make([]byte, 256))},
	} {
		if _, err := New(cfg, zeroReader{}); err == nil {
			t.Errorf("%s: accepted %+v", name, cfg)
		}
	}
	if _, err := New(Config{}, nil); err == nil {
		t.Error("accepted no source of randomness")
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"host\x00\x00":                "host",
		"a\x1b[31mb\nc\td":            "a?[31mb?c?d",
		"\xff\xfe":                    "?",
		"zürich":                      "zürich",
		"$(reboot) `x` ../../etc":     "$(reboot) `x` ../../etc",
		string(make([]byte, 3)):       "",
		"\u202eevil":                  "?evil",
		string(make([]byte, 0)):       "",
		"nul\x00inside\x00":           "nul?inside",
		string([]byte{0xe2, 0x80}):    "?",
		"non\u00a0breaking and tab\t": "non?breaking and tab?",
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
