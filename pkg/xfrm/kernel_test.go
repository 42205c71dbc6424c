//go:build kernel

package xfrm

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inNamespace puts the test into a network namespace of its own, with loopback up.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("new network namespace (root is required): %v", err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func kernelStates() map[string]*State {
	out := states()
	delete(out, "v6") // has an offload, for which there is no device
	out["gcm outbound"].Encap = &Encap{SrcPort: 4500, DstPort: 1011}
	out["cbc outbound"] = &State{
		ID: ID{Dst: client4, SPI: 0x1000}, Src: server4, ReqID: 0x17014005, Crypt: AESCBC(key(16)), Auth: HMACSHA1(key(20)),
		Direction: Out,
	}
	out["gcm inbound"] = &State{
		ID: ID{Dst: server4, SPI: 0x1001}, Src: client4, ReqID: 0x17014006, AEAD: AESGCM16(key(20)), Direction: In,
		ReplayWindow: MaxReplayWindow, OutputMark: Mark{Value: 0x17014006, Mask: ^uint32(0)},
	}
	out["v6 inbound"] = &State{
		ID: ID{Dst: server6, SPI: 0x1002}, Src: client6, ReqID: 0x17014007, Crypt: AESCBC(key(32)), Auth: HMACSHA512(key(64)),
		Direction: In, ReplayWindow: 64, OutputMark: Mark{Value: 0x17014007, Mask: ^uint32(0)}, Hard: Limit{Time: time.Minute},
		Selector: Selector{Proto: 17, DstPort: 0x4007, DstPortMask: 0xffff},
		Encap:    &Encap{SrcPort: 6, DstPort: 4500}, MappingThreshold: time.Second,
	}
	out["v6 outbound"] = &State{
		ID: ID{Dst: client6, SPI: 0x1003}, Src: server6, ReqID: 0x17014007, AEAD: AESGCM16(key(36)), Direction: Out,
		Encap: &Encap{SrcPort: 4500, DstPort: 6},
	}
	return out
}

func TestKernelState(t *testing.T) {
	for name, s := range kernelStates() {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			c := dial(t)
			if err := c.Add(s); err != nil {
				t.Fatal(err)
			}
			if err := c.Add(s); !errors.Is(err, os.ErrExist) {
				t.Errorf("second Add gave %v", err)
			}
			got, err := c.Get(s.ID)
			if err != nil {
				t.Fatal(err)
			}
			want, err := parseState(s.appendTo(nil)) // makes defaults explicit
			if err != nil {
				t.Fatal(err)
			}
			if d := sameState(want, got); d != "" {
				t.Errorf("the kernel has another SA:\n%s", d)
			}
			if got.Stats.AddTime.IsZero() || !got.Stats.UseTime.IsZero() {
				t.Errorf("times of a new SA: %+v", got.Stats)
			}
			if s.Encap != nil {
				encap := Encap{SrcPort: s.Encap.SrcPort + 1, DstPort: s.Encap.DstPort + 1}
				if err := c.UpdateEncap(s.ID, encap); err != nil {
					t.Fatal(err)
				}
				if got, err = c.Get(s.ID); err != nil || *got.Encap != encap {
					t.Errorf("after UpdateEncap: %v, %v", got, err)
				}
			}
			if list, err := c.List(); err != nil || len(list) != 1 || list[0].ID != s.ID {
				t.Errorf("List gave %v, %v", list, err)
			}
			if err := c.Delete(s.ID); err != nil {
				t.Fatal(err)
			}
			for op, err := range map[string]error{"Delete": c.Delete(s.ID), "Update": c.Update(s)} {
				if !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s of an unknown SA gave %v", op, err)
				}
			}
			if _, err := c.Get(s.ID); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("Get of an unknown SA gave %v", err)
			}
		})
	}
}

func TestKernelDeleteMatching(t *testing.T) {
	inNamespace(t)
	c := dial(t)
	for i := range uint32(300) { // more than one message of a dump holds
		s := inbound()
		s.SPI += i
		s.ReqID = 0x1701<<16 | i
		if i%3 == 0 {
			s.ReqID = 0x1702<<16 | i
		}
		if err := c.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.DeleteMatching(func(s State) bool { return s.ReqID>>16 == 0x1701 }); n != 200 || err != nil {
		t.Errorf("deleted %d SAs, error %v, want 200", n, err)
	}
	if list, err := c.List(); len(list) != 100 || err != nil {
		t.Errorf("%d SAs are left, error %v, want 100", len(list), err)
	}
}

func TestKernelErrorText(t *testing.T) {
	inNamespace(t)
	s := inbound()
	s.Crypt.Name = "cbc(nosuchcipher)"
	err := dial(t).Add(s)
	if err == nil || !strings.Contains(err.Error(), "kernel: ") {
		t.Errorf("no text of the kernel in %v", err)
	}
	t.Log(err)
}

// statistic reads a counter of this thread's network namespace.
func statistic(t *testing.T, name string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/xfrm_stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no counter %s", name)
	return 0
}

func udpSocket(t *testing.T, v6 bool) int {
	t.Helper()
	fd, err := unix.Socket(int(socketFamily(v6)), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func loopback(v6 bool, port int) unix.Sockaddr {
	if v6 {
		return &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16(), Port: port}
	}
	return &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
}

func TestKernelSocketPolicy(t *testing.T) {
	for name, v6 := range map[string]bool{"v4": false, "v6": true} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			protected, open := udpSocket(t, v6), udpSocket(t, v6)
			for _, dir := range []Direction{In, Out} {
				if err := SetSocketPolicy(protected, v6, dir, 0x17014005); err != nil {
					t.Fatal(err)
				}
			}
			if err := SetSocketBypass(open, v6); err != nil {
				t.Fatal(err)
			}
			if err := unix.Bind(protected, loopback(v6, 0x4005)); err != nil {
				t.Fatal(err)
			}
			if err := unix.Bind(open, loopback(v6, 0x4006)); err != nil {
				t.Fatal(err)
			}
			before := statistic(t, "XfrmInTmplMismatch")
			if err := unix.Sendto(open, []byte("in the clear"), 0, loopback(v6, 0x4005)); err != nil {
				t.Fatal(err)
			}
			var refused int
			eventually(t, "the datagram is refused", func() (string, bool) {
				refused = statistic(t, "XfrmInTmplMismatch") - before
				return strconv.Itoa(refused), refused != 0
			})
			if refused != 1 {
				t.Errorf("XfrmInTmplMismatch grew by %d, want 1", refused)
			}
			if n, _, err := unix.Recvfrom(protected, make([]byte, 100), 0); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("the protected socket received %d octets of cleartext (%v)", n, err)
			}
			if err := unix.Connect(protected, loopback(v6, 0x4006)); err == nil {
				t.Error("connect without an outbound SA succeeded")
			} else {
				t.Log("connect without an outbound SA:", err)
			}
			_ = unix.Sendto(protected, []byte("must not leave"), 0, loopback(v6, 0x4006))
			if n, _, err := unix.Recvfrom(open, make([]byte, 100), 0); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("%d octets left the protected socket in the clear (%v)", n, err)
			}
		})
	}
}
