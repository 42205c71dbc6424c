package l2tp

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp/wire"
)

// client is what one kind of client sends, attribute by attribute in its order.
type client struct {
	name       string
	sccrq      []wire.AVP
	icrq       []wire.AVP
	iccn       []wire.AVP
	pipelined  bool // ICRQ follows SCCCN without waiting
	cdn        []wire.AVP
	stop       []wire.AVP
	wantHost   string
	wantVendor string
	wantWindow uint16
	wantSpeed  uint32
	wantStop   Result
}

// Ids that the clients assign.
const (
	clientTunnel  = 7
	clientSession = 9
)

var stopGeneral = []wire.AVP{
	wire.StopCCN.Value(), wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel), wire.Bytes(wire.AttrResultCode, "\x00\x01\x00\x00"),
}

var cdnAdministrative = []wire.AVP{
	wire.CDN.Value(), wire.Bytes(wire.AttrResultCode, "\x00\x03\x00\x00"), wire.Uint16(wire.AttrAssignedSessionID, clientSession),
}

var clients = []client{
	{
		name: "Windows 10",
		sccrq: []wire.AVP{
			wire.SCCRQ.Value(),
			wire.Uint16(wire.AttrProtocolVersion, 0x0100),
			wire.Uint32(wire.AttrFramingCaps, 1),
			wire.Uint32(wire.AttrBearerCaps, 0),
			wire.Uint16(wire.AttrFirmwareRevision, 0x0a00).Optional(),
			wire.Bytes(wire.AttrHostName, "DESKTOP-1234567"),
			wire.Bytes(wire.AttrVendorName, "Microsoft").Optional(),
			wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel),
			wire.Uint16(wire.AttrReceiveWindow, 8),
		},
		icrq: []wire.AVP{
			wire.ICRQ.Value(),
			wire.Uint16(wire.AttrAssignedSessionID, clientSession),
			wire.Uint32(wire.AttrCallSerial, 0),
			wire.Uint32(wire.AttrBearerType, 2),
			{Vendor: 311, Type: 1, Value: []byte("0123456789abcdef")}, // Correlation ID
		},
		iccn: []wire.AVP{
			wire.ICCN.Value(),
			wire.Uint32(wire.AttrTxConnectSpeed, 1_000_000_000),
			wire.Uint32(wire.AttrFramingType, 1),
		},
		cdn: cdnAdministrative, stop: stopGeneral,
		wantHost: "DESKTOP-1234567", wantVendor: "Microsoft", wantWindow: 8, wantSpeed: 1_000_000_000, wantStop: Result{Code: 1},
	},
	{
		name: "Apple",
		sccrq: []wire.AVP{
			wire.SCCRQ.Value(),
			wire.Uint16(wire.AttrProtocolVersion, 0x0100),
			wire.Uint32(wire.AttrFramingCaps, 3),
			wire.Bytes(wire.AttrHostName, "macbook.local\x00"),
			wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel),
			wire.Uint16(wire.AttrReceiveWindow, 4),
		},
		icrq: []wire.AVP{
			wire.ICRQ.Value(),
			wire.Uint16(wire.AttrAssignedSessionID, clientSession),
			wire.Uint32(wire.AttrCallSerial, 1),
		},
		iccn: []wire.AVP{
			wire.ICCN.Value(),
			wire.Uint32(wire.AttrTxConnectSpeed, 1_000_000),
			wire.Uint32(wire.AttrFramingType, 3),
		},
		pipelined: true,
		cdn: []wire.AVP{
			wire.CDN.Value(),
			wire.Bytes(wire.AttrResultCode, "\x03\x00\x00\x00\x00\x00\x00\x00"),
			wire.Uint16(wire.AttrAssignedSessionID, clientSession),
		},
		stop: []wire.AVP{
			wire.StopCCN.Value(),
			wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel),
			wire.Bytes(wire.AttrResultCode, "\x01\x00\x00\x00\x00\x00\x00\x00"),
		},
		wantHost: "macbook.local", wantWindow: 4, wantSpeed: 1_000_000, wantStop: Result{Code: 1},
	},
	{
		name: "Android mtpd",
		sccrq: []wire.AVP{
			wire.SCCRQ.Value(),
			wire.Uint16(wire.AttrProtocolVersion, 0x0100),
			wire.Bytes(wire.AttrHostName, "anonymous"),
			wire.Uint32(wire.AttrFramingCaps, 3),
			wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel),
			wire.Uint16(wire.AttrReceiveWindow, 1),
		},
		icrq: []wire.AVP{
			wire.ICRQ.Value(),
			wire.Uint16(wire.AttrAssignedSessionID, clientSession),
			wire.Uint32(wire.AttrCallSerial, 0xdeadbeef),
		},
		iccn: []wire.AVP{
			wire.ICCN.Value(),
			wire.Uint32(wire.AttrTxConnectSpeed, 100_000_000),
			wire.Uint32(wire.AttrFramingType, 3),
		},
		stop: []wire.AVP{ // no CDN, no error code
			wire.StopCCN.Value(), wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel), wire.Bytes(wire.AttrResultCode, "\x00\x06"),
		},
		wantHost: "anonymous", wantWindow: 1, wantSpeed: 100_000_000, wantStop: Result{Code: 6},
	},
	{
		name: "xl2tpd",
		sccrq: []wire.AVP{
			wire.SCCRQ.Value(),
			wire.Uint16(wire.AttrProtocolVersion, 0x0100),
			wire.Uint32(wire.AttrFramingCaps, 3),
			wire.Uint32(wire.AttrBearerCaps, 0),
			wire.Uint16(wire.AttrFirmwareRevision, 0x0690).Optional(),
			wire.Bytes(wire.AttrHostName, "laptop"),
			wire.Bytes(wire.AttrVendorName, "xelerance.com").Optional(),
			wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel),
			wire.Uint16(wire.AttrReceiveWindow, 8),
		},
		icrq: []wire.AVP{
			wire.ICRQ.Value(),
			wire.Uint16(wire.AttrAssignedSessionID, clientSession),
			wire.Uint32(wire.AttrCallSerial, 1),
			wire.Uint32(wire.AttrBearerType, 0),
		},
		iccn: []wire.AVP{
			wire.ICCN.Value(),
			wire.Uint32(wire.AttrTxConnectSpeed, 10_000_000),
			wire.Uint32(wire.AttrFramingType, 1),
			wire.Uint32(wire.AttrRxConnectSpeed, 10_000_000).Optional(),
		},
		cdn: cdnAdministrative, stop: stopGeneral,
		wantHost: "laptop", wantVendor: "xelerance.com", wantWindow: 8, wantSpeed: 10_000_000, wantStop: Result{Code: 1},
	},
	{
		name: "go-l2tp",
		sccrq: []wire.AVP{ // no Receive Window Size
			wire.SCCRQ.Value(),
			wire.Uint16(wire.AttrProtocolVersion, 0x0100),
			wire.Bytes(wire.AttrHostName, "kl2tpd"),
			wire.Uint32(wire.AttrFramingCaps, 3),
			wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel),
		},
		icrq: []wire.AVP{
			wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, clientSession), wire.Uint32(wire.AttrCallSerial, 1),
		},
		iccn: []wire.AVP{
			wire.ICCN.Value(), wire.Uint32(wire.AttrTxConnectSpeed, 0), wire.Uint32(wire.AttrFramingType, 3),
		},
		cdn: cdnAdministrative, stop: stopGeneral,
		wantHost: "kl2tpd", wantWindow: 4, wantStop: Result{Code: 1},
	},
	{
		name: "RouterOS",
		sccrq: []wire.AVP{
			wire.SCCRQ.Value(),
			wire.Uint16(wire.AttrProtocolVersion, 0x0100),
			wire.Uint32(wire.AttrFramingCaps, 1),
			wire.Uint32(wire.AttrBearerCaps, 0),
			wire.Uint16(wire.AttrFirmwareRevision, 1).Optional(),
			wire.Bytes(wire.AttrHostName, "MikroTik"),
			wire.Bytes(wire.AttrVendorName, "MikroTik").Optional(),
			wire.Uint16(wire.AttrAssignedTunnelID, clientTunnel),
			wire.Uint16(wire.AttrReceiveWindow, 4),
		},
		icrq: []wire.AVP{
			wire.ICRQ.Value(), wire.Uint16(wire.AttrAssignedSessionID, clientSession), wire.Uint32(wire.AttrCallSerial, 2),
		},
		iccn: []wire.AVP{wire.ICCN.Value()}, // as Huawei and Cisco: no speed, no framing type
		cdn: []wire.AVP{
			wire.CDN.Value(),
			wire.Bytes(wire.AttrResultCode, "\x00\x03"),
			wire.Uint16(wire.AttrAssignedSessionID, clientSession),
			wire.Bytes(wire.AttrDisconnectCause, "\x00\x01\xc0\x21\x00"), // mandatory, RFC 3145
		},
		stop:     stopGeneral,
		wantHost: "MikroTik", wantVendor: "MikroTik", wantWindow: 4, wantStop: Result{Code: 1},
	},
}

func TestClientsConnectAndLeave(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.say(wire.Message{AVPs: c.sccrq})
			m := b.wantMessage("the request is answered at once", wire.SCCRP, 0, 1)
			if diff := cmp.Diff(sccrp(), m); diff != "" {
				t.Errorf("SCCRP:\n%s", diff)
			}
			b.wantSilence("SCCRP acknowledges SCCRQ")

			if c.pipelined {
				b.say(wire.Message{TunnelID: slotA, Ns: 2, Nr: 1, AVPs: c.icrq})
				b.wantSilence("ICRQ was sent right after SCCCN and has overtaken it")
			}
			b.say(wire.Message{TunnelID: slotA, Ns: 1, Nr: 1, AVPs: []wire.AVP{wire.SCCCN.Value()}})
			if c.pipelined {
				b.wantZLB("both are acknowledged at once", 1, 3)
			} else {
				b.wantZLB("SCCCN is acknowledged at once", 1, 2)
			}
			up := wantEvent[TunnelUp](b, "SCCCN establishes the tunnel")
			if up.HostName != c.wantHost || up.VendorName != c.wantVendor || up.PeerTunnel != clientTunnel || up.Remote != clientA {
				t.Errorf("event %+v", up)
			}

			if !c.pipelined {
				b.say(wire.Message{TunnelID: slotA, Ns: 2, Nr: 1, AVPs: c.icrq})
			}
			m = b.wantMessage("the call is taken", wire.ICRP, 1, 3)
			if m.SessionID != clientSession || m.TunnelID != clientTunnel {
				t.Errorf("ICRP to %d/%d", m.TunnelID, m.SessionID)
			}
			session := m.Decode(nil).AssignedSessionID
			b.say(wire.Message{TunnelID: slotA, SessionID: session, Ns: 3, Nr: 2, AVPs: c.iccn})
			b.wantZLB("ICCN is acknowledged at once", 2, 4)
			call := wantEvent[SessionUp](b, "ICCN establishes the session")
			if call.Session != session || call.PeerSession != clientSession || call.TxConnectSpeed != c.wantSpeed {
				t.Errorf("event %+v", call)
			}
			if info := b.e.Tunnels(); len(info) != 1 || info[0].State != "established" || info[0].PeerWindow != c.wantWindow ||
				len(info[0].Sessions) != 1 || info[0].Sessions[0].State != "established" {
				t.Errorf("snapshot %+v", info)
			}

			b.wait(60 * time.Second)
			b.wantMessage("after a minute's silence we ask", wire.HELLO, 2, 4)
			b.say(wire.Message{TunnelID: slotA, Ns: 4, Nr: 3})
			b.wait(59 * time.Second)
			b.wantSilence("the peer lives")

			ns := uint16(4)
			if c.cdn != nil {
				b.say(wire.Message{TunnelID: slotA, SessionID: session, Ns: ns, Nr: 3, AVPs: c.cdn})
				ns++
				b.wantZLB("CDN is acknowledged", 3, ns)
				if down := wantEvent[SessionDown](b, "CDN"); !down.ByPeer || down.Result.Code != 3 || !down.Established {
					t.Errorf("event %+v", down)
				}
			}
			b.say(wire.Message{TunnelID: slotA, Ns: ns, Nr: 3, AVPs: c.stop})
			b.wantZLB("StopCCN is acknowledged", 3, ns+1)
			if c.cdn == nil {
				wantEvent[SessionDown](b, "StopCCN ends sessions")
			}
			if down := wantEvent[TunnelDown](b, "StopCCN"); !down.ByPeer || down.Result != c.wantStop || !down.Established {
				t.Errorf("event %+v", down)
			}
			if !b.kernel.empty() {
				t.Error("kernel objects survive StopCCN")
			}
			b.wait(20 * time.Second)
			b.say(wire.Message{TunnelID: slotA, Ns: ns, Nr: 3, AVPs: c.stop})
			b.wantZLB("a repeated StopCCN is acknowledged again", 3, ns+1)
			b.wantDrop("repetition", DropDuplicate)
			b.wantGone("after the linger time")
		})
	}
}

// sccrp is the answer that each client gets, to the octet.
func sccrp() wire.Message {
	return wire.Message{TunnelID: clientTunnel, Ns: 0, Nr: 1, AVPs: []wire.AVP{
		wire.SCCRP.Value(),
		wire.Uint16(wire.AttrProtocolVersion, 0x0100),
		wire.Uint32(wire.AttrFramingCaps, 3),
		wire.Uint32(wire.AttrBearerCaps, 0),
		wire.Uint16(wire.AttrFirmwareRevision, 1).Optional(),
		wire.Bytes(wire.AttrHostName, "l2tpctl"),
		wire.Bytes(wire.AttrVendorName, "l2tpctl").Optional(),
		wire.Uint16(wire.AttrAssignedTunnelID, slotA),
		wire.Uint16(wire.AttrReceiveWindow, 8),
	}}
}
