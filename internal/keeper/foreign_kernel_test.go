//go:build kernel

package keeper

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// TestKernelTunnelOfAnother: a slot with a socket and without a tunnel gets no session in the tunnel that somebody else has made with its number.
func TestKernelTunnelOfAnother(t *testing.T) {
	addresses(t)
	k := start(t, nil)
	d := serve(t, k.path, testSetup)
	if err := errors.Join(d.SAs().Add(association(xfrm.In, 0x1000)), d.SAs().Add(association(xfrm.Out, 0x2000))); err != nil {
		t.Fatal(err)
	}
	socket, err := d.Sockets(d.poller).OpenClient(ours, slotPort, slotMark)
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Connect(peer); err != nil {
		t.Fatal(err)
	}
	theirSocket, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 17010}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 17011})
	if err != nil {
		t.Fatal(err)
	}
	defer theirSocket.Close()
	raw, err := theirSocket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	l2tp, err := l2tpnl.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer l2tp.Close()
	var made error
	if err := raw.Control(func(fd uintptr) { made = l2tp.CreateTunnel(l2tpnl.Tunnel{ID: slotPort, PeerID: 1, FD: int(fd)}) }); err != nil || made != nil {
		t.Fatal(err, made)
	}
	if err := d.Tunnels().OpenSession(slotPort, 9, 1, 9); !errors.Is(err, protocol.ErrNotOurs) {
		t.Errorf("a session in the tunnel of another: %v", err)
	}
	if all, err := l2tp.Sessions(); err != nil || len(all) > 0 {
		t.Errorf("sessions: %v, %v", all, err)
	}
	if all, err := d.Tunnels().Tunnels(); err != nil || len(all) > 0 {
		t.Errorf("tunnels that the daemon hears of: %v, %v", all, err)
	}
	d.leave(t, socket)
	d.Conn.Close()
	k.stop()
	k.ended(t)
	if _, err := l2tp.Tunnel(slotPort); err != nil {
		t.Errorf("the tunnel of another: %v", err)
	}
	if err := l2tp.DeleteTunnel(slotPort); err != nil {
		t.Error(err)
	}
	untouched(t)
}

// TestKernelChangeThatFails undoes what was done of it: nobody is let in without IPsec.
func TestKernelChangeThatFails(t *testing.T) {
	addresses(t)
	k := start(t, nil)
	d := serve(t, k.path, testSetup)
	s := testSetup
	s.Steering.PlainPeers = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	s.Listen = []netip.Addr{netip.MustParseAddr("203.0.113.99")} // nobody's
	if _, err := d.Setup(t.Context(), s); err == nil {
		t.Fatal("listens on an address that is not there")
	}
	m, err := k.ready()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.settings(); len(got.Steering.PlainPeers)+len(got.Listen) > 0 || len(m.plain) > 0 || len(m.ike) < 4 {
		t.Errorf("after a change that failed: %+v, %d sockets of IKE, %d of L2TP", got, len(m.ike), len(m.plain))
	}
	if intact, err := d.Steering().Intact(); err != nil || !intact {
		t.Errorf("the table: %t, %v", intact, err)
	}
	d.Inventory.Close()
	d.Conn.Close()
	k.stop()
	k.ended(t)
	untouched(t)
}
