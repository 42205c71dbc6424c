//go:build kernel

package udp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// data is an L2TP data message without optional fields.
func data(tunnel, session uint16, frame string) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0x0002)
	b = binary.BigEndian.AppendUint16(b, tunnel)
	b = binary.BigEndian.AppendUint16(b, session)
	return append(b, frame...)
}

// TestKernelTunnel gives the tunnel socket to the kernel's L2TP: data go to sessions and never to us, control messages to
// us, and both leave encrypted from port 1701.
func TestKernelTunnel(t *testing.T) {
	for _, network := range []string{"192.0.2.%d/24", "2001:db8::%d/64"} {
		t.Run(network, func(t *testing.T) {
			lockThread(t)
			serverNS, clientNS := namespace(t, "udp-s"), namespace(t, "udp-c")
			ends := [2]string{fmt.Sprintf(network, 1), fmt.Sprintf(network, 2)}
			cable(t, "udp-s", "eth0", ends[0], "udp-c", "eth0", ends[1])
			serverAddr, clientAddr := netip.MustParsePrefix(ends[0]).Addr(), netip.MustParsePrefix(ends[1]).Addr()
			const port, peerTunnel, session, peerSession = 0x4005, 7, 8, 9

			enter(t, clientNS)
			sas, err := xfrm.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer sas.Close()
			addSAs(t, sas, newSA(clientAddr, serverAddr, 0x1000, 1, xfrm.Out, false), newSA(serverAddr, clientAddr, 0x2000, 1, xfrm.In, false))
			remote := netip.AddrPortFrom(clientAddr, 40000) // as phones do
			peer := l2tpPeer(t, remote, true)

			s := startServer(t, serverNS, serverAddr)
			addSAs(t, s.sas, forSlot(newSA(clientAddr, serverAddr, 0x1000, markOf(port), xfrm.In, false), port),
				newSA(serverAddr, clientAddr, 0x2000, markOf(port), xfrm.Out, false))
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
			create := func(fd int) error {
				return l2tp.CreateTunnel(l2tpnl.Tunnel{ID: port, PeerID: peerTunnel, FD: fd})
			}
			if err := slot.WithTunnel(create); err != nil {
				t.Fatal(err)
			}
			ppp, err := l2tpnl.OpenSession(port, session, peerTunnel, peerSession)
			if err != nil {
				t.Fatal(err)
			}
			defer ppp.Close()

			for _, b := range [][]byte{
				data(port, session+1, "\xff\x03no such session"), data(port, session, "\xff\x03\xc0\x21frame"), control("hello"),
			} {
				if _, err := peer.WriteToUDPAddrPort(b, netip.AddrPortFrom(serverAddr, l2tpPort)); err != nil {
					t.Fatal(err)
				}
			}
			if r := s.next("hello"); r != (received{port, remote, string(control("hello"))}) {
				t.Errorf("received %+v, want the control message only", r)
			}
			eventually(t, "there is one session, with IPsec and one packet received", func() (string, bool) {
				sessions, err := l2tp.Sessions()
				ok := err == nil && len(sessions) == 1 && sessions[0].Stats.RxPackets == 1 && sessions[0].UsingIPsec
				return fmt.Sprintf("%+v, %v", sessions, err), ok
			})

			frames := func() {
				t.Helper()
				sendFrame(t, ppp.Fd(), peer, netip.AddrPortFrom(serverAddr, l2tpPort), string(data(peerTunnel, peerSession, "\xff\x03")))
			}
			frames()
			restartReader(t, s, slot, peer, remote, frames)

			// What ends the tunnel is that the last copy of its socket is closed. The slot can then have the next one.
			copied := tunnelFile(t, slot.Client)
			if err := slot.Disconnect(); err != nil {
				t.Fatal(err)
			}
			frames()
			if err := copied.Close(); err != nil {
				t.Fatal(err)
			}
			exchange(t, s, slot, peer, remote)
		})
	}
}

// restartReader closes what reads and sends for a slot, which the tunnel does not notice, and puts a successor in its place that
// works without privileges.
func restartReader(t *testing.T, s *server, slot *halves, peer *net.UDPConn, remote netip.AddrPort, frames func()) {
	t.Helper()
	at := netip.AddrPortFrom(s.addr, l2tpPort)
	if err := slot.slot.Close(); err != nil {
		t.Fatal(err)
	}
	frames()
	if _, err := peer.WriteToUDPAddrPort(control("while nobody reads"), at); err != nil {
		t.Fatal(err)
	}
	open, tunnel := openFile(t, slot.Client), tunnelFile(t, slot.Client)
	result := make(chan error)
	go func() {
		dropPrivileges(t)
		var err error
		if slot.slot, err = NewSlot(open, tunnel); err == nil {
			err = errors.Join(s.poller.Add(slot.slot), slot.Send(remote, control("from somebody without privileges")))
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slot.slot.Close() })
	if r := s.next("a message to the successor"); r.payload != string(control("while nobody reads")) || r.remote != remote {
		t.Errorf("the successor received %+v", r)
	}
	if b, from := readFrom(t, peer, "a message of the successor"); b != string(control("from somebody without privileges")) || from != at {
		t.Errorf("the client received %q from %s", b, from)
	}
	frames()
}

// dropPrivileges makes the thread that of nobody, for the rest of its life, which ends with the goroutine.
func dropPrivileges(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	const nobody = 65534
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
		t.Error(errno)
	}
}

// sendFrame sends a PPP frame through a session and reads the data message at the client.
func sendFrame(t *testing.T, ppp uintptr, peer *net.UDPConn, from netip.AddrPort, header string) {
	t.Helper()
	const frame = "\xc0\x21frame of ours"
	if _, err := unix.Write(int(ppp), []byte(frame)); err != nil {
		t.Fatal(err)
	}
	b, at := readFrom(t, peer, "data of the session")
	if !strings.HasPrefix(b, header) || !strings.HasSuffix(b, frame) || at != from {
		t.Errorf("the client received %q from %s", b, at)
	}
}
