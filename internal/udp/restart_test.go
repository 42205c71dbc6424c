package udp

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nonBlocking says whether a socket is in non-blocking mode.
func nonBlocking(t *testing.T, s *socket) bool {
	t.Helper()
	var flags int
	err := s.control(func(fd int) (err error) {
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK != 0
}

// TestSlotRestart: who reads may go and come back, as long as there is one who keeps the sockets.
func TestSlotRestart(t *testing.T) {
	first, got := startPoller(t)
	c := openTestSlot(t, loopback4)
	a := peer(t, loopback4)
	if err := first.Add(c.slot); err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(addrOf(a)); err != nil {
		t.Fatal(err)
	}
	tell(t, a, c, control("SCCCN"))
	if r := <-got; r.payload != string(control("SCCCN")) {
		t.Fatalf("received %+v", r)
	}
	if err := c.slot.Close(); err != nil {
		t.Fatal(err)
	}
	b := peer(t, loopback4)
	tell(t, a, c, control("on the tunnel socket"))
	tell(t, b, c, control("on the open socket"))
	events := make([]unix.EpollEvent, 2)
	if n, err := unix.EpollWait(first.epoll, events, 0); n != 0 || err != nil {
		t.Errorf("epoll reports %d sockets that were closed here, %v", n, err)
	}

	second, got := startPoller(t)
	again, err := NewSlot(openFile(t, c.Client), tunnelFile(t, c.Client))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	if again.Local() != c.Local() {
		t.Errorf("local address %s, want %s", again.Local(), c.Local())
	}
	if err := second.Add(again); err != nil {
		t.Fatal(err)
	}
	want := map[received]bool{
		{c.Local().Port(), addrOf(a), string(control("on the tunnel socket"))}: true,
		{c.Local().Port(), addrOf(b), string(control("on the open socket"))}:   true,
	}
	for range 2 {
		if r := <-got; !want[r] {
			t.Errorf("received %+v", r)
		} else {
			delete(want, r)
		}
	}
	if err := again.Send(addrOf(b), control("answer")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	if n, from, err := b.ReadFromUDPAddrPort(buffer); err != nil || from != c.Local() || string(buffer[:n]) != string(control("answer")) {
		t.Errorf("the peer received %q from %s (%v)", buffer[:n], from, err)
	}
	for _, s := range []*socket{c.Client.open, c.Client.tunnel} {
		if nonBlocking(t, s) {
			t.Error("a socket has been put into non-blocking mode, for all who have it")
		}
	}
}

// TestSlotRefusesStrangers: files that do not belong together are not taken, and not kept open either.
func TestSlotRefusesStrangers(t *testing.T) {
	c, other := openTestClient(t, loopback4), openTestClient(t, loopback4)
	for _, one := range []*Client{c, other} {
		if err := one.Connect(addrOf(peer(t, loopback4))); err != nil {
			t.Fatal(err)
		}
	}
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	unconnected := openFile(t, c)
	for name, pair := range map[string][2]*os.File{
		"another slot's tunnel socket": {openFile(t, c), tunnelFile(t, other)},
		"a tunnel socket without peer": {openFile(t, c), unconnected},
		"no socket":                    {pipe, nil},
	} {
		if s, err := NewSlot(pair[0], pair[1]); err == nil {
			t.Errorf("%s was taken", name)
			_ = s.Close()
		}
		for _, f := range pair {
			if f != nil && f.Close() == nil {
				t.Errorf("%s: a file was left open", name)
			}
		}
	}
	s, err := NewSlot(openFile(t, c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetTunnel(tunnelFile(t, other)); err == nil || !strings.Contains(err.Error(), other.Local().String()) {
		t.Errorf("another slot's tunnel socket gave %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.SetTunnel(tunnelFile(t, c)); err == nil {
		t.Error("a closed slot took a tunnel socket")
	}
}

// TestAdoptClient: who opens may hand over to a successor.
func TestAdoptClient(t *testing.T) {
	for _, addr := range []netip.Addr{loopback4, loopback6} {
		c := openTestClient(t, addr)
		first, second := addrOf(peer(t, addr)), addrOf(peer(t, addr))
		if _, ok := c.Remote(); ok {
			t.Error("a client without a tunnel has a peer")
		}
		if err := c.WithTunnel(func(int) error { return nil }); err == nil {
			t.Error("a client without a tunnel has a tunnel socket")
		}
		if err := c.Connect(first); err != nil {
			t.Fatal(err)
		}
		heir, err := adoptClient(noProtection, openFile(t, c), tunnelFile(t, c))
		if err != nil {
			t.Fatal(err)
		}
		defer heir.Close()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if remote, ok := heir.Remote(); heir.Local() != c.Local() || remote != first || !ok {
			t.Errorf("adopted %s connected to %s (%v), want %s and %s", heir.Local(), remote, ok, c.Local(), first)
		}
		if err := heir.Connect(second); err != nil {
			t.Fatal(err)
		}
		err = heir.WithTunnel(func(fd int) error {
			sa, err := syscall.Getpeername(fd)
			if got := addrPort(sa); got != second {
				t.Errorf("connected to %s, want %s", got, second)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		without, err := adoptClient(noProtection, openFile(t, heir), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer without.Close()
		if f, err := without.TunnelFile(); f != nil || err != nil {
			t.Errorf("a tunnel socket out of nowhere: %v, %v", f, err)
		}
	}
}

// copyIKE copies the files, as one does to give them away.
func copyIKE(t *testing.T, files []IKEFile) []IKEFile {
	t.Helper()
	var out []IKEFile
	for _, f := range files {
		raw, err := f.File.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Control(func(fd uintptr) {
			dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
			}
			f.File = os.NewFile(uintptr(dup), "copy")
		})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// TestIKERestart: one reader of the sockets ends while they stay open, and the next one receives what came between.
func TestIKERestart(t *testing.T) {
	for _, mode := range []bool{false, true} {
		kept, err := openIKE(IKEConfig{Addrs: []netip.Addr{loopback4}}, withoutIPsec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = CloseIKE(kept) })
		sockets := copyIKE(t, kept)
		for _, f := range sockets {
			s, err := takeSocket(f.File)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.close() })
			// Nothing here depends on the mode, should somebody else who has the socket change it.
			if err := s.control(func(fd int) error { return unix.SetNonblock(fd, mode) }); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if nonBlocking(t, s) != mode {
					t.Errorf("the mode of a socket has been changed, for all who have it")
				}
			}()
		}
		client := peer(t, loopback4)
		e, got, end := runFiles(t, copyIKE(t, kept))
		messages := []string{"cookie I\x00\x00\x00\x00\x00\x00\x00\x00first", "cookie Icookie Ranother"}
		exchange := func(receive func() Datagram) {
			t.Helper()
			seen := make(map[string]bool)
			for range messages {
				d := receive()
				seen[string(d.Payload)] = true
				if err := e.Send(d); err != nil {
					t.Fatal(err)
				}
				buffer := make([]byte, 100)
				if n, _, err := client.ReadFromUDPAddrPort(buffer); err != nil || string(buffer[:n]) != string(d.Payload) {
					t.Fatalf("the answer is %q, %v", buffer[:n], err)
				}
			}
			for _, m := range messages {
				if !seen[m] {
					t.Errorf("%q has not come", m)
				}
			}
		}
		tellAll := func() {
			t.Helper()
			for _, m := range messages {
				if _, err := client.WriteToUDPAddrPort([]byte(m), kept[0].Local); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 50 { // each wait for the next message is a new one
			tellAll()
			exchange(func() Datagram { return <-got })
		}
		end()
		tellAll()
		if err := e.Send(Datagram{Local: kept[0].Local, Remote: addrOf(client)}); err == nil {
			t.Error("a closed IKE sends")
		}
		e, got, _ = runFiles(t, copyIKE(t, kept))
		exchange(func() Datagram { return <-got })
	}
}

// TestIKEFilesOutOfOrder: files and their descriptions come by different ways and must fit.
func TestIKEFilesOutOfOrder(t *testing.T) {
	files, err := openIKE(IKEConfig{Addrs: []netip.Addr{loopback4}}, withoutIPsec)
	if err != nil {
		t.Fatal(err)
	}
	files[1].File, files[2].File = files[2].File, files[1].File
	if e, err := NewIKE(files); err == nil {
		_ = e.Close()
		t.Error("files with others' descriptions were taken")
	}
	for _, f := range files {
		if f.File.Close() == nil {
			t.Error("a file was left open")
		}
	}
	// and nothing else has kept the port
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(files[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
