//go:build kernel

package l2tpnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// open creates a session and its PPPoL2TP socket.
func open(t *testing.T, c *Conn, s Session, peerTunnel uint16) *os.File {
	t.Helper()
	if err := c.CreateSession(s); err != nil {
		t.Fatal(err)
	}
	f, err := OpenSession(uint16(s.TunnelID), uint16(s.ID), peerTunnel, uint16(s.PeerID))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// options are what a session has of Options.
func options(s Session) Session {
	return Session{LNSMode: s.LNSMode, SendSeq: s.SendSeq, RecvSeq: s.RecvSeq, ReorderTimeout: s.ReorderTimeout, Debug: s.Debug}
}

func TestKernelOptions(t *testing.T) {
	c := namespace(t)
	_, events := watch(t)
	_, fd := socket(t, net.IPv6loopback, 16420, 1701)
	if err := c.CreateTunnel(Tunnel{ID: 16420, PeerID: 7, FD: fd}); err != nil {
		t.Fatal(err)
	}
	next(t, events)
	f := open(t, c, Session{TunnelID: 16420, ID: 5, PeerID: 6, LNSMode: true, RecvSeq: true, ReorderTimeout: 300 * time.Millisecond, Debug: DebugData}, 7)
	next(t, events)
	for _, step := range []struct {
		name   string
		change Options
		socket bool
		want   Session
	}{
		{"as created", Options{}, false, Session{LNSMode: true, RecvSeq: true, ReorderTimeout: 300 * time.Millisecond}},
		{"one off, one on", Options{RecvSeq: new(false), SendSeq: new(true)}, false,
			Session{LNSMode: true, SendSeq: true, ReorderTimeout: 300 * time.Millisecond}},
		{"other timeout", Options{ReorderTimeout: new(2 * time.Second)}, false, Session{LNSMode: true, SendSeq: true, ReorderTimeout: 2 * time.Second}},
		{"by the socket", Options{LNSMode: new(false), SendSeq: new(false), RecvSeq: new(true), ReorderTimeout: new(500 * time.Millisecond),
			Debug: new(DebugSequence)}, true, Session{RecvSeq: true, ReorderTimeout: 500 * time.Millisecond}},
		{"everything off", Options{RecvSeq: new(false), ReorderTimeout: new(time.Duration(0)), Debug: new(DebugVerbose)}, false, Session{}},
		{"the longest timeout", Options{ReorderTimeout: new(MaxReorderTimeout)}, false, Session{ReorderTimeout: MaxReorderTimeout}},
		{"no timeout", Options{ReorderTimeout: new(time.Duration(0))}, true, Session{}},
	} {
		if step.socket {
			if err := SetSocketOptions(f, step.change); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		} else {
			if err := c.ModifySession(16420, 5, step.change); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			e, ok := next(t, events).(SessionEvent)
			if !ok || e.Change != Modified || e.Session.ID != 5 || options(e.Session) != step.want {
				t.Errorf("%s: told %+v, want %+v", step.name, e, step.want)
			}
		}
		byNetlink, err := c.Session(16420, 5)
		if err != nil || options(byNetlink) != step.want {
			t.Errorf("%s: netlink says %+v, %v, want %+v", step.name, byNetlink, err, step.want)
		}
		bySocket, err := SocketSession(f)
		if err != nil || bySocket != byNetlink {
			t.Errorf("%s: the socket says %+v, %v, netlink %+v", step.name, bySocket, err, byNetlink)
		}
	}

	if err := c.ModifyTunnel(16420); err != nil {
		t.Error(err)
	}
	if e, ok := next(t, events).(TunnelEvent); !ok || e.Change != Modified || e.Tunnel.ID != 16420 || e.Tunnel.PeerID != 7 {
		t.Errorf("after modifying the tunnel: %+v", e)
	}
	for name, err := range map[string]error{"a session": c.ModifySession(16420, 9, Options{}), "a session of no tunnel": c.ModifySession(9, 9, Options{}),
		"a tunnel": c.ModifyTunnel(9)} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("modifying %s that does not exist: %v", name, err)
		}
	}
	if err := c.DeleteTunnel(16420); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the socket knows that its session has ended", func() bool { _, err := SocketSession(f); return err != nil })
	if _, err := SocketSession(f); !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.EBADF) {
		t.Errorf("a socket without a session: %v", err)
	}
}

// message is an L2TPv2 data message with a PPP frame of LCP, without sequence numbers if ns is below 0 (RFC 2661 section 3.1).
func message(tunnel, session uint16, ns int, id byte) []byte {
	b := []byte{0, 2}
	if ns >= 0 {
		b[0] = 0x08
	}
	b = binary.BigEndian.AppendUint16(b, tunnel)
	b = binary.BigEndian.AppendUint16(b, session)
	if ns >= 0 {
		b = binary.BigEndian.AppendUint16(b, uint16(ns))
		b = append(b, 0, 0)
	}
	return append(b, 0xff, 0x03, 0xc0, 0x21, 9, id, 0, 8, 0, 0, 0, 0)
}

// TestKernelSequence plays a peer whose messages lack numbers or come out of order, and looks at what the options make of them.
func TestKernelSequence(t *testing.T) {
	const tunnel = 16421
	for _, test := range []struct {
		name    string
		session Session
		numbers []int
		late    bool   // the last comes after 100 ms
		want    Stats  // of receipt
		frames  []byte // the places in numbers of what PPP gets, in its order
		follows bool   // ends with SendSeq set
	}{
		{"no numbers", Session{}, []int{-1, -1}, false, Stats{RxPackets: 2}, []byte{0, 1}, false},
		{"no numbers, but demanded", Session{RecvSeq: true}, []int{-1, 0, -1}, false, Stats{RxPackets: 1, RxSeqDiscards: 2, RxErrors: 2}, []byte{1}, true},
		{"no numbers, but this side decides that there are", Session{LNSMode: true, SendSeq: true}, []int{-1, 0}, false,
			Stats{RxPackets: 1, RxSeqDiscards: 1, RxErrors: 1}, []byte{1}, true},
		{"numbers, the peer decides", Session{}, []int{0, 1}, false, Stats{RxPackets: 2}, []byte{0, 1}, true},
		{"numbers, the peer decides again", Session{}, []int{0, 1, -1}, false, Stats{RxPackets: 3}, []byte{0, 1, 2}, false},
		{"numbers, this side decides", Session{LNSMode: true}, []int{0, 1}, false, Stats{RxPackets: 2}, []byte{0, 1}, false},
		{"out of order, dropped", Session{}, []int{0, 3, 1}, false, Stats{RxPackets: 2, RxSeqDiscards: 1, RxErrors: 1}, []byte{0, 2}, true},
		{"out of order, put in order", Session{ReorderTimeout: 10 * time.Second}, []int{0, 3, 2, 1}, false,
			Stats{RxPackets: 4, RxOOS: 2}, []byte{0, 3, 2, 1}, true},
		{"waited for in vain", Session{ReorderTimeout: 50 * time.Millisecond}, []int{0, 2, 3}, true,
			Stats{RxPackets: 2, RxSeqDiscards: 1, RxErrors: 1}, []byte{0, 2}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := namespace(t)
			_, fd := socket(t, net.IPv4(127, 0, 0, 1), tunnel, 1701)
			peer, _ := socket(t, net.IPv4(127, 0, 0, 1), 1701, tunnel)
			if err := c.CreateTunnel(Tunnel{ID: tunnel, PeerID: 7, FD: fd}); err != nil {
				t.Fatal(err)
			}
			test.session.TunnelID, test.session.ID, test.session.PeerID = tunnel, 5, 6
			f := open(t, c, test.session, 7)
			ppp := attach(t, f)
			for i, ns := range test.numbers {
				if test.late && i == len(test.numbers)-1 {
					time.Sleep(100 * time.Millisecond) // of the kernel's clock
				}
				if _, err := peer.Write(message(tunnel, 5, ns, byte(i))); err != nil {
					t.Fatal(err)
				}
			}
			var s Session
			eventually(t, "every message is counted", func() bool {
				var err error
				if s, err = c.Session(tunnel, 5); err != nil {
					t.Fatal(err)
				}
				return s.Stats.RxPackets+s.Stats.RxSeqDiscards == uint64(len(test.numbers)) && s.Stats.RxErrors == s.Stats.RxSeqDiscards
			})
			got := s.Stats
			got.RxBytes = 0
			if got != test.want || s.SendSeq != test.follows {
				t.Errorf("session: %+v, want %+v and SendSeq %v", s, test.want, test.follows)
			}
			if s.Stats.RxPackets != uint64(len(test.frames)) {
				t.FailNow() // reading would wait for ever
			}
			for _, id := range test.frames {
				got := make([]byte, 100)
				n, err := ppp.Read(got)
				if err != nil || !bytes.Equal(got[:n], []byte{0xc0, 0x21, 9, id, 0, 8, 0, 0, 0, 0}) {
					t.Errorf("read %x, %v; want frame %d", got[:n], err, id)
				}
			}
			bySocket, err := SocketSession(f)
			if err != nil || bySocket != s {
				t.Errorf("the socket says %+v, %v", bySocket, err)
			}
			whole, err := c.Tunnel(tunnel)
			if err != nil || whole.Stats.RxPackets != s.Stats.RxPackets || whole.Stats.RxBytes != s.Stats.RxBytes ||
				whole.Stats.RxSeqDiscards != 0 || whole.Stats.RxOOS != 0 {
				t.Errorf("tunnel: %+v, %v", whole, err)
			}
		})
	}
}

// TestKernelOwnSocket lets the kernel make both ends' sockets, and looks at the checksums on the wire.
func TestKernelOwnSocket(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		for _, without := range []bool{false, true} {
			c := namespace(t)
			addr := netip.MustParseAddr(ip)
			family, header := unix.AF_INET, 20
			if addr.Is6() {
				family, header = unix.AF_INET6, 0
			}
			wire, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(wire)
			if err := unix.SetsockoptTimeval(wire, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
				t.Fatal(err)
			}
			here, there := netip.AddrPortFrom(addr, 16422), netip.AddrPortFrom(addr, 1701)
			if err := c.CreateTunnel(Tunnel{ID: 1, PeerID: 2, FD: -1, Local: here, Remote: there, NoChecksum: without}); err != nil {
				t.Fatal(err)
			}
			if err := c.CreateTunnel(Tunnel{ID: 2, PeerID: 1, FD: -1, Local: there, Remote: here, NoChecksum: without}); err != nil {
				t.Fatal(err)
			}
			if err := c.CreateTunnel(Tunnel{ID: 3, PeerID: 1, FD: -1, Local: there, Remote: here}); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("a second socket of %v: %v", there, err)
			}
			for id, local := range map[uint32]netip.AddrPort{1: here, 2: there} {
				if tunnel, err := c.Tunnel(id); err != nil || tunnel.NoChecksum != without || tunnel.Local != local {
					t.Errorf("%+v, %v; want %v, no checksums: %v", tunnel, err, local, without)
				}
			}
			a := attach(t, open(t, c, Session{TunnelID: 1, ID: 5, PeerID: 6}, 2))
			b := attach(t, open(t, c, Session{TunnelID: 2, ID: 6, PeerID: 5}, 1))
			frame := []byte{0xc0, 0x21, 9, 1, 0, 8, 1, 2, 3, 4}
			if _, err := a.Write(frame); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 200)
			if n, err := b.Read(got); err != nil || !bytes.Equal(got[:n], frame) {
				t.Errorf("%s: read %x, %v", ip, got[:n], err)
			}
			n, _, err := unix.Recvfrom(wire, got, 0)
			if err != nil || n < header+8 {
				t.Fatalf("%s: %d octets on the wire, %v", ip, n, err)
			}
			if sum := binary.BigEndian.Uint16(got[header+6:]); (sum == 0) != without {
				t.Errorf("%s: checksum %#04x, wanted none: %v", ip, sum, without)
			}
			if err := c.DeleteTunnel(1); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the kernel's socket is closed", func() bool {
				err := c.CreateTunnel(Tunnel{ID: 4, PeerID: 2, FD: -1, Local: here, Remote: there})
				if err != nil && !errors.Is(err, unix.EADDRINUSE) {
					t.Fatal(err)
				}
				return err == nil
			})
		}
	}
	c := namespace(t)
	udp, fd := socket(t, net.IPv4(127, 0, 0, 1), 16423, 1701)
	defer udp.Close()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTunnel(Tunnel{ID: 1, PeerID: 2, FD: fd}); err != nil {
		t.Fatal(err)
	}
	if tunnel, err := c.Tunnel(1); err != nil || !tunnel.NoChecksum {
		t.Errorf("a socket of ours without checksums: %+v, %v", tunnel, err)
	}
}
