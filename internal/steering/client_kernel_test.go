//go:build kernel

package steering

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func eachFamily(t *testing.T, test func(t *testing.T, n *network)) {
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "ipv4", true: "ipv6"}[v6], func(t *testing.T) { test(t, newNetwork(t, v6)) })
	}
}

func TestClientReachesItsPort(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network) {
		for _, checksum := range []bool{true, false} {
			for sport, payload := range map[uint16][]byte{
				1701:  control(),
				40000: data(false, testPort, 0xff, 0x03, 0xc0, 0x21, 1),
				40001: data(true, testPort, 0xff, 0x03, 0xc0, 0x21),
				40002: data(false, testPort), // the shortest headers
				40003: data(true, testPort),
				40004: append([]byte{0x4a, 0x02}, append(data(true, testPort)[2:], 0, 0, 0, 0, 1)...), // L, S, O; odd length
			} {
				why := fmt.Sprintf("%x with checksum: %v", payload, checksum)
				n.send(netip.AddrPortFrom(n.client, sport), l2tpPort, checksum, payload)
				n.wantArrived(why, sport, checksum, payload)
				n.wantDelta("steered_in+1", why)
			}
		}
	})
}

func TestForeignTunnelIDIsDropped(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network) {
		for _, checksum := range []bool{true, false} {
			for _, id := range []uint16{0, 1, foreignPort, testPort - 1, testPort ^ 0xffff, testPort&0xff<<8 | testPort>>8, probeChecksum, 0xffff} {
				for _, length := range []bool{true, false} {
					why := fmt.Sprintf("tunnel id %#x, length %v, checksum %v", id, length, checksum)
					n.send(netip.AddrPortFrom(n.client, 1701), l2tpPort, checksum, data(length, id, 0xff, 0x03))
					n.wantDelta("foreign_tunnel_id+1", why)
				}
			}
		}
		n.wantNothing("foreign tunnel ids")
	})
}

func TestOnlyL2TPv2LeavesTheClientsSA(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network) {
		from := netip.AddrPortFrom(n.client, 1701)
		n.send(from, testPort, true, data(false, foreignPort))
		n.wantDelta("outside_l2tp+1", "directly to the port of the client")
		n.send(from, foreignPort, true, data(false, foreignPort))
		n.wantDelta("outside_l2tp+1", "to the port of another client")
		n.send(from, 53, true, control())
		n.wantDelta("outside_l2tp+1", "to another service")

		for _, full := range [][]byte{data(false, testPort), data(true, testPort)} {
			for k := range len(full) {
				n.send(from, l2tpPort, k%2 == 0, full[:k])
				n.wantDelta("malformed+1", fmt.Sprintf("truncated %x", full[:k]))
			}
		}
		for _, flags := range []uint16{0x0001, 0x0003, 0x0000, 0x000a, 0x4003, 0xc803, 0xc801, 0xc800} {
			p := append(be16(flags), control()[2:]...)
			n.send(from, l2tpPort, true, p)
			n.wantDelta("malformed+1", fmt.Sprintf("version of %x", p))
		}
		n.wantNothing("what is not L2TPv2")
	})
}

func TestL2TPWithoutTheClientsSAIsDropped(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network) {
		for _, p := range [][]byte{control(), data(false, testPort)} {
			n.send(netip.AddrPortFrom(n.plainClient, 1701), l2tpPort, true, p)
			n.wantDelta("plain_l2tp+1", "in clear")
			n.send(netip.AddrPortFrom(n.otherPeer, 1701), l2tpPort, true, p)
			n.wantDelta("foreign_sa+1", "out of another SA")
		}
		n.wantNothing("not from the client's SA")
	})
}

// A fragment header inside of ESP (IPv6 only; ESP of IPv4 in transport mode carries no fragments).
func TestFragmentsInsideTheSA(t *testing.T) {
	n := newNetwork(t, true)
	run(t, "nft", "delete table ip6 nat") // connection tracking would reassemble them before our hook
	n.enter(n.clientNS)
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ESP)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, sockaddr(netip.AddrPortFrom(n.plainClient, 0)))) // or it would be encrypted again
	n.enter(n.serverNS)

	l2tp := data(false, foreignPort, make([]byte, 10)...) // 16 octets
	datagram := append(append(append(be16(1701), be16(1701)...), be16(uint16(8+len(l2tp)))...), 0, 0)
	datagram = append(datagram, l2tp...)
	fragment := func(id byte, offset int, more byte, part []byte) {
		t.Helper()
		h := []byte{unix.IPPROTO_UDP, 0, byte(offset >> 8), byte(offset) | more, 0, 0, 0, id}
		packet := encrypt(t, uint32(id), unix.IPPROTO_FRAGMENT, append(h, part...))
		must(t, unix.Sendto(fd, packet, 0, sockaddr(netip.AddrPortFrom(n.server, 0))))
	}
	fragment(1, 0, 0, datagram)
	n.wantDelta("foreign_tunnel_id+1", "atomic fragment")
	fragment(2, 0, 1, datagram[:8])
	n.wantDelta("malformed+1", "first fragment without L2TP header")
	fragment(3, 8, 0, datagram[8:])
	n.wantDelta("outside_l2tp+1", "last fragment")
	n.wantNothing("fragments")
}

// encrypt is ESP (RFC 4303) with the keys of the client's SA, for what the kernel does not send.
func encrypt(t *testing.T, seq uint32, next byte, payload []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(testCipherKey)
	must(t, err)
	pad := byte(0)
	for ; (len(payload)+2)%aes.BlockSize != 0; pad++ {
		payload = append(payload, pad+1)
	}
	payload = append(payload, pad, next)
	out := binary.BigEndian.AppendUint32(nil, 0x1000)
	out = binary.BigEndian.AppendUint32(out, seq)
	iv := make([]byte, aes.BlockSize)
	out = append(out, iv...)
	k := len(out)
	out = append(out, payload...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out[k:], out[k:])
	mac := hmac.New(sha256.New, testAuthKey)
	mac.Write(out)
	return append(out, mac.Sum(nil)[:16]...)
}

func TestReplyComesFromPort1701(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network) {
		const mark = 0x1701<<16 | testPort
		client := n.socket(n.clientNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.client, 40000))
		to := sockaddr(netip.AddrPortFrom(n.client, 40000))
		server := n.socket(n.serverNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.server, testPort))
		must(t, unix.SetsockoptInt(server, unix.SOL_SOCKET, unix.SO_MARK, mark))
		for _, checksum := range []bool{true, false} {
			if !checksum {
				n.noChecksum(server)
			}
			must(t, unix.Sendto(server, control(), 0, to))
			got, from := n.awaitFrom(client)
			if len(got) != len(control()) {
				t.Fatalf("checksum %v: the client got %x", checksum, got)
			}
			port := 0
			switch a := from.(type) {
			case *unix.SockaddrInet4:
				port = a.Port
			case *unix.SockaddrInet6:
				port = a.Port
			}
			if port != l2tpPort {
				t.Errorf("checksum %v: the reply came from port %d", checksum, port)
			}
			n.wantDelta("steered_out+1", "reply")
		}
		run(t, "ip", "-n", "steer-s", "xfrm", "policy", "flush")
		if err := unix.Sendto(server, control(), 0, to); !errors.Is(err, unix.EPERM) {
			t.Errorf("send without IPsec: %v, want EPERM", err)
		}
		n.wantDelta("clear_output+1", "no policy")
	})
}

func TestSpoofedInnerSource(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network) {
		prefix, bits, host := "10.99.0.", 24, 32
		if n.server.Is6() {
			prefix, bits, host = "fd99::", 64, 128
		}
		user := n.namespace("steer-u")
		for _, args := range [][]string{
			{"ip", "-n", "steer-s", "link", "add", "l2t16385-1", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "ppp0", "netns", "steer-u"},
			{"ip", "-n", "steer-s", "link", "set", "l2t16385-1", "up"},
			{"ip", "-n", "steer-u", "link", "set", "ppp0", "up"},
			append([]string{"ip", "-n", "steer-s", "addr", "add", prefix + "1/" + fmt.Sprint(host), "dev", "l2t16385-1"}, strings.Fields(noDAD(n.server.Is6()))...),
			{"ip", "-n", "steer-s", "route", "add", prefix + "2/" + fmt.Sprint(host), "dev", "l2t16385-1"},
			{"ip", "-n", "steer-u", "route", "add", prefix + "1/" + fmt.Sprint(host), "dev", "ppp0"},
			{"ip", "-n", "steer-u", "neigh", "add", prefix + "1", "lladdr", "02:00:00:00:00:01", "dev", "ppp0"},
		} {
			run(t, args...)
		}
		n.awaitCarrier("steer-s", "l2t16385-1")
		n.awaitCarrier("steer-u", "ppp0")
		n.clientNS = user
		server := n.server
		n.server = netip.MustParseAddr(prefix + "1")
		in := n.socket(n.serverNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.server, 9999))
		n.delta()
		for _, c := range []struct {
			source netip.Addr
			want   string
		}{
			{netip.MustParseAddr(prefix + "2"), ""},
			{netip.MustParseAddr(prefix + "3"), "spoofed_source+1"}, // another user's
			{n.client, "spoofed_source+1"},                          // from the outer network
			{server, "spoofed_source+1"},                            // the server's own
		} {
			a := []string{"ip", "-n", "steer-u", "addr", "add", fmt.Sprintf("%s/%d", c.source, bits), "dev", "ppp0"}
			run(t, append(a, strings.Fields(noDAD(server.Is6()))...)...)
			n.send(netip.AddrPortFrom(c.source, 5555), 9999, true, []byte("inner"))
			receive := n.receive
			if c.want == "" {
				receive = n.await
			}
			got := receive(in)
			if (string(got) == "inner") != (c.want == "") {
				t.Errorf("from %s: arrived %q", c.source, got)
			}
			n.wantDelta(c.want, "source "+c.source.String())
		}
	})
}
