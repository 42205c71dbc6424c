//go:build kernel

package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// TestKernelReconnect moves the SAs of a client with a session to another address of the client, and then the tunnel's socket: data go on both
// ways, through the tunnel, the session and the sockets that there were.
func TestKernelReconnect(t *testing.T) {
	for _, network := range []string{"192.0.2.%d/24", "2001:db8::%d/64"} {
		t.Run(network, func(t *testing.T) {
			lockThread(t)
			serverNS, clientNS := namespace(t, "udp-s"), namespace(t, "udp-c")
			ends := [3]string{fmt.Sprintf(network, 1), fmt.Sprintf(network, 2), fmt.Sprintf(network, 3)}
			cable(t, "udp-s", "eth0", ends[0], "udp-c", "eth0", ends[1])
			nodad := ""
			if netip.MustParsePrefix(ends[0]).Addr().Is6() {
				nodad = " nodad"
			}
			command(t, "ip -n udp-c addr add %s dev eth0%s", ends[2], nodad)
			var at [3]netip.Addr
			for i, end := range ends {
				at[i] = netip.MustParsePrefix(end).Addr()
			}
			serverAddr := at[0]
			const port, peerTunnel, session, peerSession = 0x4005, 7, 8, 9

			enter(t, clientNS)
			sas, err := xfrm.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer sas.Close()
			addSAs(t, sas, newSA(at[1], serverAddr, 0x1000, 1, xfrm.Out, false), newSA(serverAddr, at[1], 0x2000, 1, xfrm.In, false))
			remote, moved := netip.AddrPortFrom(at[1], 40000), netip.AddrPortFrom(at[2], 40000)
			peer, peerMoved := l2tpPeer(t, remote, true), l2tpPeer(t, moved, true)

			s := startServer(t, serverNS, serverAddr)
			in := forSlot(newSA(at[1], serverAddr, 0x1000, markOf(port), xfrm.In, false), port)
			addSAs(t, s.sas, in, newSA(serverAddr, at[1], 0x2000, markOf(port), xfrm.Out, false))
			slot := s.open(port)
			exchange(t, s, slot, peer, remote)
			if err := slot.Connect(remote); err != nil {
				t.Fatal(err)
			}
			l2tp, err := l2tpnl.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer l2tp.Close()
			if err := slot.WithTunnel(func(fd int) error {
				return l2tp.CreateTunnel(l2tpnl.Tunnel{ID: port, PeerID: peerTunnel, FD: fd})
			}); err != nil {
				t.Fatal(err)
			}
			ppp, err := l2tpnl.OpenSession(port, session, peerTunnel, peerSession)
			if err != nil {
				t.Fatal(err)
			}
			defer ppp.Close()
			server := netip.AddrPortFrom(serverAddr, l2tpPort)
			header := string(data(peerTunnel, peerSession, "\xff\x03"))
			sendFrame(t, ppp.Fd(), peer, server, header)

			if err := slot.Reconnect(moved); !errors.Is(err, ErrNoSA) {
				t.Errorf("before the SAs have moved: %v", err)
			}
			sendFrame(t, ppp.Fd(), peer, server, header) // still to where it was

			move := func(c *xfrm.Conn, id xfrm.ID, to xfrm.Place) {
				t.Helper()
				if _, err := c.Move(id, to); err != nil {
					t.Fatal(err)
				}
			}
			enter(t, serverNS)
			selector := in.Selector
			selector.Src = netip.PrefixFrom(at[2], at[2].BitLen())
			move(s.sas, in.ID, xfrm.Place{Src: at[2], Dst: serverAddr, Selector: selector})
			move(s.sas, xfrm.ID{Dst: at[1], SPI: 0x2000}, xfrm.Place{Src: serverAddr, Dst: at[2]})
			enter(t, clientNS)
			move(sas, xfrm.ID{Dst: serverAddr, SPI: 0x1000}, xfrm.Place{Src: at[2], Dst: serverAddr})
			move(sas, xfrm.ID{Dst: at[1], SPI: 0x2000}, xfrm.Place{Src: serverAddr, Dst: at[2]})
			enter(t, serverNS)
			if err := slot.Reconnect(moved); err != nil {
				t.Fatal(err)
			}

			for range 3 {
				sendFrame(t, ppp.Fd(), peerMoved, server, header)
			}
			for _, b := range [][]byte{data(port, session, "\xff\x03\xc0\x21frame"), control("hello")} {
				if _, err := peerMoved.WriteToUDPAddrPort(b, server); err != nil {
					t.Fatal(err)
				}
			}
			if r := s.next("hello"); r != (received{port, moved, string(control("hello"))}) {
				t.Errorf("received %+v", r)
			}
			eventually(t, "there is one session, with five packets sent and one received", func() (string, bool) {
				sessions, err := l2tp.Sessions()
				ok := err == nil && len(sessions) == 1 && sessions[0].Stats.RxPackets == 1 && sessions[0].Stats.TxPackets == 5
				return fmt.Sprintf("%+v, %v", sessions, err), ok
			})
		})
	}
}
