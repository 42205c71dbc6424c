package keeper

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// FuzzRequests: whatever a daemon asks for, nothing of others is touched, no key comes back, and no handler panics. What would need a kernel is left out.
func FuzzRequests(f *testing.F) {
	in := inbound(1000)
	for op, body := range map[protocol.Op]any{
		protocol.OpStore: protocol.Store{Changes: []protocol.Change{{Key: "k", Value: []byte("v")}}}, protocol.OpHold: protocol.Name{Name: "n"}, protocol.OpRelease: protocol.Name{Name: "n"},
		protocol.OpAddSA: in, protocol.OpDeleteSA: []xfrm.ID{in.ID}, protocol.OpGetSA: in.ID, protocol.OpListSAs: nil,
		protocol.OpMoveSA:       protocol.SAMove{ID: in.ID, To: xfrm.Place{Src: theirs, Dst: ours, Encap: &xfrm.Encap{SrcPort: 1, DstPort: 2}, Selector: in.Selector}},
		protocol.OpCreateTunnel: protocol.Tunnel{ID: 16384, PeerID: 1}, protocol.OpDeleteTunnel: protocol.TunnelID{ID: 16384}, protocol.OpGetTunnel: protocol.TunnelID{ID: 1},
		protocol.OpOpenSession: protocol.Session{Tunnel: 16384, Session: 1, PeerTunnel: 1, PeerSession: 1}, protocol.OpCloseSession: protocol.SessionID{Tunnel: 16384, Session: 1},
		protocol.OpGetSession: protocol.SessionID{Tunnel: 1, Session: 1}, protocol.OpListSessions: nil, protocol.OpListTunnels: nil,
		protocol.OpConnect: protocol.Connect{Port: 16384, Remote: netip.AddrPortFrom(theirs, 1701)}, protocol.OpReconnect: protocol.Connect{Port: 16384}, protocol.OpCloseClient: protocol.Port{Port: 16384},
		protocol.OpStartPPP: protocol.PPPOf(pppd.Session{Name: "n", Interface: "l2t1", TunnelID: 16384, SessionID: 1, LocalIP: ours}), protocol.OpKillPPP: protocol.Name{Name: "l2t1"},
	} {
		b, err := protocol.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(op), b)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	end, others := os.NewFile(uintptr(fds[0]), "end"), os.NewFile(uintptr(fds[1]), "other end")
	defer others.Close()
	conn, err := net.FileConn(end)
	if err := errors.Join(err, end.Close()); err != nil {
		f.Fatal(err)
	}
	transport := protocol.NewTransport(conn.(*net.UnixConn), 1000, 1) // that records which cannot be stored close
	f.Fuzz(func(t *testing.T, number uint16, body []byte) {
		op := protocol.Op(number)
		switch op {
		case protocol.OpSetup, protocol.OpPrepare, protocol.OpShutdown, protocol.OpMonitor, protocol.OpOpenClient, protocol.OpEncrypts, protocol.OpReadSteering, protocol.OpSteeringIntact:
			return
		}
		core, logs := observer.New(zap.ErrorLevel)
		k := newKeeper(Config{Log: zap.New(core)})
		k.machine = testMachine(k)
		kernel := k.machine.sas.(*memory)
		foreign := inbound(1000)
		foreign.ReqID = 7
		kernel.states[foreign.ID] = *foreign
		kernel.list[16384] = l2tpnl.Tunnel{ID: 16384, Local: netip.AddrPortFrom(ours, 1701)}
		got, err := k.perform(t.Context(), &request{conn: &connection{k: k, t: transport}, op: op, body: body, files: []*os.File{os.Stdin}})
		closeFiles(got.files)
		if op != protocol.OpStore && logs.Len() > 0 { // which cuts the daemon off if it cannot be done
			t.Error(logs.All()[0].ContextMap()["panic"])
		}
		if st, ok := kernel.states[foreign.ID]; !ok || st.ReqID != 7 || st.Src != foreign.Src {
			t.Errorf("a foreign SA is %v now", st)
		}
		if _, ok := kernel.list[16384]; !ok || len(kernel.list) != 1 {
			t.Errorf("tunnels: %v", kernel.list)
		}
		for id, st := range kernel.states {
			if id != foreign.ID && !k.machine.block.Owns(st.ReqID) {
				t.Errorf("an SA of nobody: %v", st)
			}
		}
		if _, ok := got.body.(xfrm.State); ok && err == nil {
			t.Errorf("a foreign SA was told: %v", got.body)
		}
		_ = k.held.close()
	})
}
