package udp

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// withoutIPsec stands for the options that need XFRM in the kernel; the tests with the tag "kernel" set them.
func withoutIPsec(int, bool, bool) error { return nil }

// startIKE listens on addrs, on ports that the kernel chooses, and returns what arrives.
func startIKE(t *testing.T, addrs ...netip.Addr) (*IKE, <-chan Datagram) {
	t.Helper()
	files, err := openIKE(IKEConfig{Addrs: addrs}, withoutIPsec)
	if err != nil {
		t.Fatal(err)
	}
	e, got, _ := runFiles(t, files)
	return e, got
}

// runFiles has an IKE read files; end closes it and waits for the readers.
func runFiles(t *testing.T, files []IKEFile) (e *IKE, received <-chan Datagram, end func()) {
	t.Helper()
	e, err := NewIKE(files)
	if err != nil {
		t.Fatal(err)
	}
	got, ended := make(chan Datagram, 100), make(chan error)
	go func() { ended <- e.Run(func(d Datagram) { got <- d }) }()
	end = sync.OnceFunc(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(end)
	return e, got, end
}

func peer(t *testing.T, local netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func portOf(t *testing.T, e *IKE, v6, encapsulated bool) uint16 {
	t.Helper()
	for _, s := range e.sockets {
		if s.at.Addr().Is6() == v6 && s.encapsulated == encapsulated {
			return s.at.Port()
		}
	}
	t.Fatalf("no socket (IPv6 %v, encapsulated %v)", v6, encapsulated)
	return 0
}

func TestIKEExchange(t *testing.T) {
	other := netip.AddrFrom4([4]byte{127, 0, 0, 2})
	for _, c := range []struct {
		name         string
		listen       netip.Addr
		to           netip.Addr
		encapsulated bool
		wire         string
	}{
		{"listed v4", loopback4, loopback4, false, "cookie"},
		{"listed v4, NAT port", loopback4, loopback4, true, "\x00\x00\x00\x00cookie"},
		{"listed v6", loopback6, loopback6, false, "cookie"},
		{"wildcard answers from the address that was asked", netip.IPv4Unspecified(), other, true, "\x00\x00\x00\x00cookie"},
		{"wildcard v6, NAT port", netip.IPv6Unspecified(), loopback6, true, "\x00\x00\x00\x00cookie"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, got := startIKE(t, c.listen)
			source := loopback4
			if c.to.Is6() {
				source = loopback6
			}
			client := peer(t, source)
			server := netip.AddrPortFrom(c.to, portOf(t, e, c.to.Is6(), c.encapsulated))
			for _, b := range []string{"\xff", "abc", c.wire} { // neither the keepalive nor the runt may be handed over
				if _, err := client.WriteToUDPAddrPort([]byte(b), server); err != nil {
					t.Fatal(err)
				}
			}
			d := <-got
			if d.Local != server || d.Encapsulated != c.encapsulated || string(d.Payload) != "cookie" ||
				d.Remote != client.LocalAddr().(*net.UDPAddr).AddrPort() {
				t.Fatalf("received %+v", d)
			}
			if n := e.Dropped(); n != 1 {
				t.Errorf("%d dropped, want the runt", n)
			}
			if err := e.Send(d); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			n, from, err := client.ReadFromUDPAddrPort(b)
			if err != nil || from != server || string(b[:n]) != c.wire {
				t.Errorf("answer %q from %s (%v), want %q from %s", b[:n], from, err, c.wire, server)
			}
		})
	}
}

func TestIKESendWithoutSocket(t *testing.T) {
	e, _ := startIKE(t, loopback4)
	err := e.Send(Datagram{Local: netip.AddrPortFrom(loopback6, 500), Remote: netip.AddrPortFrom(loopback6, 1)})
	if err == nil || !strings.Contains(err.Error(), "no socket listens on ::1") {
		t.Errorf("error is %v", err)
	}
}

func TestIKEPortInUse(t *testing.T) {
	taken := peer(t, loopback4).LocalAddr().(*net.UDPAddr).AddrPort()
	_, err := openIKE(IKEConfig{Addrs: []netip.Addr{loopback4}, Port: taken.Port()}, withoutIPsec)
	if err == nil || !strings.Contains(err.Error(), "another IKE daemon") {
		t.Errorf("error does not say who holds the port: %v", err)
	}
}

// TestIKESegments: UDP_GRO may join datagrams of one size.
func TestIKESegments(t *testing.T) {
	s := &ikeSocket{&serviceSocket{at: netip.AddrPortFrom(loopback4, 4500)}, true}
	oob := make([]byte, unix.CmsgSpace(4))
	h := (*unix.Cmsghdr)(ptr(oob))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_GRO
	h.SetLen(unix.CmsgLen(4))
	oob[unix.CmsgLen(0)] = 10
	var got []string
	s.serviceSocket.take([]byte("\x00\x00\x00\x00first.\x00\x00\x00\x00second\x00\x00\x00\x00last"), oob,
		netip.AddrPortFrom(loopback4, 1011), func(d Datagram, segment int) {
			s.take(d, segment, func(d Datagram) { got = append(got, string(d.Payload)) })
		})
	if strings.Join(got, " ") != "first. second last" {
		t.Errorf("got %q", got)
	}
}
