//go:build kernel

package steering

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The client of these tests has the port 16385 (mark 0x17014001); 16386 would be somebody else's.
const (
	testPort                   = 0x4001
	foreignPort                = 0x4002
	udpNoCheckTX, udpNoCheckRX = 101, 102 // UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX
)

// patience is how long a test waits for what is to come, on a machine that has other things to do.
const patience = 20 * time.Second

// eventually waits until something is so; state is for the message of the test that it is not.
func eventually(t testing.TB, what string, done func() (state string, ok bool)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		state, ok := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v: %s", what, patience, state)
		}
	}
}

// Keys need not be secret here.
var testAuthKey, testCipherKey = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 16)

// sendPlain sends L2TP control messages in clear over loopback.
func sendPlain(t testing.TB, n int) {
	t.Helper()
	c, err := net.Dial("udp4", "127.0.0.1:1701")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range n {
		if _, err := c.Write(control()); err != nil {
			t.Fatal(err)
		}
	}
}

// network is a client and a server joined by a cable and by ESP transport SAs, with connection tracking and masquerading
// of everything on the server.
type network struct {
	t                      testing.TB
	clientNS, serverNS     netns.NsHandle
	client, server         netip.Addr // their packets to each other are encrypted by the client's SAs
	plainClient, otherPeer netip.Addr // packets to server: not encrypted, encrypted by an SA without mark
	port, raw              int        // server sockets: UDP on testPort, raw UDP
	cfg                    Config
	before                 Counters
}

func newNetwork(t testing.TB, v6 bool) *network {
	newNamespace(t)
	n := &network{t: t, cfg: DefaultConfig()}
	subnet, host, icmp := "10.9.0.", 32, "ip"
	if v6 {
		subnet, host, icmp = "fd09::", 128, "ip6"
	}
	addr := func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprint(subnet, i)) }
	n.client, n.server, n.plainClient, n.otherPeer = addr(1), addr(2), addr(3), addr(4)
	n.clientNS, n.serverNS = n.namespace("steer-c"), n.namespace("steer-s")
	sh := func(ns, format string, args ...any) {
		t.Helper()
		run(t, append([]string{"ip", "-n", "steer-" + ns}, strings.Fields(fmt.Sprintf(format, args...))...)...)
	}
	const clientMAC, serverMAC = "02:00:00:00:09:01", "02:00:00:00:09:02"
	sh("c", "link add eth0 address %s type veth peer name eth0 address %s netns steer-s", clientMAC, serverMAC)
	for _, ns := range []string{"c", "s"} {
		sh(ns, "link set lo up")
		sh(ns, "link set eth0 up")
	}
	n.awaitCarrier("steer-c", "eth0")
	n.awaitCarrier("steer-s", "eth0")
	bits := 24
	if v6 {
		bits = 64
	}
	for _, a := range []netip.Addr{n.client, n.plainClient, n.otherPeer} {
		sh("c", "addr add %s/%d dev eth0%s", a, bits, noDAD(v6))
	}
	sh("s", "addr add %s/%d dev eth0%s", n.server, bits, noDAD(v6))
	// The policies would encrypt neighbour advertisements, too.
	sh("c", "neigh add %s lladdr %s dev eth0", n.server, serverMAC)
	sh("s", "neigh add %s lladdr %s dev eth0", n.client, clientMAC)

	keys := []string{"auth-trunc", "hmac(sha256)", fmt.Sprintf("%#x", testAuthKey), "128", "enc", "cbc(aes)", fmt.Sprintf("%#x", testCipherKey)}
	sa := func(ns string, src, dst netip.Addr, spi, reqid int, more string) {
		t.Helper()
		args := strings.Fields(fmt.Sprintf("ip -n steer-%s xfrm state add src %s dst %s proto esp spi %d reqid %d mode transport", ns, src, dst, spi, reqid))
		run(t, append(append(args, keys...), strings.Fields(more)...)...)
	}
	policy := func(ns, dir string, src, dst netip.Addr, reqid int, selector string) {
		sh(ns, "xfrm policy add src %s/%d dst %s/%d %s dir %s tmpl proto esp reqid %d mode transport", src, host, dst, host, selector, dir, reqid)
	}
	for _, ns := range []string{"c", "s"} {
		inbound, reply := "", ""
		if ns == "s" {
			inbound = fmt.Sprintf("output-mark %#x mask 0xffffffff sel src %s/%d dst %s/%d proto 17 dport %d", 0x1701<<16|testPort, n.client, host, n.server, host, testPort)
			reply = fmt.Sprintf("proto 17 sport %d", testPort)
		}
		sa(ns, n.client, n.server, 0x1000, 1, inbound)
		sa(ns, n.server, n.client, 0x1001, 1, "")
		sa(ns, n.otherPeer, n.server, 0x2000, 2, "")
		if ns == "c" {
			policy(ns, "out", n.client, n.server, 1, "")
			policy(ns, "out", n.otherPeer, n.server, 2, "")
			policy(ns, "in", n.server, n.client, 1, "proto 17")
		} else {
			policy(ns, "out", n.server, n.client, 1, reply)
		}
	}

	n.enter(n.serverNS)
	if err := Install(n.cfg); err != nil {
		t.Fatal(err)
	}
	run(t, "nft", fmt.Sprintf(`add table %[1]s nat
		add chain %[1]s nat post { type nat hook postrouting priority 100; }
		add rule %[1]s nat post masquerade
		add chain %[1]s nat in { type filter hook input priority 0; }
		add rule %[1]s nat in ct state invalid drop`, icmp))
	n.port = n.socket(n.serverNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.server, testPort))
	n.raw = n.socket(n.serverNS, unix.SOCK_RAW, netip.AddrPortFrom(n.server, 0))
	n.before = n.counters()
	return n
}

func noDAD(v6 bool) string {
	if v6 {
		return " nodad"
	}
	return ""
}

func (n *network) namespace(name string) netns.NsHandle {
	n.t.Helper()
	run(n.t, "ip", "netns", "add", name)
	n.t.Cleanup(func() { run(n.t, "ip", "netns", "del", name) })
	h, err := netns.GetFromName(name)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { h.Close() })
	return h
}

// awaitCarrier waits until a device can send: the kernel gives it its queue some time after the other end is up, and drops everything before.
func (n *network) awaitCarrier(ns, device string) {
	n.t.Helper()
	eventually(n.t, device+" is up", func() (string, bool) {
		is := run(n.t, "ip", "-n", ns, "link", "show", "dev", device)
		return is, strings.Contains(is, " state UP ")
	})
}

func (n *network) enter(h netns.NsHandle) {
	n.t.Helper()
	if err := netns.Set(h); err != nil {
		n.t.Fatal(err)
	}
}

// socket opens a UDP or raw UDP socket in a namespace; its receives give up after 200 ms.
func (n *network) socket(ns netns.NsHandle, kind int, local netip.AddrPort) int {
	n.t.Helper()
	n.enter(ns)
	defer n.enter(n.serverNS)
	family := unix.AF_INET
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { unix.Close(fd) })
	must(n.t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}))
	must(n.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	if family == unix.AF_INET6 && kind == unix.SOCK_DGRAM {
		must(n.t, unix.SetsockoptInt(fd, unix.IPPROTO_UDP, udpNoCheckRX, 1))
	}
	must(n.t, unix.Bind(fd, sockaddr(local)))
	return fd
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// noChecksum makes a UDP socket send checksum zero.
func (n *network) noChecksum(fd int) {
	n.t.Helper()
	if n.server.Is4() {
		must(n.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1))
	} else {
		must(n.t, unix.SetsockoptInt(fd, unix.IPPROTO_UDP, udpNoCheckTX, 1))
	}
}

// send sends one datagram from a new client socket to the server.
func (n *network) send(from netip.AddrPort, port uint16, checksum bool, payload []byte) {
	n.t.Helper()
	fd := n.socket(n.clientNS, unix.SOCK_DGRAM, from)
	if !checksum {
		n.noChecksum(fd)
	}
	must(n.t, unix.Sendto(fd, payload, 0, sockaddr(netip.AddrPortFrom(n.server, port))))
	unix.Shutdown(fd, unix.SHUT_RDWR)
}

// await receives what is to come.
func (n *network) await(fd int) []byte {
	n.t.Helper()
	b, _ := n.awaitFrom(fd)
	return b
}

func (n *network) awaitFrom(fd int) ([]byte, unix.Sockaddr) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if b, from := n.receiveFrom(fd); b != nil || time.Now().After(deadline) {
			return b, from
		}
	}
}

// receive is for what is not to come.
func (n *network) receive(fd int) []byte {
	n.t.Helper()
	b, _ := n.receiveFrom(fd)
	return b
}

func (n *network) receiveFrom(fd int) ([]byte, unix.Sockaddr) {
	n.t.Helper()
	buf := make([]byte, 4096)
	for {
		k, from, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case err == nil:
			return buf[:k], from
		case errors.Is(err, unix.EAGAIN):
			return nil, nil
		case !errors.Is(err, unix.EINTR):
			n.t.Fatal(err)
		}
	}
}

func (n *network) counters() Counters {
	n.t.Helper()
	c, err := Read(n.cfg)
	must(n.t, err)
	return c
}

// delta returns by how many packets each counter grew since the last call.
func (n *network) delta() string {
	n.t.Helper()
	now := n.counters()
	var out []string
	before := n.before.named()
	for i, c := range now.named() {
		if d := c.Packets - before[i].Packets; d != 0 {
			out = append(out, fmt.Sprintf("%s+%d", c.name, d))
		}
	}
	n.before = now
	return strings.Join(out, " ")
}

// wantDelta waits until the counters grew as expected.
func (n *network) wantDelta(want, why string) {
	n.t.Helper()
	start := n.before
	var got string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		n.before = start
		if got = n.delta(); got == want {
			return
		}
	}
	n.t.Errorf("%s: counters %q, want %q", why, got, want)
}

// wantArrived checks the datagram that the server's socket got (which verifies the checksum) and the UDP header as it was delivered.
func (n *network) wantArrived(why string, sport uint16, checksum bool, payload []byte) {
	n.t.Helper()
	if got := n.await(n.port); !bytes.Equal(got, payload) {
		n.t.Errorf("%s: port %d got %x, want %x", why, testPort, got, payload)
	}
	header := n.await(n.raw)
	if n.server.Is4() && len(header) > 20 {
		header = header[20:]
	}
	if len(header) < 8 {
		n.t.Errorf("%s: no packet was delivered", why)
		return
	}
	if s, d := binary.BigEndian.Uint16(header), binary.BigEndian.Uint16(header[2:]); s != sport || d != testPort {
		n.t.Errorf("%s: delivered from port %d to port %d, want %d to %d", why, s, d, sport, testPort)
	}
	if has := binary.BigEndian.Uint16(header[6:]) != 0; has != checksum {
		n.t.Errorf("%s: delivered with checksum: %v, want %v", why, has, checksum)
	}
}

func (n *network) wantNothing(why string) {
	n.t.Helper()
	for fd := range map[int]bool{n.port: true, n.raw: true} {
		if got := n.receive(fd); got != nil {
			n.t.Errorf("%s: %x arrived", why, got)
		}
	}
}

func control() []byte { return []byte{0xc8, 0x02, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0} }

// data builds an L2TP data packet, with or without the length field, for a tunnel.
func data(length bool, tunnel uint16, extra ...byte) []byte {
	b := []byte{0x00, 0x02}
	if length {
		b = append([]byte{0x40, 0x02}, be16(uint16(8+len(extra)))...)
	}
	b = append(b, be16(tunnel)...)
	return append(append(b, be16(7)...), extra...)
}
