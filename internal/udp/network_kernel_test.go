//go:build kernel

package udp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/steering"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

const testTag = 0x1701

func markOf(port uint16) uint32 { return testTag<<16 | uint32(port) }

// command runs a program of one line without quoting.
func command(t *testing.T, format string, args ...any) {
	t.Helper()
	f := strings.Fields(fmt.Sprintf(format, args...))
	if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(f, " "), err, out)
	}
}

// namespace makes a network namespace, which ip(8) knows by name.
func namespace(t *testing.T, name string) netns.NsHandle {
	t.Helper()
	command(t, "ip netns add %s", name)
	t.Cleanup(func() { command(t, "ip netns del %s", name) })
	h, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	command(t, "ip -n %s link set lo up", name)
	return h
}

// enter puts the test's thread, and the sockets it opens from now on, into a namespace.
func enter(t *testing.T, h netns.NsHandle) {
	t.Helper()
	if err := netns.Set(h); err != nil {
		t.Fatal(err)
	}
}

// lockThread keeps the test on one thread and puts that back into its namespace in the end.
func lockThread(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		enter(t, home)
		_ = home.Close()
		runtime.UnlockOSThread()
	})
}

// patience is how long a test waits for what is to come, on a machine that has other things to do.
const patience = 20 * time.Second

// eventually waits until something is so; state is for the message of the test that it is not.
func eventually(t *testing.T, what string, done func() (state string, ok bool)) {
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

// awaitCarrier waits until a device can send: the kernel gives it its queue some time after the other end is up, and drops everything before.
func awaitCarrier(t *testing.T, ns, device string) {
	t.Helper()
	eventually(t, device+" is up", func() (string, bool) {
		out, err := exec.Command("ip", "-n", ns, "link", "show", "dev", device).CombinedOutput()
		return fmt.Sprintf("%s, %v", out, err), err == nil && strings.Contains(string(out), " state UP ")
	})
}

// cable joins two namespaces; the addresses have prefix lengths.
func cable(t *testing.T, ns1, dev1, addr1, ns2, dev2, addr2 string) {
	t.Helper()
	command(t, "ip -n %s link add %s type veth peer name %s netns %s", ns1, dev1, dev2, ns2)
	for _, end := range [][3]string{{ns1, dev1, addr1}, {ns2, dev2, addr2}} {
		nodad := ""
		if strings.Contains(end[2], ":") {
			nodad = "nodad"
		}
		command(t, "ip -n %s addr add %s dev %s %s", end[0], end[2], end[1], nodad)
		command(t, "ip -n %s link set %s up", end[0], end[1])
	}
	awaitCarrier(t, ns1, dev1)
	awaitCarrier(t, ns2, dev2)
}

// server is a concentrator's sockets, SAs and steering table.
type server struct {
	t       *testing.T
	ns      netns.NsHandle
	addr    netip.Addr
	sas     *xfrm.Conn
	poller  *Poller
	control <-chan received
}

// startServer works in the current namespace.
func startServer(t *testing.T, ns netns.NsHandle, addr netip.Addr) *server {
	t.Helper()
	enter(t, ns)
	if err := steering.Install(steering.DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	sas, err := xfrm.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sas.Close() })
	s := &server{t: t, ns: ns, addr: addr, sas: sas}
	s.poller, s.control = startPoller(t)
	return s
}

// open opens a slot.
func (s *server) open(port uint16) *halves {
	s.t.Helper()
	enter(s.t, s.ns)
	c, err := OpenClient(s.addr, port, markOf(port))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	h, err := newHalves(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = h.slot.Close() })
	if err := s.poller.Add(h.slot); err != nil {
		s.t.Fatal(err)
	}
	return h
}

// next is the next control message that a slot received.
func (s *server) next(why string) received {
	s.t.Helper()
	return within(s.t, s.control, why)
}

// within takes from a channel, with a limit for the case that the kernel has dropped what should have come.
func within[T any](t *testing.T, ch <-chan T, why string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		stat, _ := os.ReadFile("/proc/thread-self/net/xfrm_stat")
		var bad []string
		for line := range strings.Lines(string(stat)) {
			if f := strings.Fields(line); len(f) == 2 && f[1] != "0" {
				bad = append(bad, strings.Join(f, "="))
			}
		}
		counters, _ := steering.Read(steering.DefaultConfig())
		t.Fatalf("nothing came: %s; %v %+v", why, bad, counters)
	}
	var none T
	return none
}

// l2tpPeer is the socket of a client's operating system: port 1701, everything through SAs with the reqid 1.
func l2tpPeer(t *testing.T, local netip.AddrPort, checksum bool) *net.UDPConn {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		outer := raw.Control(func(fd uintptr) {
			for _, dir := range []xfrm.Direction{xfrm.In, xfrm.Out} {
				if err == nil {
					err = xfrm.SetSocketPolicy(int(fd), local.Addr().Is6(), dir, 1)
				}
			}
			if err == nil && !checksum {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
			}
		})
		if outer != nil {
			return outer
		}
		return err
	}}
	pc, err := config.ListenPacket(context.Background(), "udp", local.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return pc.(*net.UDPConn)
}

// readFrom reads one datagram with a time limit.
func readFrom(t *testing.T, c *net.UDPConn, why string) (string, netip.AddrPort) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatalf("%s: %v", why, err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// newSA is an SA with fixed keys; CBC with HMAC when gcm is false.
func newSA(src, dst netip.Addr, spi, reqid uint32, dir xfrm.Direction, gcm bool) *xfrm.State {
	key := make([]byte, 36)
	s := &xfrm.State{ID: xfrm.ID{Dst: dst, SPI: spi}, Src: src, ReqID: reqid, Direction: dir}
	if gcm {
		s.AEAD = xfrm.AESGCM16(key)
	} else {
		s.Crypt, s.Auth = xfrm.AESCBC(key[:32]), xfrm.HMACSHA1(key[:20])
	}
	if dir == xfrm.In {
		s.ReplayWindow = 128
	}
	return s
}

// forSlot makes an inbound SA that of a slot.
func forSlot(s *xfrm.State, port uint16) *xfrm.State {
	s.Selector = xfrm.Selector{
		Src: netip.PrefixFrom(s.Src, s.Src.BitLen()), Dst: netip.PrefixFrom(s.Dst, s.Dst.BitLen()),
		Proto: unix.IPPROTO_UDP, DstPort: port, DstPortMask: 0xffff,
	}
	s.OutputMark = xfrm.Mark{Value: markOf(port), Mask: ^uint32(0)}
	return s
}

func addSAs(t *testing.T, c *xfrm.Conn, states ...*xfrm.State) {
	t.Helper()
	for _, s := range states {
		if err := c.Add(s); err != nil {
			t.Fatal(err)
		}
	}
}
