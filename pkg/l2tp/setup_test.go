package l2tp

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

func TestSetupRepeatedRequestGetsIdenticalReply(t *testing.T) {
	b := newBench(t, Config{})
	b.say(wire.Message{AVPs: clients[0].sccrq})
	first := b.sent[0].Payload
	b.wantMessage("first", wire.SCCRP, 0, 1)
	for range 3 {
		b.wait(100 * time.Millisecond)
		b.say(wire.Message{AVPs: clients[0].sccrq})
		if !bytes.Equal(b.sent[0].Payload, first) {
			t.Errorf("repetition got %x, want %x", b.sent[0].Payload, first)
		}
		b.wantMessage("again", wire.SCCRP, 0, 1)
		b.wantDrop("repetition", DropDuplicate)
	}
	b.sayControl(1, 1, wire.SCCCN.Value())
	b.wantZLB("goes on as usual", 1, 2)
	b.say(wire.Message{AVPs: clients[0].sccrq})
	wantEvent[TunnelUp](b, "SCCCN")
	b.wantDrop("a late copy does not end the tunnel", DropDuplicate)
	b.wantZLB("late copy", 1, 2)
}

func TestSetupReplyWaitsForTheKernel(t *testing.T) {
	b := newBench(t, Config{})
	b.manual = true
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.wantSilence("SCCRP promises the tunnel")
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.wantDrop("impatience", DropDuplicate)
	b.wantSilence("still creating")
	if len(b.pending) != 1 {
		t.Fatalf("actions %v, want one", b.pending)
	}
	b.complete(nil)
	b.wantMessage("created", wire.SCCRP, 0, 1)
}

func TestSetupKernelFailure(t *testing.T) {
	b := newBench(t, Config{})
	b.manual = true
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.complete(errKernel)
	b.wantStop("no tunnel", 0, 1, Result{Code: StopError, Error: ErrorResources})
	if down := wantEvent[TunnelDown](b, "no tunnel"); down.Established || down.ByPeer {
		t.Errorf("event %+v", down)
	}
	b.sayControl(1, 1)
	b.wantGone("acknowledged")
}

func TestSetupFromAnotherPortReplaces(t *testing.T) {
	for _, test := range []struct {
		name   string
		port   uint16
		tunnel uint16
		later  time.Duration
	}{
		{"other source port", 40000, clientTunnel, 0},
		{"other tunnel id", 1701, 8, 0},
		{"same numbers after a while", 1701, clientTunnel, 15 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.establish()
			session := b.call()
			b.wait(test.later)
			b.remote = netip.AddrPortFrom(clientA.Addr(), test.port)
			request := slices.Clone(clients[0].sccrq)
			request[7] = wire.Uint16(wire.AttrAssignedTunnelID, test.tunnel)
			b.manual = true
			b.say(wire.Message{AVPs: request})
			if down := wantEvent[SessionDown](b, "old session"); down.Session != session {
				t.Errorf("event %+v", down)
			}
			wantEvent[TunnelDown](b, "old tunnel")
			b.wantSilence("the old kernel tunnel has the number")
			b.complete(nil) // DeleteSession
			b.complete(nil) // DeleteTunnel
			b.wantSilence("the new kernel tunnel is not there")
			b.complete(nil) // CreateTunnel
			m := b.wantMessage("new tunnel", wire.SCCRP, 0, 1)
			if m.TunnelID != test.tunnel {
				t.Errorf("SCCRP to tunnel %d", m.TunnelID)
			}
			b.manual = false
			b.sayControl(1, 1, wire.SCCCN.Value())
			b.wantZLB("new tunnel", 1, 2)
			wantEvent[TunnelUp](b, "new tunnel")
		})
	}
}

func TestSetupReplacedTwiceWhileCreating(t *testing.T) {
	b := newBench(t, Config{})
	b.manual = true
	for tunnel := uint16(1); tunnel <= 3; tunnel++ {
		request := slices.Clone(clients[0].sccrq)
		request[7] = wire.Uint16(wire.AttrAssignedTunnelID, tunnel)
		b.say(wire.Message{AVPs: request})
	}
	if len(b.pending) != 1 {
		t.Fatalf("actions %v: one creation at a time", b.pending)
	}
	b.complete(nil) // create 1: unwanted by now
	b.complete(nil) // delete 1
	b.complete(nil) // create 3
	if m := b.wantMessage("only the newest is answered", wire.SCCRP, 0, 1); m.TunnelID != 3 {
		t.Errorf("SCCRP to tunnel %d", m.TunnelID)
	}
	b.wantSilence("one answer")
	b.manual = false
	b.wantGone("nobody went on")
}

func TestSetupStopOfReplacedTunnel(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	request := slices.Clone(clients[0].sccrq)
	request[7] = wire.Uint16(wire.AttrAssignedTunnelID, 8)
	b.say(wire.Message{AVPs: request})
	b.wantMessage("redial", wire.SCCRP, 0, 1)
	wantEvent[TunnelDown](b, "redial")
	b.sayControl(2, 1, clients[0].stop...)
	if m := b.wantAny("the old tunnel's StopCCN"); !m.IsZLB() || m.TunnelID != clientTunnel || m.Nr != 3 {
		t.Errorf("got %s, want a ZLB of the old tunnel", describe(m))
	}
	b.wantDrop("old StopCCN", DropStale)
	b.sayControl(1, 1, wire.SCCCN.Value())
	b.wantZLB("the new tunnel lives", 1, 2)
}

func TestSetupRefusals(t *testing.T) {
	with := func(i int, a wire.AVP) []wire.AVP {
		return slices.Replace(slices.Clone(clients[0].sccrq), i, i+1, a)
	}
	for _, test := range []struct {
		name string
		avps []wire.AVP
		want Result
	}{
		{"version 2", with(1, wire.Uint16(wire.AttrProtocolVersion, 0x0200)), Result{Code: StopVersion, Error: 0x0100}},
		{"unknown mandatory AVP", with(8, wire.AVP{Mandatory: true, Vendor: 9, Type: 1}), Result{Code: StopError, Error: ErrorUnknownAVP}},
		{"hidden AVP", with(8, wire.AVP{Mandatory: true, Hidden: true, Type: 7}), Result{Code: StopError, Error: ErrorUnknownAVP}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.say(wire.Message{AVPs: test.avps})
			b.wantStop("refused", 0, 1, test.want)
			wantEvent[TunnelDown](b, "refused")
			b.sayControl(1, 1)
			b.wantGone("refused and acknowledged")
		})
	}
	for _, test := range []struct {
		name string
		m    wire.Message
	}{
		{"no Assigned Tunnel ID", wire.Message{AVPs: with(7, wire.Uint16(wire.AttrReceiveWindow, 8))}},
		{"Assigned Tunnel ID 0", wire.Message{AVPs: with(7, wire.Uint16(wire.AttrAssignedTunnelID, 0))}},
		{"Ns not 0", wire.Message{Ns: 1, AVPs: clients[0].sccrq}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.say(test.m)
			b.wantDrop("nobody to answer to", DropBadSetup)
			b.wantSilence("dropped")
			b.wantGone("dropped")
		})
	}
}

func TestSetupToleratesOddities(t *testing.T) {
	t.Run("unknown optional AVPs", func(t *testing.T) {
		b := newBench(t, Config{})
		b.say(wire.Message{AVPs: append(slices.Clone(clients[0].sccrq), wire.AVP{Vendor: 311, Type: 99}, wire.AVP{Hidden: true, Type: 11})})
		b.wantMessage("ignored", wire.SCCRP, 0, 1)
	})
	t.Run("window 0", func(t *testing.T) {
		b := newBench(t, Config{})
		request := slices.Clone(clients[0].sccrq)
		request[8] = wire.Uint16(wire.AttrReceiveWindow, 0)
		b.say(wire.Message{AVPs: request})
		b.wantMessage("counts as 1", wire.SCCRP, 0, 1)
	})
	t.Run("challenge", func(t *testing.T) {
		b := newBench(t, Config{})
		b.say(wire.Message{AVPs: append(slices.Clone(clients[0].sccrq), wire.Bytes(wire.AttrChallenge, "0123456789abcdef"))})
		wantEvent[ChallengeIgnored](b, "we know no secret")
		if m := b.wantMessage("without an answer", wire.SCCRP, 0, 1); m.Decode(nil).Has.Contains(wire.AttrChallengeResponse) {
			t.Error("SCCRP has a Challenge Response")
		}
	})
	t.Run("Apple's HELLO before SCCRQ", func(t *testing.T) {
		b := newBench(t, Config{})
		for range 2 {
			b.say(wire.Message{AVPs: []wire.AVP{wire.HELLO.Value()}})
			b.wantDrop("early", DropEarly)
			b.wantSilence("never StopCCN")
		}
		b.establish()
		b.say(wire.Message{AVPs: []wire.AVP{wire.HELLO.Value()}})
		b.wantDrop("late", DropEarly)
		b.wantSilence("harmless")
	})
}

func TestSetupTimesOut(t *testing.T) {
	b := newBench(t, Config{Retries: 20})
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.wantMessage("set-up", wire.SCCRP, 0, 1)
	b.sayControl(0, 1) // acknowledged, but SCCCN never comes
	b.wait(30 * time.Second)
	b.wantStop("half open for 30 s", 1, 1, Result{Code: StopGeneral})
	wantEvent[TunnelDown](b, "half open")
	b.wantGone("unanswered")
}

func TestSetupStopBeforeReplyArrives(t *testing.T) {
	b := newBench(t, Config{})
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.wantMessage("set-up", wire.SCCRP, 0, 1)
	b.say(wire.Message{TunnelID: 0, Ns: 1, Nr: 0, AVPs: clients[0].stop})
	b.wantZLB("StopCCN with tunnel id 0 names the tunnel by its AVP", 1, 2)
	wantEvent[TunnelDown](b, "StopCCN")
	b.wantGone("closed")
}
