//go:build kernel

package xfrm

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
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

// link is a sender and a receiver in network namespaces of their own, with a cable between them and sockets that take and send
// nothing but ESP.
type link struct {
	t                *testing.T
	src, dst         netns.NsHandle
	srcAddr, dstAddr netip.Addr
	sas              map[Direction]*Conn
	from, to         int // sockets
	wire             int // socket that sees the ESP packets as they arrive
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
	for wait := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		dev, err := netlink.LinkByName("cable")
		if err != nil {
			l.t.Fatal(err)
		}
		if dev.Attrs().OperState == netlink.OperUp {
			return
		}
		if time.Now().After(wait) {
			l.t.Fatalf("the cable is %v", dev.Attrs().OperState)
		}
	}
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

// send sends a datagram. sent is what appeared on the wire, nil for nothing; received says whether it came out at the end.
func (l *link) send(payload []byte) (sent *esp, received bool) {
	t := l.t
	t.Helper()
	// A packet that the SA cannot take any more is an error here or vanishes, which is the same to the test.
	_ = unix.Sendto(l.from, payload, 0, &unix.SockaddrInet4{Addr: l.dstAddr.As4(), Port: linkPort})
	b := make([]byte, 2000)
	for wait := time.Now().Add(500 * time.Millisecond); time.Now().Before(wait) && !received; {
		if n, _, err := unix.Recvfrom(l.wire, b, 0); err == nil && n > 28 {
			if spi := network.Uint32(b[20:]); spi != linkSPI {
				t.Errorf("SPI %#x on the wire", spi)
			}
			if bytes.Contains(b[:n], payload) {
				t.Error("the payload is on the wire in the clear")
			}
			sent = &esp{network.Uint32(b[24:]), n - 20}
			wait = time.Now().Add(time.Second)
		}
		if n, _, err := unix.Recvfrom(l.to, b, 0); err == nil {
			received = true
			if !bytes.Equal(b[:n], payload) {
				t.Errorf("received %d octets that were not sent", n)
			}
		}
		time.Sleep(time.Millisecond)
	}
	return sent, received
}

// suite is a pair of algorithms with what it adds to a packet.
type suite struct {
	name      string
	set       func(*State)
	iv, block int
	icv       int
}

func cbc(crypt *Crypt, auth *Auth) func(*State) {
	return func(s *State) { s.Crypt, s.Auth = crypt, auth }
}

func gcm(make func([]byte) *AEAD, octets int) func(*State) {
	return func(s *State) { s.AEAD = make(key(octets)) }
}

var suites = []suite{
	{name: "3des-sha1", set: cbc(TripleDESCBC([]byte("one key, two keys, three")), HMACSHA1(key(20))), iv: 8, block: 8, icv: 12},
	{name: "aes128-sha1", set: cbc(AESCBC(key(16)), HMACSHA1(key(20))), iv: 16, block: 16, icv: 12},
	{name: "aes192-sha256_96", set: cbc(AESCBC(key(24)), HMACSHA256Trunc96(key(32))), iv: 16, block: 16, icv: 12},
	{name: "aes256-sha256", set: cbc(AESCBC(key(32)), HMACSHA256(key(32))), iv: 16, block: 16, icv: 16},
	{name: "aes256-sha384", set: cbc(AESCBC(key(32)), HMACSHA384(key(48))), iv: 16, block: 16, icv: 24},
	{name: "aes256-sha512", set: cbc(AESCBC(key(32)), HMACSHA512(key(64))), iv: 16, block: 16, icv: 32},
	{name: "aes128gcm8", set: gcm(AESGCM8, 20), iv: 8, block: 4, icv: 8},
	{name: "aes192gcm12", set: gcm(AESGCM12, 28), iv: 8, block: 4, icv: 12},
	{name: "aes256gcm16", set: gcm(AESGCM16, 36), iv: 8, block: 4, icv: 16},
}

// length is that of an ESP packet with a UDP datagram in it (RFC 4303 section 2).
func (s suite) length(payload int) int {
	inner := (8 + payload + 2 + s.block - 1) / s.block * s.block
	return 8 + s.iv + inner + s.icv
}

var text = bytes.Repeat([]byte("no other must read this. "), 4)

// TestKernelTraffic sends through each algorithm, without and with ESN.
func TestKernelTraffic(t *testing.T) {
	for _, suite := range suites {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s ESN %v", suite.name, extended), func(t *testing.T) {
				l := newLink(t)
				for _, dir := range []Direction{In, Out} {
					l.secure(dir, func(s *State) { suite.set(s); s.ESN = extended })
				}
				for i := range uint32(3) {
					sent, received := l.send(text)
					if sent == nil || *sent != (esp{i + 1, suite.length(len(text))}) || !received {
						t.Fatalf("packet %d: on the wire %+v, want length %d; received %v", i+1, sent, suite.length(len(text)), received)
					}
				}
				in, out := l.state(In), l.state(Out)
				if in.ESN != extended || out.ESN != extended || in.Sequence != (Sequence{Received: 3}) || out.Sequence != (Sequence{Sent: 3}) ||
					in.Stats.Packets != 3 || out.Stats.Packets != 3 {
					t.Errorf("after three packets the SAs are\n%+v\n%+v", in, out)
				}
			})
		}
	}
}

// TestKernelMismatch: what one side leaves out the other misses.
func TestKernelMismatch(t *testing.T) {
	for name, c := range map[string]struct{ in, out func(*State) }{
		"ICV of 96 and of 128 bits": {
			cbc(AESCBC(key(32)), HMACSHA256(key(32))), cbc(AESCBC(key(32)), HMACSHA256Trunc96(key(32))),
		},
		"ICV of 12 and of 16 octets": {gcm(AESGCM16, 36), gcm(AESGCM12, 36)},
		"ESN here and not there": {
			gcm(AESGCM16, 36), func(s *State) { gcm(AESGCM16, 36)(s); s.ESN = true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLink(t)
			l.secure(In, c.in)
			l.secure(Out, c.out)
			if sent, received := l.send(text); sent == nil || received {
				t.Errorf("on the wire %v, received %v", sent, received)
			}
			if in := l.state(In); in.Stats.IntegrityFailed != 1 {
				t.Errorf("statistics are %+v", in.Stats)
			}
		})
	}
}

// TestKernelSequenceWrap: after packet 2^32-1 there is another one with ESN, and none without.
func TestKernelSequenceWrap(t *testing.T) {
	const before = 1<<32 - 3
	for name, c := range map[string]struct {
		extended bool
		change   func(out *State)
		wire     []uint32
		end      uint64
	}{
		"32 bits": {false, nil, []uint32{1<<32 - 2, 1<<32 - 1}, 1<<32 - 1},
		"ESN":     {true, nil, []uint32{1<<32 - 2, 1<<32 - 1, 0, 1, 2}, 1<<32 + 2},
		"ESN as it is added to a kernel before 6.10": {
			true, func(out *State) { out.Direction, out.ReplayWindow = 0, 1 }, []uint32{1<<32 - 2, 1<<32 - 1, 0, 1, 2}, 1<<32 + 2,
		},
	} {
		for _, suite := range []suite{suites[0], suites[len(suites)-1]} {
			t.Run(name+" "+suite.name, func(t *testing.T) {
				l := newLink(t)
				l.secure(In, func(s *State) { suite.set(s); s.ESN, s.Sequence.Received = c.extended, before })
				l.secure(Out, func(s *State) {
					suite.set(s)
					s.ESN, s.Sequence.Sent = c.extended, before
					if c.change != nil {
						c.change(s)
					}
				})
				var wire []uint32
				got := 0
				for range 5 {
					sent, received := l.send(text)
					if sent != nil {
						wire = append(wire, sent.sequence)
					}
					if received {
						got++
					}
				}
				if !slices.Equal(wire, c.wire) || got != len(c.wire) {
					t.Errorf("sequence numbers %x on the wire, want %x; %d received", wire, c.wire, got)
				}
				if in, out := l.state(In), l.state(Out); in.Sequence.Received != c.end || out.Sequence.Sent != c.end {
					t.Errorf("at the end sent %#x, received %#x, want %#x", out.Sequence.Sent, in.Sequence.Received, uint64(c.end))
				}
				l.enter(l.src)
				if n := statistic(t, "XfrmOutStateSeqError"); n != 5-len(c.wire) {
					t.Errorf("XfrmOutStateSeqError is %d, want %d", n, 5-len(c.wire))
				}
			})
		}
	}
}

// TestKernelByteLimits: one event at the soft limit, while traffic goes on; at the hard one it ends.
func TestKernelByteLimits(t *testing.T) {
	for _, limited := range []Direction{In, Out} {
		t.Run(limited.String(), func(t *testing.T) {
			l := newLink(t)
			l.enter(map[Direction]netns.NsHandle{In: l.dst, Out: l.src}[limited])
			m, err := NewMonitor()
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			events := make(chan Event, 10)
			go func() {
				for {
					list, err := m.Receive()
					if err != nil {
						return
					}
					for _, e := range list {
						events <- e
					}
				}
			}()
			for _, dir := range []Direction{In, Out} {
				l.secure(dir, func(s *State) {
					gcm(AESGCM16, 20)(s)
					if dir == limited {
						s.Soft.Bytes, s.Hard.Bytes = 1000, 2000
					}
				})
			}
			next := func() (e Event) {
				select {
				case e = <-events:
				case <-time.After(200 * time.Millisecond):
				}
				return e
			}
			id := ID{Dst: l.dstAddr, SPI: linkSPI}
			for range 5 { // of 108 octets each, as the SA counts them
				if _, received := l.send(text); !received {
					t.Fatal("a packet was lost before any limit")
				}
			}
			if e := next(); e != nil {
				t.Fatalf("%+v after %d octets", e, l.state(limited).Stats.Bytes)
			}
			soft := 0
			for range 8 { // the one that finds the limit reached gives the event
				if _, received := l.send(text); !received {
					t.Fatal("a packet was lost between the limits")
				}
				switch e := next(); e {
				case Expire{ID: id, ReqID: linkReqID}:
					if soft++; l.state(limited).Stats.Bytes < 1000 {
						t.Errorf("soft limit after %d octets", l.state(limited).Stats.Bytes)
					}
				case nil:
				default:
					t.Fatalf("unexpected %+v", e)
				}
			}
			if soft != 1 {
				t.Fatalf("%d events of the soft limit after %d octets, want one", soft, l.state(limited).Stats.Bytes)
			}
			received := true
			for n := 0; n < 20 && received; n++ {
				_, received = l.send(text)
			}
			if e := next(); received || e != (Expire{ID: id, ReqID: linkReqID, Hard: true}) {
				t.Errorf("at the hard limit: received %v, event %+v", received, e)
			}
			if _, err := l.sas[limited].Get(id); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("Get after the hard limit gave %v", err)
			}
		})
	}
}
