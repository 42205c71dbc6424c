//go:build kernel

package xfrm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	linkReqID = 0x17014005
	linkSPI   = 0x1000
	linkPort  = 0x4005
)

// patience is how long a test waits for what the kernel does in its own time, on a machine that has other things to do.
const patience = 20 * time.Second

// eventually waits until something is so; state is for the message of the test that it is not.
func eventually(t *testing.T, what string, done func() (state string, ok bool)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		state, ok := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v: %s", what, patience, state)
		}
	}
}

// link is a sender and a receiver in network namespaces of their own, with a cable between them and sockets that take and send
// nothing but ESP.
type link struct {
	t                *testing.T
	src, dst         netns.NsHandle
	srcAddr, dstAddr netip.Addr
	sas              map[Direction]*Conn
	from, to         int        // sockets
	wire             int        // socket that sees the ESP packets as they arrive
	statistics       []*os.File // of both namespaces
}

func newLink(t *testing.T) *link {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	l := &link{t: t, srcAddr: netip.MustParseAddr("192.0.2.1"), dstAddr: netip.MustParseAddr("192.0.2.2"), sas: map[Direction]*Conn{}}
	for _, ns := range []*netns.NsHandle{&l.dst, &l.src} {
		var err error
		if *ns, err = netns.New(); err != nil {
			t.Fatalf("new network namespace (root is required): %v", err)
		}
		t.Cleanup(func() { _ = ns.Close() })
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "cable"}, PeerName: "cable", PeerNamespace: netlink.NsFd(l.dst)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatalf("veth: %v", err)
	}
	l.from = l.end(l.src, Out, l.srcAddr)
	l.to = l.end(l.dst, In, l.dstAddr)
	for _, ns := range []netns.NsHandle{l.src, l.dst} {
		l.awaitCarrier(ns)
	}
	var err error
	if l.wire, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ESP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(l.wire) })
	return l
}

// enter puts the thread into a namespace.
func (l *link) enter(ns netns.NsHandle) {
	l.t.Helper()
	if err := netns.Set(ns); err != nil {
		l.t.Fatal(err)
	}
}

// end makes one end of the link, and returns its socket.
func (l *link) end(ns netns.NsHandle, dir Direction, addr netip.Addr) int {
	t := l.t
	t.Helper()
	l.enter(ns)
	dev, err := netlink.LinkByName("cable")
	if err != nil {
		t.Fatal(err)
	}
	ip, err := netlink.ParseAddr(addr.String() + "/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.AddrAdd(dev, ip), netlink.LinkSetUp(dev)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/proc/thread-self/net/xfrm_stat")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	l.statistics = append(l.statistics, f)
	l.sas[dir] = dial(t)
	fd := udpSocket(t, false)
	if err := SetSocketPolicy(fd, false, dir, linkReqID); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.As4(), Port: linkPort}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// awaitCarrier waits until an end can send: the kernel gives a device its queue some time after the other end is up, and drops everything before.
func (l *link) awaitCarrier(ns netns.NsHandle) {
	l.t.Helper()
	l.enter(ns)
	eventually(l.t, "the cable is up", func() (string, bool) {
		dev, err := netlink.LinkByName("cable")
		if err != nil {
			l.t.Fatal(err)
		}
		return dev.Attrs().OperState.String(), dev.Attrs().OperState == netlink.OperUp
	})
}

// secure installs the SA of one direction.
func (l *link) secure(dir Direction, change func(*State)) {
	l.t.Helper()
	s := &State{ID: ID{Dst: l.dstAddr, SPI: linkSPI}, Src: l.srcAddr, ReqID: linkReqID, Direction: dir}
	if dir == In {
		s.ReplayWindow = 64
	}
	change(s)
	if err := l.sas[dir].Add(s); err != nil {
		l.t.Fatal(err)
	}
}

func (l *link) state(dir Direction) State {
	l.t.Helper()
	s, err := l.sas[dir].Get(ID{Dst: l.dstAddr, SPI: linkSPI})
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// esp is a packet on the wire.
type esp struct {
	sequence uint32
	length   int
}

// dropped tells what IPsec of both ends has dropped so far, by cause.
func (l *link) dropped() string {
	l.t.Helper()
	var counters []string
	for _, f := range l.statistics {
		b := make([]byte, 16<<10)
		n, err := f.ReadAt(b, 0)
		if err != io.EOF {
			l.t.Fatalf("%d octets of statistics, %v", n, err)
		}
		for line := range strings.Lines(string(b[:n])) {
			if f := strings.Fields(line); len(f) == 2 && f[1] != "0" {
				counters = append(counters, f[0]+"="+f[1])
			}
		}
	}
	return strings.Join(counters, " ")
}

// send sends a datagram. sent is what appeared on the wire, nil for nothing; received says whether it came out at the end. What does not
// was refused, or is counted by the kernel as dropped: send does not guess from the time.
func (l *link) send(payload []byte) (sent *esp, received bool) {
	t := l.t
	t.Helper()
	before := l.dropped()
	lost := unix.Sendto(l.from, payload, 0, &unix.SockaddrInet4{Addr: l.dstAddr.As4(), Port: linkPort}) != nil
	b := make([]byte, 2000)
	eventually(t, "the datagram comes through or is dropped", func() (string, bool) {
		// The later a place on the way, the earlier it is looked at: what is there has been at the others.
		lost = lost || l.dropped() != before
		if n, _, err := unix.Recvfrom(l.to, b, 0); err == nil {
			received = true
			if !bytes.Equal(b[:n], payload) {
				t.Errorf("received %d octets that were not sent", n)
			}
		}
		if n, _, err := unix.Recvfrom(l.wire, b, 0); err == nil && n > 28 {
			if spi := network.Uint32(b[20:]); spi != linkSPI {
				t.Errorf("SPI %#x on the wire", spi)
			}
			if bytes.Contains(b[:n], payload) {
				t.Error("the payload is on the wire in the clear")
			}
			sent = &esp{network.Uint32(b[24:]), n - 20}
		}
		return fmt.Sprintf("%+v on the wire, IPsec dropped %q", sent, l.dropped()), received || lost
	})
	return sent, received
}
