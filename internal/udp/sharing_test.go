package udp

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// intrude binds a socket of somebody else to an address, with every option that asks for sharing.
func intrude(t *testing.T, at netip.AddrPort) error {
	t.Helper()
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			t.Fatal(err)
		}
	}
	sa, err := sockaddr(at)
	if err != nil {
		t.Fatal(err)
	}
	return syscall.Bind(fd, sa)
}

// TestPortIsNotShared: what is sent to a slot has been decrypted, and nobody else may hear it.
func TestPortIsNotShared(t *testing.T) {
	for name, addr := range map[string]netip.Addr{"v4": loopback4, "v6": loopback6} {
		t.Run(name, func(t *testing.T) {
			c := openTestClient(t, addr)
			remote := addrOf(peer(t, addr))
			wildcard := netip.AddrPortFrom(unspecified(addr), c.Local().Port())
			expect := func(when string) {
				t.Helper()
				for _, at := range []netip.AddrPort{c.Local(), wildcard} {
					if err := intrude(t, at); !errors.Is(err, unix.EADDRINUSE) {
						t.Errorf("%s: another socket was bound to %v (%v)", when, at, err)
					}
				}
			}
			expect("without a tunnel")
			for range 3 { // a client may redial many times
				if err := c.Connect(remote); err != nil {
					t.Fatal(err)
				}
				expect("with a tunnel")
			}
			if err := c.Disconnect(); err != nil {
				t.Fatal(err)
			}
			expect("after the tunnel")
		})
	}
}
