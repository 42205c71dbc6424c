//go:build kernel

package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const (
	slotPort = 0x4005
	slotMark = 0x17014005
)

// peer is the other end of slotPort.
var peer = netip.AddrPortFrom(theirs, 1701)

// patience is how long a test waits for what is to come, on a machine that has other things to do.
const patience = 20 * time.Second

// eventually waits until something is so; state is for the message of the test that it is not.
func eventually(t *testing.T, what string, done func() (state string, ok bool)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		state, ok := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v: %s", what, patience, state)
		}
	}
}

// addresses gives the machine both ends.
func addresses(t *testing.T) {
	t.Helper()
	for _, line := range []string{"ip link set lo up", "ip addr replace " + ours.String() + " dev lo", "ip addr replace " + theirs.String() + " dev lo"} {
		f := strings.Fields(line)
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
}

// daemon is a daemon that has set the keeper up.
type daemon struct {
	*client.Conn
	client.Inventory
	poller *udp.Poller
}

func serve(t *testing.T, path string, s protocol.Setup) *daemon {
	t.Helper()
	var c *client.Conn
	var err error
	eventually(t, "the keeper has noticed that the daemon before has gone", func() (string, bool) {
		c, err = client.Dial(t.Context(), path, "daemon")
		_, busy := errors.AsType[*client.BusyError](err)
		return fmt.Sprint(err), !busy
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	i, err := c.Setup(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	poller, err := udp.NewPoller(func(uint16, netip.AddrPort, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{c, i, poller}
	t.Cleanup(d.Inventory.Close)
	return d
}

// leave is the end of a daemon as the keeper sees it: everything of it is closed, and nobody says goodbye.
func (d *daemon) leave(t *testing.T, sockets ...*client.Socket) {
	t.Helper()
	d.Conn.Close()
	d.Inventory.Close()
	if err := d.poller.Close(); err != nil {
		t.Error(err)
	}
	for _, s := range sockets {
		_ = s.Close() // the copies here; the keeper does not hear of it
	}
}

// association is an SA of slotPort.
func association(dir xfrm.Direction, spi uint32) *xfrm.State {
	s := inbound(spi)
	s.ReqID = slotMark
	s.OutputMark.Value = slotMark
	s.Selector = xfrm.Selector{Src: netip.PrefixFrom(theirs, 32), Dst: netip.PrefixFrom(ours, 32), Proto: 17, DstPort: slotPort, DstPortMask: 0xffff}
	if dir == xfrm.Out {
		s.Src, s.Dst, s.Direction = ours, theirs, xfrm.Out
		s.Selector, s.OutputMark, s.ReplayWindow = xfrm.Selector{}, xfrm.Mark{}, 0
	}
	return s
}

// connected makes a client with a tunnel.
func (d *daemon) connected(t *testing.T) *client.Socket {
	t.Helper()
	socket, err := d.Sockets(d.poller).OpenClient(ours, slotPort, slotMark)
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Connect(peer); !errors.Is(err, udp.ErrNoSA) {
		t.Errorf("connecting without an SA: %v", err)
	}
	if err := errors.Join(d.SAs().Add(association(xfrm.In, 0x1000)), d.SAs().Add(association(xfrm.Out, 0x2000))); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(socket.Connect(peer), d.Tunnels().CreateTunnel(slotPort, 7)); err != nil {
		t.Fatal(err)
	}
	return socket
}

// session makes a session in the kernel. One of the same number in the tunnel of the test before goes away in its own time.
func (d *daemon) session(t *testing.T, id, peerID uint16) {
	t.Helper()
	eventually(t, "open a session", func() (string, bool) {
		err := d.Tunnels().OpenSession(slotPort, id, 7, peerID)
		if err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		return fmt.Sprint(err), err == nil
	})
}

// untouched fails if anything of ours is left in the kernel.
func untouched(t *testing.T) {
	t.Helper()
	sas, err := xfrm.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer sas.Close()
	states, err := sas.List()
	if err != nil || len(states) > 0 {
		t.Errorf("SAs are left: %v, %v", states, err)
	}
	l2tp, err := l2tpnl.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer l2tp.Close()
	eventually(t, "the kernel has deleted all tunnels", func() (string, bool) {
		tunnels, err := l2tp.Tunnels()
		return fmt.Sprintf("%v, %v", tunnels, err), err == nil && len(tunnels) == 0
	})
	if _, err := steering.Read(steering.DefaultConfig()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the steering table is left: %v", err)
	}
	if strays, err := pppd.FindStrays(testSetup.Marker); err != nil || len(strays) > 0 {
		t.Errorf("pppd are left: %v, %v", strays, err)
	}
}

// TestKernelDaemons lets two daemons follow each other: what the first has made is there for the second.
func TestKernelDaemons(t *testing.T) {
	addresses(t)
	k := start(t, nil)
	first := serve(t, k.path, testSetup)
	if len(first.IKE) < 4 || len(first.Clients)+len(first.Sessions)+len(first.Processes)+len(first.Records)+len(first.Held) > 0 {
		t.Errorf("a fresh keeper has %+v", first.Inventory)
	}
	socket := first.connected(t)
	first.session(t, 9, 11)
	if err := first.Tunnels().OpenSession(slotPort, 9, 7, 11); !errors.Is(err, os.ErrExist) {
		t.Errorf("the same session again: %v", err)
	}
	first.leave(t, socket)

	second := serve(t, k.path, testSetup)
	if w := second.Welcome(); w.Setup == nil || w.Setup.Steering.Tag != steering.DefaultTag {
		t.Errorf("the second is told of %+v", w.Setup)
	}
	if len(second.IKE) != len(first.IKE) && len(second.IKE) < 4 || !slices.Equal(second.Sessions, []client.Session{{Tunnel: slotPort, Session: 9}}) {
		t.Errorf("the second has %+v", second.Inventory)
	}
	if len(second.Clients) != 1 || second.Clients[0].Remote != peer || second.Clients[0].Tunnel == nil || second.Clients[0].Port != slotPort {
		t.Fatalf("its clients: %+v", second.Clients)
	}
	ike, err := udp.NewIKE(second.IKE)
	if err != nil {
		t.Fatal(err)
	}
	second.IKE = nil
	if addrs := ike.LocalAddrs(); !slices.Contains(addrs, netip.MustParseAddrPort("0.0.0.0:4500")) {
		t.Errorf("IKE at %v", addrs)
	}
	defer ike.Close()
	adopted, err := second.Sockets(second.poller).Adopt(second.Clients[0])
	if err != nil {
		t.Fatal(err)
	}
	second.Clients = nil
	if err := adopted.Send(peer, []byte{0xc8, 2, 0, 12, 0, 7, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Error(err)
	}
	sas, err := second.SAs().List()
	if err != nil || len(sas) != 2 {
		t.Errorf("SAs: %v, %v", sas, err)
	}
	for _, s := range sas {
		if s.AEAD == nil || len(s.AEAD.Key) == 0 || bytes.ContainsFunc(s.AEAD.Key, func(r rune) bool { return r != 0 }) { // only how long it is
			t.Errorf("the algorithm of %s: %+v", s, s.AEAD)
		}
	}
	tunnels, err := second.Tunnels().Tunnels()
	if err != nil || len(tunnels) != 1 || tunnels[0].ID != slotPort || tunnels[0].PeerID != 7 || tunnels[0].Remote != peer {
		t.Errorf("tunnels: %+v, %v", tunnels, err)
	}
	session, err := second.Tunnels().Session(slotPort, 9)
	if err != nil || session.PeerID != 11 || !session.UsingIPsec {
		t.Errorf("session: %+v, %v", session, err)
	}
	if err := second.Egress().Encrypts(ours, theirs, slotMark); err != nil {
		t.Error(err)
	}

	// It takes all of it away again, and the slot can have the next tunnel.
	if err := errors.Join(second.Tunnels().CloseSession(slotPort, 9), second.Tunnels().DeleteTunnel(slotPort), adopted.Disconnect()); err != nil {
		t.Fatal(err)
	}
	if err := adopted.Connect(peer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "create the next tunnel", func() (string, bool) {
		err := second.Tunnels().CreateTunnel(slotPort, 8)
		if err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		return fmt.Sprint(err), err == nil
	})
	if err := adopted.Close(); err != nil {
		t.Error(err)
	}
	if _, err := second.SAs().Delete(association(xfrm.In, 0x1000).ID); err != nil {
		t.Error(err)
	}
	if err := second.Shutdown(t.Context()); err != nil { // with an SA, which the keeper removes
		t.Fatal(err)
	}
	k.ended(t)
	untouched(t)
}

// TestKernelSweep leaves what a keeper that was killed would leave.
func TestKernelSweep(t *testing.T) {
	addresses(t)
	sas, err := xfrm.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer sas.Close()
	foreign := association(xfrm.Out, 0x3000)
	foreign.ReqID = 1
	if err := errors.Join(sas.Add(association(xfrm.Out, 0x2000)), sas.Add(foreign)); err != nil {
		t.Fatal(err)
	}
	k := start(t, nil)
	d := serve(t, k.path, testSetup)
	left, err := sas.List()
	if err != nil || len(left) != 1 || left[0].ID != foreign.ID {
		t.Errorf("SAs after the setup: %v, %v", left, err)
	}
	if err := errors.Join(sas.Delete(foreign.ID), d.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
	k.ended(t)
	untouched(t)
}

// TestKernelWatch takes SAs and the table away, and the daemon hears of it.
func TestKernelWatch(t *testing.T) {
	addresses(t)
	k := start(t, nil)
	d := serve(t, k.path, testSetup)
	restored := make(chan steering.Restoration, 10)
	d.Handle(client.Handlers{Restoration: func(r steering.Restoration) { restored <- r }})
	m, err := d.Monitor()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	st := association(xfrm.Out, 0x2000)
	if err := d.SAs().Add(st); err != nil {
		t.Fatal(err)
	}
	sas, err := xfrm.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer sas.Close()
	if err := sas.Delete(st.ID); err != nil {
		t.Fatal(err)
	}
	events, err := m.Receive()
	if err != nil || len(events) != 1 || events[0] != (xfrm.Deleted{ID: st.ID, ReqID: slotMark}) {
		t.Errorf("events: %v, %v", events, err)
	}

	if intact, err := d.Steering().Intact(); err != nil || !intact {
		t.Errorf("the table is intact: %v, %v", intact, err)
	}
	if err := steering.Remove(steering.DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-restored:
		if !r.Missing || r.Err != nil || r.PID == 0 {
			t.Errorf("%+v", r)
		}
	case <-time.After(patience):
		t.Fatal("nobody told of the missing table")
	}
	if packets, err := d.Steering().Read(); err != nil || len(packets) == 0 {
		t.Errorf("counters: %v, %v", packets, err)
	}

	// Who may do without IPsec may change: the table is another, and guarded.
	s := testSetup
	s.Steering.PlainPeers = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	i, err := d.Setup(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	i.Close()
	if intact, err := d.Steering().Intact(); err != nil || !intact {
		t.Errorf("the other table is intact: %v, %v", intact, err)
	}
	if err := steering.Remove(steering.DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	if r := <-restored; !r.Missing || r.Err != nil {
		t.Errorf("%+v", r)
	}
	d.Inventory.Close()
	// Another address to listen on, once nobody has copies of the old sockets.
	s.Listen = []netip.Addr{ours}
	if i, err = d.Setup(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, f := range i.IKE {
		if f.Local.Addr() != ours {
			t.Errorf("IKE listens on %s", f.Local)
		}
	}
	if len(i.IKE) != 4 {
		t.Errorf("%d sockets of IKE", len(i.IKE))
	}
	i.Close()
	s.Listen = []netip.Addr{netip.MustParseAddr("192.0.2.99")} // nobody's
	if _, err := d.Setup(t.Context(), s); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("an address that is not there: %v", err)
	}
	s.Listen = []netip.Addr{ours} // as it was
	if i, err = d.Setup(t.Context(), s); err != nil || len(i.IKE) != 4 {
		t.Errorf("after that: %d sockets, %v", len(i.IKE), err)
	}
	i.Close()
	if err := d.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.ended(t)
	untouched(t)
}
