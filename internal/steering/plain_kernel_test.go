//go:build kernel

package steering

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The first plain peer has the tunnel 8193, the second one 8194; 8195 is the port of another program.
const (
	plainPort = 0x2001 + iota
	otherPlainPort
	servicePort
)

// lacs is a network with two plain peers and somebody who is not listed.
type lacs struct {
	*network
	lac, otherLAC, unlisted netip.Addr
	setup                   int // socket of port 1701
	tunnel, otherTunnel     int // connected
	service                 int // of another program
}

func newLACs(t *testing.T, v6 bool) *lacs {
	n := &lacs{network: newNetwork(t, v6)}
	subnet, bits := "10.9.0.", 24
	if v6 {
		subnet, bits = "fd09::", 64
	}
	n.lac, n.otherLAC, n.unlisted = n.plainClient, netip.MustParseAddr(subnet+"5"), netip.MustParseAddr(subnet+"6")
	for _, a := range []netip.Addr{n.otherLAC, n.unlisted} {
		run(t, append([]string{"ip", "-n", "steer-c", "addr", "add", fmt.Sprintf("%s/%d", a, bits), "dev", "eth0"}, strings.Fields(noDAD(v6))...)...)
	}
	for _, a := range []netip.Addr{n.lac, n.otherLAC, netip.MustParseAddr(map[bool]string{false: "10.77.0.1", true: "fd77::1"}[v6])} {
		n.cfg.PlainPeers = append(n.cfg.PlainPeers, netip.PrefixFrom(a, a.BitLen()))
	}
	must(t, Install(n.cfg))
	n.setup = n.socket(n.serverNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.server, l2tpPort))
	n.tunnel = n.connected(plainPort, netip.AddrPortFrom(n.lac, l2tpPort))
	n.otherTunnel = n.connected(otherPlainPort, netip.AddrPortFrom(n.otherLAC, l2tpPort))
	n.service = n.socket(n.serverNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.server, servicePort))
	n.delta()
	return n
}

// connected is a socket of a tunnel.
func (n *lacs) connected(port uint16, remote netip.AddrPort) int {
	n.t.Helper()
	fd := n.socket(n.serverNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.server, port))
	must(n.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 0x1701<<16|int(port)))
	must(n.t, unix.Connect(fd, sockaddr(remote)))
	return fd
}

func (n *lacs) wantSilence(why string) {
	n.t.Helper()
	for name, fd := range map[string]int{"1701": n.setup, "the tunnel": n.tunnel, "the other tunnel": n.otherTunnel, "the service": n.service, "the client": n.port} {
		if got := n.receive(fd); got != nil {
			n.t.Errorf("%s: %x arrived at %s", why, got, name)
		}
	}
}

func eachLACFamily(t *testing.T, test func(t *testing.T, n *lacs)) {
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "ipv4", true: "ipv6"}[v6], func(t *testing.T) { test(t, newLACs(t, v6)) })
	}
}

// controlFor is a control message for a tunnel.
func controlFor(tunnel uint16) []byte {
	b := control()
	copy(b[4:], be16(tunnel))
	return b
}

func TestPlainPeerReachesItsTunnel(t *testing.T) {
	eachLACFamily(t, func(t *testing.T, n *lacs) {
		from := netip.AddrPortFrom(n.lac, l2tpPort)
		for _, checksum := range []bool{true, false} {
			n.send(netip.AddrPortFrom(n.lac, 40000), l2tpPort, checksum, control())
			if got := n.await(n.setup); !bytes.Equal(got, control()) {
				t.Errorf("checksum %v: port 1701 got %x, want an SCCRQ", checksum, got)
			}
			n.wantDelta("plain_setup+1", "a message without tunnel id")
			for _, payload := range [][]byte{
				controlFor(plainPort),
				data(false, plainPort, 0xff, 0x03, 0xc0, 0x21, 1),
				data(true, plainPort, 0xff, 0x03, 0xc0, 0x21),
				data(false, plainPort), // the shortest headers
				data(true, plainPort),
			} {
				why := fmt.Sprintf("%x with checksum: %v", payload, checksum)
				n.send(from, l2tpPort, checksum, payload)
				if got := n.await(n.tunnel); !bytes.Equal(got, payload) {
					t.Errorf("%s: the tunnel's socket got %x", why, got)
				}
				n.wantDelta("plain_in+1", why)
			}
		}
		n.wantSilence("after all was received")
	})
}

func TestPlainPeerReachesNothingElse(t *testing.T) {
	eachLACFamily(t, func(t *testing.T, n *lacs) {
		from := netip.AddrPortFrom(n.lac, l2tpPort)
		for _, checksum := range []bool{true, false} {
			for _, id := range []uint16{1, testPort, foreignPort, otherPlainPort, servicePort, plainPort + 100, plainPort | 0x8000, plainPort ^ 0x2000, l2tpPort, 500, 0xffff} {
				for _, payload := range [][]byte{data(false, id, 0xff, 3), data(true, id, 0xff, 3), controlFor(id)} {
					n.send(from, l2tpPort, checksum, payload)
					n.wantDelta("plain_foreign+1", fmt.Sprintf("%x with checksum: %v", payload, checksum))
				}
			}
		}
		for _, c := range []struct {
			why, want string
			from      netip.AddrPort
			port      uint16
			payload   []byte
		}{
			{"data without a tunnel", "plain_foreign+1", from, l2tpPort, data(false, 0, 0xff, 3)},
			{"data with length without a tunnel", "plain_foreign+1", from, l2tpPort, data(true, 0, 0xff, 3)},
			{"the tunnel of the other peer", "plain_foreign+1", netip.AddrPortFrom(n.otherLAC, l2tpPort), l2tpPort, data(true, plainPort)},
			{"from another port", "plain_foreign+1", netip.AddrPortFrom(n.lac, 40000), l2tpPort, data(true, plainPort)},
			{"directly to its port", "plain_foreign+1", from, plainPort, data(false, otherPlainPort)},
			{"directly to its port, for a client's tunnel", "plain_foreign+1", from, plainPort, data(true, testPort)},
			{"directly, beginning a tunnel", "plain_foreign+1", from, plainPort, control()},
			{"without IPsec, not listed", "plain_l2tp+1", netip.AddrPortFrom(n.unlisted, l2tpPort), l2tpPort, control()},
			{"data without IPsec, not listed", "plain_l2tp+1", netip.AddrPortFrom(n.unlisted, l2tpPort), l2tpPort, data(false, plainPort)},
			{"a client", "foreign_tunnel_id+1", netip.AddrPortFrom(n.client, l2tpPort), l2tpPort, data(false, plainPort)},
			{"directly, from a client's SA", "outside_l2tp+1", netip.AddrPortFrom(n.client, l2tpPort), plainPort, data(false, plainPort)},
			{"out of another SA", "foreign_sa+1", netip.AddrPortFrom(n.otherPeer, l2tpPort), l2tpPort, data(false, plainPort)},
		} {
			n.send(c.from, c.port, true, c.payload)
			n.wantDelta(c.want, c.why)
		}
		for _, full := range [][]byte{data(false, plainPort), data(true, plainPort), controlFor(plainPort)[:8], control()} {
			for k := range len(full) {
				if full[0] == 0xc8 && k >= 8 {
					continue // with tunnel id 0 it is for nobody, but whole
				}
				n.send(from, l2tpPort, k%2 == 0, full[:k])
				n.wantDelta("malformed+1", fmt.Sprintf("truncated %x", full[:k]))
			}
		}
		for _, flags := range []uint16{0x0001, 0x0003, 0x0000, 0x000a, 0x4003, 0xc803, 0xc801, 0xc800, 0x8002, 0x8802} {
			n.send(from, l2tpPort, true, append(be16(flags), control()[2:]...))
			n.wantDelta("malformed+1", fmt.Sprintf("flags %04x", flags))
		}
		n.wantSilence("what is not its tunnel")

		n.send(netip.AddrPortFrom(n.unlisted, 5000), servicePort, true, []byte("hello"))
		n.send(from, servicePort, true, []byte("hello"))
		for range 2 {
			if got := n.await(n.service); string(got) != "hello" {
				t.Errorf("another program in the block of ports got %q", got)
			}
		}
		n.wantDelta("", "another program")
	})
}

func TestPlainPeerWithAnotherSource(t *testing.T) {
	eachLACFamily(t, func(t *testing.T, n *lacs) {
		spoofed := n.cfg.PlainPeers[2]
		v6 := n.server.Is6()
		run(t, append([]string{"ip", "-n", "steer-c", "addr", "add", spoofed.String(), "dev", "eth0"}, strings.Fields(noDAD(v6))...)...)
		for _, p := range [][]byte{control(), data(true, plainPort)} {
			n.send(netip.AddrPortFrom(spoofed.Addr(), l2tpPort), l2tpPort, true, p)
			n.wantDelta("spoofed_source+1", "a listed address that is not routed to the interface")
		}
		n.cfg.InterfacePrefix = "eth" // as if they were users of ours
		must(t, Install(n.cfg))
		n.send(netip.AddrPortFrom(n.lac, l2tpPort), l2tpPort, true, control())
		n.wantDelta("plain_l2tp+1", "by a PPP interface")
		n.wantSilence("forged")
	})
}

func TestPlainReply(t *testing.T) {
	eachLACFamily(t, func(t *testing.T, n *lacs) {
		lac := n.socket(n.clientNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.lac, l2tpPort))
		must(t, unix.Connect(lac, sockaddr(netip.AddrPortFrom(n.server, l2tpPort)))) // so it hears port 1701 only
		for _, checksum := range []bool{true, false} {
			if !checksum {
				n.noChecksum(n.tunnel)
			}
			must(t, unix.Send(n.tunnel, control(), 0))
			if got := n.await(lac); !bytes.Equal(got, control()) {
				t.Errorf("checksum %v: the peer got %x", checksum, got)
			}
			n.wantDelta("plain_out+1", "reply")
		}
		stranger := n.connected(plainPort+10, netip.AddrPortFrom(n.unlisted, l2tpPort))
		if err := unix.Send(stranger, control(), 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("send to who is not listed: %v, want EPERM", err)
		}
		n.wantDelta("clear_output+1", "not listed")
		must(t, unix.Sendto(n.service, []byte("hello"), 0, sockaddr(netip.AddrPortFrom(n.lac, l2tpPort))))
		n.wantDelta("", "another program in the block")
	})
}
