package udp

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// runPlain has a Plain read sockets at a port that the kernel chooses; end closes it and waits for the readers.
func runPlain(t *testing.T, files []PlainFile) (p *Plain, received <-chan Datagram) {
	t.Helper()
	p, err := NewPlain(files)
	if err != nil {
		t.Fatal(err)
	}
	got, ended := make(chan Datagram, 100), make(chan error)
	go func() { ended <- p.Run(func(d Datagram) { got <- d }) }()
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return p, got
}

// TestPlain: control messages arrive with the address that they were sent to, by which the tunnel's socket will be bound, and nothing else does.
func TestPlain(t *testing.T) {
	other4 := netip.MustParseAddr("127.0.0.2")
	for name, c := range map[string]struct{ listen, at netip.Addr }{
		"v4": {loopback4, loopback4}, "v6": {loopback6, loopback6}, "any v4": {netip.IPv4Unspecified(), other4}, "any v6": {netip.IPv6Unspecified(), loopback6},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := openPlain([]netip.Addr{c.listen}, 0)
			if err != nil {
				t.Fatal(err)
			}
			p, got := runPlain(t, files)
			at := netip.AddrPortFrom(c.at, p.LocalAddrs()[0].Port())
			a := peer(t, map[bool]netip.Addr{true: loopback4, false: loopback6}[c.at.Is4()])
			for _, b := range [][]byte{{}, {0x00, 0x02, 1, 2}, control("SCCRQ")} {
				if _, err := a.WriteToUDPAddrPort(b, at); err != nil {
					t.Fatal(err)
				}
			}
			d := <-got
			if d.Local != at || d.Remote != addrOf(a) || string(d.Payload) != string(control("SCCRQ")) {
				t.Errorf("received %+v, want an SCCRQ from %s to %s", d, addrOf(a), at)
			}
			if p.Dropped() != 0 {
				t.Errorf("%d dropped", p.Dropped())
			}
		})
	}
}

func TestPlainPortInUse(t *testing.T) {
	taken := peer(t, loopback4).LocalAddr().(*net.UDPAddr).AddrPort()
	if _, err := openPlain([]netip.Addr{loopback6, loopback4}, taken.Port()); err == nil || !strings.Contains(err.Error(), "xl2tpd") {
		t.Errorf("error does not say who holds the port: %v", err)
	}
	files, err := openPlain([]netip.Addr{loopback4}, 0)
	if err != nil {
		t.Fatal(err)
	}
	files[0].Local = taken
	if _, err := NewPlain(files); err == nil {
		t.Error("a socket that is bound to something else is taken")
	}
}
