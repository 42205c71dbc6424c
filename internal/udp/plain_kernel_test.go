//go:build kernel

package udp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
)

// plainTunnel is a tunnel without IPsec with one session, in the kernel.
type plainTunnel struct {
	port, session, peer uint16 // the peer's ids are the same for both
	ppp                 *os.File
}

// TestKernelPlainTunnels has two LACs with two tunnels each, whose data go to their own sessions and nowhere else.
func TestKernelPlainTunnels(t *testing.T) {
	for _, network := range []string{"192.0.2.%d/24", "2001:db8::%d/64"} {
		t.Run(network, func(t *testing.T) {
			lockThread(t)
			serverNS, lacNS := namespace(t, "udp-s"), namespace(t, "udp-c")
			cable(t, "udp-s", "eth0", fmt.Sprintf(network, 1), "udp-c", "eth0", fmt.Sprintf(network, 2))
			nodad := ""
			if strings.Contains(network, ":") {
				nodad = "nodad"
			}
			command(t, "ip -n udp-c addr add %s dev eth0 %s", fmt.Sprintf(network, 3), nodad)
			addr := func(i int) netip.Addr { return netip.MustParsePrefix(fmt.Sprintf(network, i)).Addr() }

			enter(t, lacNS)
			lacs := []*net.UDPConn{plainPeer(t, addr(2)), plainPeer(t, addr(3))}
			s := startServer(t, serverNS, addr(1))
			table := steering.DefaultConfig()
			table.PlainPeers = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf(network, 1)).Masked()}
			if err := steering.Install(table); err != nil {
				t.Fatal(err)
			}
			files, err := OpenPlain([]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()})
			if err != nil {
				t.Fatal(err)
			}
			_, begun := runPlain(t, files)
			l2tp, err := l2tpnl.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer l2tp.Close()

			at := netip.AddrPortFrom(s.addr, l2tpPort)
			var tunnels []plainTunnel
			for i := range 4 {
				lac := lacs[i/2]
				send(t, lac, at, setup())
				d := within(t, begun, "an SCCRQ")
				if d.Local != at || d.Remote != addrOf(lac) {
					t.Fatalf("an SCCRQ from %s to %s, want %s to %s", d.Remote, d.Local, addrOf(lac), at)
				}
				tunnels = append(tunnels, s.plain(l2tp, d.Remote, plainTunnel{port: 0x2005 + uint16(i), session: 8 + uint16(i), peer: 20 + uint16(i)}))
			}
			received := func() (n [4]uint64) {
				t.Helper()
				sessions, err := l2tp.Sessions()
				if err != nil {
					t.Fatal(err)
				}
				for _, one := range sessions {
					n[one.TunnelID-0x2005] = one.Stats.RxPackets
				}
				return n
			}
			for i, tunnel := range tunnels {
				lac := lacs[i/2]
				send(t, lac, at, data(tunnel.port, tunnel.session, "\xff\x03\xc0\x21frame"))
				send(t, lac, at, controlTo(tunnel.port, "hello"))
				if r := s.next("hello"); r != heard(tunnel.port, lac, "hello") {
					t.Errorf("received %+v, want a message for %d", r, tunnel.port)
				}
				sendFrame(t, tunnel.ppp.Fd(), lac, at, string(data(tunnel.peer, tunnel.peer, "\xff\x03")))
			}
			eventually(t, "sessions have received one packet each", func() (string, bool) {
				n := received()
				return fmt.Sprint(n), n == [4]uint64{1, 1, 1, 1}
			})

			// The second LAC names the tunnels of the first, by the front door and by ports that it has the key to.
			stranger := tunnels[0]
			send(t, lacs[1], at, data(stranger.port, stranger.session, "\xff\x03injected"))
			send(t, lacs[1], netip.AddrPortFrom(s.addr, stranger.port), data(stranger.port, stranger.session, "\xff\x03injected"))
			send(t, lacs[1], netip.AddrPortFrom(s.addr, tunnels[2].port), data(stranger.port, stranger.session, "\xff\x03injected"))
			send(t, lacs[1], at, data(tunnels[2].port, stranger.session, "\xff\x03injected"))
			send(t, lacs[1], at, controlTo(tunnels[2].port, "last"))
			s.next("the last message")
			eventually(t, "4 beginnings and 2 packets to ports are counted", func() (string, bool) {
				counters, err := steering.Read(table)
				return fmt.Sprintf("%+v, %v", counters, err), err == nil && counters.PlainForeign.Packets == 2 && counters.PlainSetup.Packets == 4
			})
			if n := received(); n != [4]uint64{1, 1, 1, 1} {
				t.Errorf("after injections sessions received %v", n)
			}
		})
	}
}

// plainPeer is the socket of a LAC.
func plainPeer(t *testing.T, local netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, l2tpPort)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t *testing.T, from *net.UDPConn, to netip.AddrPort, b []byte) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(b, to); err != nil {
		t.Fatal(err)
	}
}

// controlTo is a control message for a tunnel, as far as the steering table looks; setup is for none.
func controlTo(tunnel uint16, text string) []byte {
	return append([]byte{0xc8, 0x02, 0, 20, byte(tunnel >> 8), byte(tunnel), 0, 0, 0, 0, 0, 0}, text...)
}

func setup() []byte { return controlTo(0, "SCCRQ") }

func heard(slot uint16, from *net.UDPConn, text string) received {
	return received{slot, addrOf(from), string(controlTo(slot, text))}
}

// plain puts a tunnel with a session into the kernel.
func (s *server) plain(l2tp *l2tpnl.Conn, remote netip.AddrPort, tunnel plainTunnel) plainTunnel {
	s.t.Helper()
	c, err := OpenPlainClient(s.addr, tunnel.port, markOf(tunnel.port))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	h, err := newHalves(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = h.slot.Close() })
	if err := s.poller.Add(h.slot); err != nil {
		s.t.Fatal(err)
	}
	if err := h.Connect(remote); err != nil {
		s.t.Fatal(err)
	}
	if err := c.WithTunnel(func(fd int) error {
		return l2tp.CreateTunnel(l2tpnl.Tunnel{ID: uint32(tunnel.port), PeerID: uint32(tunnel.peer), FD: fd})
	}); err != nil {
		s.t.Fatal(err)
	}
	if tunnel.ppp, err = l2tpnl.OpenSession(tunnel.port, tunnel.session, tunnel.peer, tunnel.peer); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = tunnel.ppp.Close() })
	return tunnel
}
