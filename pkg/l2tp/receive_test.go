package l2tp

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

func TestForeignDatagramsAreDropped(t *testing.T) {
	hello := []wire.AVP{wire.HELLO.Value()}
	for _, test := range []struct {
		name   string
		packet string
		m      *wire.Message
		remote string
		want   DropReason
	}{
		{name: "empty", want: DropMalformed},
		{name: "noise", packet: "ff02ff", want: DropMalformed},
		{name: "data", packet: "00024e21000aff03c021", want: DropData},
		{name: "L2TPv3", packet: "c803000c0000000000000000", want: DropVersion},
		{name: "another client's tunnel", m: &wire.Message{TunnelID: slotA + 1, Ns: 2, AVPs: hello}, want: DropForgedTunnel},
		{name: "another port", m: &wire.Message{TunnelID: slotA, Ns: 2, Nr: 1, AVPs: hello}, remote: "198.51.100.7:1702", want: DropForgedSource},
		{name: "another address", m: &wire.Message{TunnelID: slotA, Ns: 2, Nr: 1, AVPs: clients[0].stop}, remote: "198.51.100.8:1701", want: DropForgedSource},
		{name: "StopCCN of an unknown tunnel", m: &wire.Message{Ns: 2, AVPs: []wire.AVP{wire.StopCCN.Value(), wire.Uint16(wire.AttrAssignedTunnelID, 99)}}, want: DropEarly},
		{name: "ZLB without tunnel", m: &wire.Message{Nr: 1}, want: DropEarly},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.establish()
			if test.remote != "" {
				b.remote = netip.MustParseAddrPort(test.remote)
			}
			if test.m != nil {
				b.say(*test.m)
			} else {
				packet, err := hex.DecodeString(test.packet)
				if err != nil {
					t.Fatal(err)
				}
				b.sayRaw(packet)
			}
			b.wantDrop("foreign", test.want)
			b.wantSilence("foreign")
			b.remote = clientA
			b.sayControl(2, 1, wire.HELLO.Value())
			b.wantZLB("the tunnel is untouched", 1, 3)
		})
	}
	b := newBench(t, Config{})
	b.sayControl(2, 1, wire.HELLO.Value())
	b.wantDrop("no tunnel", DropUnknownTunnel)
	b.wantGone("no tunnel")
}

func TestMessagesThatEndTheTunnel(t *testing.T) {
	unknownAVP := wire.AVP{Mandatory: true, Vendor: 9, Type: 1}
	for _, test := range []struct {
		name string
		avps []wire.AVP
		want Result
	}{
		{"unknown mandatory message", []wire.AVP{wire.MessageType(20).Value()}, Result{Code: StopError, Error: ErrorUnknownAVP}},
		{"unknown mandatory AVP", []wire.AVP{wire.HELLO.Value(), unknownAVP}, Result{Code: StopError, Error: ErrorUnknownAVP}},
		{"second SCCCN", []wire.AVP{wire.SCCCN.Value()}, Result{Code: StopFSM}},
		{"SCCRP", []wire.AVP{wire.SCCRP.Value()}, Result{Code: StopFSM}},
		{"SCCRQ in the tunnel", clients[0].sccrq, Result{Code: StopFSM}},
		{"ICRQ without id", []wire.AVP{wire.ICRQ.Value()}, Result{Code: StopError, Error: ErrorRange}},
		{"ICRQ with an id of one octet", []wire.AVP{wire.ICRQ.Value(), wire.Bytes(wire.AttrAssignedSessionID, "x")}, Result{Code: StopError, Error: ErrorLength}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.establish()
			session := b.call()
			b.sayControl(4, 2, test.avps...)
			b.wantStop("by the book", 2, 5, test.want)
			if down := wantEvent[SessionDown](b, "StopCCN ends sessions"); down.Session != session || down.ByPeer {
				t.Errorf("event %+v", down)
			}
			if down := wantEvent[TunnelDown](b, "ended"); down.Result != test.want || down.ByPeer {
				t.Errorf("event %+v", down)
			}
			if !b.kernel.empty() {
				t.Error("kernel objects survive StopCCN")
			}
			b.sayControl(5, 3)
			b.wantGone("acknowledged")
		})
	}
	for _, test := range []struct {
		name, octets string
		want         Result
	}{
		{"AVP beyond the message", "80080000000f" + "ffff00000001", Result{Code: StopError, Error: ErrorLength}},
		{"first AVP of length 5", "800500000006", Result{Code: StopError, Error: ErrorLength}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.establish()
			body, _ := hex.DecodeString(test.octets)
			head := fmt.Sprintf("c802%04x%04x000000020001", 12+len(body), slotA)
			packet, _ := hex.DecodeString(head + test.octets)
			b.sayRaw(packet)
			got := b.wantAny("malformed").Decode(nil).Result
			if got.Code != test.want.Code || got.Error != test.want.Error {
				t.Errorf("result %v, want %v", got, test.want)
			}
		})
	}
}

func TestFarewellIsUnderstoodInAnyForm(t *testing.T) {
	packet, _ := hex.DecodeString("c8020020" + fmt.Sprintf("%04x", slotA) + "000000020001" + "800800000000" + "0004" + "ffff00000001" + "00010000" + "0000")
	packet[3] = byte(len(packet))
	b := newBench(t, Config{})
	b.establish()
	b.sayRaw(packet)
	b.wantZLB("StopCCN with a broken Result Code", 1, 3)
	if down := wantEvent[TunnelDown](b, "StopCCN"); !down.ByPeer {
		t.Errorf("event %+v", down)
	}
	b.wantGone("closed")
}

func TestMessagesWithoutEffect(t *testing.T) {
	for _, test := range []struct {
		name    string
		session uint16
		avps    []wire.AVP
		want    DropReason
	}{
		{"unknown optional message", 0, []wire.AVP{wire.MessageType(20).Value().Optional()}, DropUnsupported},
		{"no Message Type", 0, []wire.AVP{wire.Uint16(wire.AttrAssignedTunnelID, 7)}, DropNoFirstType},
		{"ICCN of an unknown session", 77, []wire.AVP{wire.ICCN.Value()}, DropUnknownSession},
		{"CDN of an unknown session", 77, cdnAdministrative, DropUnknownSession},
		{"CDN without ids", 0, []wire.AVP{wire.CDN.Value()}, DropUnknownSession},
		{"SLI of an unknown session", 77, []wire.AVP{wire.SLI.Value()}, DropUnknownSession},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.establish()
			b.say(wire.Message{TunnelID: slotA, SessionID: test.session, Ns: 2, Nr: 1, AVPs: test.avps})
			b.wantDrop("no effect", test.want)
			b.wantZLB("but acknowledged", 1, 3)
		})
	}
}

func TestICRQBeforeSCCCN(t *testing.T) {
	b := newBench(t, Config{})
	b.say(wire.Message{AVPs: clients[0].sccrq})
	b.wantMessage("set-up", wire.SCCRP, 0, 1)
	b.sayControl(1, 1, clients[0].icrq...)
	b.wantStop("SCCCN was left out", 1, 2, Result{Code: StopFSM})
}

func TestCallRefusals(t *testing.T) {
	with := func(a wire.AVP) []wire.AVP { return append(slices.Clone(clients[0].icrq), a) }
	for _, test := range []struct {
		name  string
		avps  []wire.AVP
		calls int
		want  Result
	}{
		{"outgoing call", []wire.AVP{wire.OCRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, clientSession)}, 0, Result{Code: CDNPermanent}},
		{"unknown mandatory AVP", with(wire.AVP{Mandatory: true, Vendor: 9, Type: 9}), 0, Result{Code: CDNError, Error: ErrorUnknownAVP}},
		{"id in use", clients[0].icrq, 1, Result{Code: CDNError, Error: ErrorSession}},
		{"too many", []wire.AVP{wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, clientSession)}, 2, Result{Code: CDNTemporary}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{MaxSessionsPerTunnel: 2})
			b.establish()
			for i := range uint16(test.calls) {
				b.sayControl(2+i, 1+i, wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, clientSession+i))
				b.wantMessage("call", wire.ICRP, 1+i, 3+i)
			}
			n := uint16(test.calls)
			b.sayControl(2+n, 1+n, test.avps...)
			b.wantCDN("refused", 1+n, 3+n, clientSession, test.want)
			if e := wantEvent[CallRefused](b, "refused"); e.Result != test.want {
				t.Errorf("event %+v", e)
			}
			if got := len(b.e.Tunnels()[0].Sessions); got != test.calls {
				t.Errorf("%d sessions, want %d", got, test.calls)
			}
		})
	}
}

func TestCallMessagesOutOfState(t *testing.T) {
	for _, test := range []struct {
		name string
		avps []wire.AVP
		want Result
	}{
		{"second ICCN", []wire.AVP{wire.ICCN.Value()}, Result{Code: CDNError}},
		{"ICRP", []wire.AVP{wire.ICRP.Value()}, Result{Code: CDNError}},
		{"OCCN", []wire.AVP{wire.OCCN.Value()}, Result{Code: CDNError}},
		{"SLI with unknown mandatory AVP", []wire.AVP{wire.SLI.Value(), {Mandatory: true, Type: 99}}, Result{Code: CDNError, Error: ErrorUnknownAVP}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.establish()
			session := b.call()
			b.say(wire.Message{TunnelID: slotA, SessionID: session, Ns: 4, Nr: 2, AVPs: test.avps})
			b.wantCDN("ends the session only", 2, 5, clientSession, test.want)
			wantEvent[SessionDown](b, "ended")
			if info := b.e.Tunnels()[0]; info.State != "established" || len(info.Sessions) != 0 {
				t.Errorf("snapshot %+v", info)
			}
		})
	}
}

func TestWENAndSLIAreHarmless(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	session := b.call()
	for i, avps := range [][]wire.AVP{
		{wire.WEN.Value(), wire.Bytes(wire.AttrCallErrors, make([]byte, 26))},
		{wire.SLI.Value(), wire.Bytes(wire.AttrACCM, make([]byte, 10))},
	} {
		ns := uint16(4 + i)
		b.say(wire.Message{TunnelID: slotA, SessionID: session, Ns: ns, Nr: 2, AVPs: avps})
		b.wantZLB("acknowledged", 2, ns+1)
	}
	if len(b.events) > 0 {
		t.Errorf("events %v", b.events)
	}
}

func TestCDNBeforeOurSessionIDIsKnown(t *testing.T) {
	b := newBench(t, Config{})
	b.establish()
	b.manual = true
	b.sayControl(2, 1, clients[0].icrq...)
	b.wait(100 * time.Millisecond)
	b.wantZLB("the kernel takes its time", 1, 3)
	b.sayControl(3, 1, cdnAdministrative...)
	b.wantZLB("CDN", 1, 4)
	if down := wantEvent[SessionDown](b, "CDN"); down.PeerSession != clientSession || down.Established {
		t.Errorf("event %+v", down)
	}
	b.complete(nil)
	b.wantSilence("no ICRP for a call that is gone")
	b.complete(nil)
	if len(b.kernel.sessions) != 0 {
		t.Errorf("kernel sessions %v", b.kernel.sessions)
	}
}
