package udp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

func ptr(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func noProtection(int, bool) error { return nil }

// received is one call of a handler.
type received struct {
	slot    uint16
	remote  netip.AddrPort
	payload string
}

func startPoller(t *testing.T) (*Poller, <-chan received) {
	t.Helper()
	got := make(chan received, 1000)
	p, err := NewPoller(func(slot uint16, remote netip.AddrPort, payload []byte) {
		got <- received{slot, remote, string(payload)}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, got
}

// openTestClient opens the sockets of a slot on a port that is free now.
func openTestClient(t *testing.T, addr netip.Addr) *Client {
	t.Helper()
	free := peer(t, addr)
	local := free.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = free.Close()
	c, err := openClient(local, noProtection)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// control is an L2TP control message, as far as the sockets look.
func control(text string) []byte { return append([]byte{0xc8, 0x02}, text...) }

func tell(t *testing.T, from *net.UDPConn, c interface{ Local() netip.AddrPort }, b []byte) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(b, c.Local()); err != nil {
		t.Fatal(err)
	}
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func TestClientExchange(t *testing.T) {
	for name, addr := range map[string]netip.Addr{"v4": loopback4, "v6": loopback6} {
		t.Run(name, func(t *testing.T) {
			p, got := startPoller(t)
			c := openTestSlot(t, addr)
			if err := p.Add(c.slot); err != nil {
				t.Fatal(err)
			}
			a, b := peer(t, addr), peer(t, addr)
			expect := func(from *net.UDPConn, text, why string) {
				t.Helper()
				want := received{c.Local().Port(), addrOf(from), string(control(text))}
				if r := <-got; r != want {
					t.Fatalf("%s: got %+v, want %+v", why, r, want)
				}
			}
			tell(t, a, c, []byte{0x00, 0x02, 1, 2}) // data: the filter takes it
			tell(t, a, c, []byte{})
			tell(t, a, c, control("SCCRQ"))
			expect(a, "SCCRQ", "control messages, and nothing else, arrive from any port")
			if err := c.Connect(addrOf(a)); err != nil {
				t.Fatal(err)
			}
			tell(t, a, c, control("SCCCN"))
			expect(a, "SCCCN", "the connected socket is read, too")
			tell(t, b, c, control("SCCRQ again"))
			expect(b, "SCCRQ again", "a client that restarts on another port is heard on the unconnected socket")
			if err := c.Send(addrOf(b), control("SCCRP")); err != nil {
				t.Fatal(err)
			}
			buffer := make([]byte, 100)
			n, from, err := b.ReadFromUDPAddrPort(buffer)
			if err != nil || from != c.Local() || !bytes.Equal(buffer[:n], control("SCCRP")) {
				t.Fatalf("the peer received %q from %s (%v)", buffer[:n], from, err)
			}
			if err := c.Connect(addrOf(b)); err != nil {
				t.Fatal(err)
			}
			tell(t, b, c, control("SCCCN again"))
			expect(b, "SCCCN again", "a new tunnel replaces the old one")
			if err := c.Disconnect(); err != nil {
				t.Fatal(err)
			}
			tell(t, b, c, control("StopCCN"))
			expect(b, "StopCCN", "without a tunnel the unconnected socket hears everything")
		})
	}
}

// TestPollerManyClients adds, uses and closes clients from several goroutines at once.
func TestPollerManyClients(t *testing.T) {
	var heard sync.Map // of the sender's address to chan string
	p, err := NewPoller(func(_ uint16, remote netip.AddrPort, payload []byte) {
		if ch, ok := heard.Load(remote); ok {
			ch.(chan string) <- string(payload)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var wait sync.WaitGroup
	for i := range byte(4) {
		wait.Go(func() {
			for range 20 {
				c := openTestSlot(t, netip.AddrFrom4([4]byte{127, 0, 1, i})) // else they could choose one port
				ch := make(chan string, 1)
				heard.Store(c.Local(), ch)
				if err := p.Add(c.slot); err != nil {
					t.Error(err)
					return
				}
				if err := c.Connect(c.Local()); err != nil { // to itself
					t.Error(err)
				}
				if err := c.Send(c.Local(), control("hello")); err != nil {
					t.Error(err)
				}
				if text := <-ch; text != string(control("hello")) {
					t.Errorf("received %q", text)
				}
				heard.Delete(c.Local())
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sockets) != 0 {
		t.Errorf("%d sockets are still registered", len(p.sockets))
	}
}

func TestPollerRemove(t *testing.T) {
	p, got := startPoller(t)
	c, other := openTestSlot(t, loopback4), openTestSlot(t, loopback4)
	for _, c := range []*halves{c, other} {
		if err := p.Add(c.slot); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Add(c.slot); err == nil || !strings.Contains(err.Error(), "read already") {
		t.Errorf("second Add gave %v", err)
	}
	a := peer(t, loopback4)
	p.Remove(c.slot)
	tell(t, a, c, control("unheard"))
	tell(t, a, other, control("heard"))
	if r := <-got; r.slot != other.Local().Port() {
		t.Errorf("a removed client was read: %+v", r)
	}
	if err := p.Add(c.slot); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.payload != string(control("unheard")) {
		t.Errorf("after adding it again: %+v", r)
	}
}

func TestClosed(t *testing.T) {
	c := openTestSlot(t, loopback4)
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := c.Send(c.Local(), control("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send on a closed client gave %v", err)
	}
	if err := c.Connect(c.Local()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Connect on a closed client gave %v", err)
	}
	p, _ := startPoller(t)
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := p.Add(openTestSlot(t, loopback4).slot); err == nil {
		t.Error("a closed poller took a client")
	}
}

// TestRefusal: an ICMP error about something sent must not end the reading of a socket.
func TestRefusal(t *testing.T) {
	p, got := startPoller(t)
	c := openTestSlot(t, loopback4)
	if err := p.Add(c.slot); err != nil {
		t.Fatal(err)
	}
	gone := peer(t, loopback4)
	nobody := addrOf(gone)
	_ = gone.Close()
	if err := c.Connect(nobody); err != nil {
		t.Fatal(err)
	}
	if err := c.slot.tunnel.send(nobody, control("hello")); err != nil {
		t.Fatal(err)
	}
	back, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(nobody))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	tell(t, back, c, control("I am back"))
	if r := <-got; r.payload != string(control("I am back")) {
		t.Errorf("received %+v", r)
	}
}
