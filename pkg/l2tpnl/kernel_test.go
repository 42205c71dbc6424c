//go:build kernel

package l2tpnl

import (
	"bytes"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests need root and a kernel with l2tp_netlink and l2tp_ppp. Each runs in a network namespace of its own.

// namespace moves the test's thread into a fresh network namespace with loopback up. The thread ends with the test.
func namespace(t *testing.T) *Conn {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// socket opens a UDP socket of port local connected to port remote.
func socket(t *testing.T, ip net.IP, local, remote int) (*net.UDPConn, int) {
	t.Helper()
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: ip, Port: local}, &net.UDPAddr{IP: ip, Port: remote})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(f uintptr) { fd = int(f) }); err != nil {
		t.Fatal(err)
	}
	return c, fd
}

// patience is how long a test waits for what is to come, on a machine that has other things to do.
const patience = 20 * time.Second

// eventually repeats what the kernel may need a moment for.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not after %v: %s", patience, what)
		}
	}
}

// attach opens the PPP channel behind a PPPoL2TP socket, as pppd does.
func attach(t *testing.T, session *os.File) *os.File {
	t.Helper()
	n, err := channel(int(session.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ppp, err := os.OpenFile("/dev/ppp", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ppp.Close() })
	if err := unix.IoctlSetPointerInt(int(ppp.Fd()), unix.PPPIOCATTCHAN, n); err != nil {
		t.Fatal(err)
	}
	return ppp
}

func TestKernelDataPath(t *testing.T) {
	for name, ip := range map[string]net.IP{"IPv4": net.IPv4(127, 0, 0, 1), "IPv6": net.IPv6loopback} {
		t.Run(name, func(t *testing.T) {
			c := namespace(t)
			if tunnels, err := c.Tunnels(); err != nil || len(tunnels) != 0 {
				t.Fatalf("before: %v, %v", tunnels, err)
			}
			_, here := socket(t, ip, 16384, 1701)
			_, there := socket(t, ip, 1701, 16384)
			if err := c.CreateTunnel(Tunnel{ID: 16384, PeerID: 77, FD: here}); err != nil {
				t.Fatal(err)
			}
			if err := c.CreateTunnel(Tunnel{ID: 77, PeerID: 16384, FD: there}); err != nil {
				t.Fatal(err)
			}
			// One session made by netlink first, the other by the socket alone.
			if err := c.CreateSession(Session{TunnelID: 16384, ID: 5, PeerID: 6, LNSMode: true}); err != nil {
				t.Fatal(err)
			}
			if err := c.CreateSession(Session{TunnelID: 16384, ID: 5, PeerID: 6}); !errors.Is(err, os.ErrExist) {
				t.Errorf("creating a session twice: %v", err)
			}
			a, err := OpenSession(16384, 5, 77, 6)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			b, err := OpenSession(77, 6, 16384, 5)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if f, err := OpenSession(77, 6, 16384, 5); !errors.Is(err, os.ErrExist) {
				t.Errorf("opening a session twice: %v, %v", f, err)
			}
			if f, err := OpenSession(4000, 6, 16384, 5); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a session of no tunnel: %v, %v", f, err)
			}

			// The frame is sent before anything is attached at b: it must wait in b's channel.
			frame := []byte{0xc0, 0x21, 9, 1, 0, 8, 1, 2, 3, 4}
			pppA := attach(t, a)
			if _, err := pppA.Write(frame); err != nil {
				t.Fatal(err)
			}
			pppB := attach(t, b)
			got := make([]byte, 100)
			n, err := pppB.Read(got)
			if err != nil || !bytes.Equal(got[:n], frame) {
				t.Fatalf("read %x, %v", got[:n], err)
			}

			sessions, err := c.Sessions()
			if err != nil || len(sessions) != 2 {
				t.Fatalf("sessions: %+v, %v", sessions, err)
			}
			s, err := c.Session(16384, 5)
			if err != nil || s.PeerID != 6 || s.PeerTunnelID != 77 || !s.LNSMode || s.UsingIPsec || s.Stats.TxPackets != 1 || s.Stats.TxBytes == 0 {
				t.Errorf("the sender's session: %+v, %v", s, err)
			}
			s, err = c.Session(77, 6)
			if err != nil || s.Stats.RxPackets != 1 || s.Stats.RxBytes == 0 {
				t.Errorf("the receiver's session: %+v, %v", s, err)
			}
			tunnels, err := c.Tunnels()
			if err != nil || len(tunnels) != 2 {
				t.Fatalf("tunnels: %+v, %v", tunnels, err)
			}
			tunnel, err := c.Tunnel(16384)
			if err != nil || tunnel.PeerID != 77 || tunnel.Local.Port() != 16384 || tunnel.Remote.Port() != 1701 ||
				!tunnel.Local.Addr().IsLoopback() || tunnel.Stats.TxPackets != 1 {
				t.Errorf("tunnel: %+v, %v", tunnel, err)
			}

			// Closing the PPPoL2TP socket ends its session and leaves the tunnel.
			_ = pppB.Close()
			_ = b.Close()
			eventually(t, "session 77/6 ended with its socket", func() bool {
				_, err := c.Session(77, 6)
				return errors.Is(err, os.ErrNotExist)
			})
			if _, err := c.Tunnel(77); err != nil {
				t.Errorf("the tunnel went with its session: %v", err)
			}
			if err := c.DeleteSession(16384, 5); err != nil {
				t.Error(err)
			}
			eventually(t, "session 16384/5 ended by request", func() bool {
				_, err := c.Session(16384, 5)
				return errors.Is(err, os.ErrNotExist)
			})
		})
	}
}

func TestKernelTunnelLife(t *testing.T) {
	c := namespace(t)
	ip := net.IPv4(127, 0, 0, 1)
	first, fd := socket(t, ip, 16385, 1701)
	if err := c.CreateTunnel(Tunnel{ID: 16385, PeerID: 1, FD: fd}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTunnel(Tunnel{ID: 16386, PeerID: 1, FD: fd}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a second tunnel of one socket: %v", err)
	}
	_, otherFD := socket(t, ip, 16386, 1701)
	if err := c.CreateTunnel(Tunnel{ID: 16385, PeerID: 1, FD: otherFD}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a taken id: %v", err)
	}
	if err := c.CreateTunnel(Tunnel{ID: 16387, PeerID: 1, FD: 9999}); !errors.Is(err, unix.EBADF) {
		t.Errorf("no such descriptor: %v", err)
	}
	for name, err := range map[string]error{
		"delete tunnel": c.DeleteTunnel(4000), "delete session": c.DeleteSession(16385, 9), "session of no tunnel": c.DeleteSession(4000, 9),
		"get session": func() error { _, err := c.Session(16385, 9); return err }(),
		"get tunnel":  func() error { _, err := c.Tunnel(4000); return err }(),
		"create":      c.CreateSession(Session{TunnelID: 4000, ID: 1, PeerID: 1}),
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s that does not exist: %v", name, err)
		}
	}

	// The next tunnel in the same slot: a new socket, the same id, at once. Only a bounded retry may be needed.
	s, err := OpenSession(16385, 1, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := c.DeleteTunnel(16385); err != nil {
		t.Fatal(err)
	}
	retries := -1
	eventually(t, "the id of a deleted tunnel is free", func() bool {
		retries++
		err := c.CreateTunnel(Tunnel{ID: 16385, PeerID: 2, FD: otherFD})
		if err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Logf("%d retries with EEXIST before the id was free", retries)
	if got, err := c.Tunnel(16385); err != nil || got.PeerID != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	_ = first.Close()

	// A copy of the socket keeps the tunnel; closing the last one ends it.
	last, lastFD := socket(t, ip, 16388, 1701)
	if err := c.CreateTunnel(Tunnel{ID: 16388, PeerID: 3, FD: lastFD}); err != nil {
		t.Fatal(err)
	}
	kept, err := last.File()
	if err != nil {
		t.Fatal(err)
	}
	_ = last.Close()
	if _, err := c.Tunnel(16388); err != nil {
		t.Errorf("the tunnel went although a copy of its socket is open: %v", err)
	}
	_ = kept.Close()
	eventually(t, "the tunnel ends with its last descriptor", func() bool {
		_, err := c.Tunnel(16388)
		return errors.Is(err, os.ErrNotExist)
	})
}
