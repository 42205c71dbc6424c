//go:build kernel

package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// also gives one end of the link a further address, and a socket that is bound to it.
func (l *link) also(ns netns.NsHandle, dir Direction, addr netip.Addr) (socket int) {
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
	if err := netlink.AddrAdd(dev, ip); err != nil {
		t.Fatal(err)
	}
	fd := udpSocket(t, false)
	if err := SetSocketPolicy(fd, false, dir, linkReqID); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.As4(), Port: linkPort}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// move moves the SAs of both ends.
func (l *link) move(id ID, to Place) ID {
	l.t.Helper()
	var now ID
	for _, dir := range []Direction{In, Out} {
		var err error
		if now, err = l.sas[dir].Move(id, to); err != nil {
			l.t.Fatalf("%v: %v", dir, err)
		}
	}
	return now
}

// packet is an ESP packet as it is on the wire, without its IP header.
func (l *link) packet() []byte {
	l.t.Helper()
	b, n := make([]byte, 2000), 0
	eventually(l.t, "a packet on the wire", func() (string, bool) {
		n, _, _ = unix.Recvfrom(l.wire, b, 0)
		return fmt.Sprintf("%d octets", n), n > 28
	})
	return b[20:n]
}

// TestKernelMove moves both ends of a pair of SAs, the sender's address first, then the receiver's: numbers, counters, age, limits and the
// memory of what came go on.
func TestKernelMove(t *testing.T) {
	for _, suite := range []suite{suites[0], suites[3], suites[len(suites)-1]} {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s ESN %v", suite.name, extended), func(t *testing.T) {
				l := newLink(t)
				newSrc, newDst := netip.MustParseAddr("192.0.2.3"), netip.MustParseAddr("192.0.2.4")
				for _, dir := range []Direction{In, Out} {
					l.secure(dir, func(s *State) {
						suite.set(s)
						s.ESN = extended
						s.Soft, s.Hard = Limit{Bytes: 1 << 20, Time: time.Minute}, Limit{Bytes: 1 << 30, Time: time.Hour}
					})
				}
				number := uint32(0)
				send := func() {
					t.Helper()
					for range 3 {
						number++
						sent, received := l.send(text)
						if sent == nil || sent.sequence != number || !received {
							t.Fatalf("packet %d: %+v on the wire, received %v; IPsec dropped %q", number, sent, received, l.dropped())
						}
					}
				}
				send()
				_ = unix.Sendto(l.from, text, 0, &unix.SockaddrInet4{Addr: l.dstAddr.As4(), Port: linkPort})
				old := l.packet()
				number++
				eventually(t, "the packet to be repeated comes through", func() (string, bool) { return l.dropped(), drain(l.to) != 0 })
				added := map[Direction]State{In: l.state(In), Out: l.state(Out)}
				time.Sleep(1100 * time.Millisecond) // the kernel counts seconds

				id := ID{l.dstAddr, linkSPI}
				l.from = l.also(l.src, Out, newSrc)
				if now := l.move(id, Place{Src: newSrc, Dst: l.dstAddr}); now != id {
					t.Fatalf("the ID became %v", now)
				}
				l.srcAddr = newSrc
				send()
				l.to = l.also(l.dst, In, newDst)
				if now := l.move(id, Place{Src: newSrc, Dst: newDst}); now != (ID{newDst, linkSPI}) {
					t.Fatalf("the ID became %v", now)
				}
				l.dstAddr = newDst
				send()

				for dir, before := range added {
					s := l.state(dir)
					if s.Stats.Packets != uint64(number) || !s.Stats.AddTime.Equal(before.Stats.AddTime) || !s.Stats.UseTime.Equal(before.Stats.UseTime) ||
						s.Soft != before.Soft || s.Hard != before.Hard || s.ESN != extended || s.Sequence.Sent+s.Sequence.Received != uint64(number) ||
						s.Stats.Bytes <= before.Stats.Bytes {
						t.Errorf("the SA was\n%+v, and is\n%+v", before, s)
					}
					if list, err := l.sas[dir].List(); err != nil || len(list) != 1 {
						t.Errorf("%d SAs, %v", len(list), err)
					}
				}

				// Somebody repeats what came before the moves.
				l.enter(l.src)
				raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ESP)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(raw)
				if err := unix.Bind(raw, &unix.SockaddrInet4{Addr: newSrc.As4()}); err != nil {
					t.Fatal(err)
				}
				if err := unix.Sendto(raw, old, 0, &unix.SockaddrInet4{Addr: newDst.As4()}); err != nil {
					t.Fatal(err)
				}
				l.packet()
				came := 0
				eventually(t, "a repeated packet is refused or comes through", func() (string, bool) {
					came += drain(l.to)
					return l.dropped(), came != 0 || l.state(In).Stats.ReplayFailed != 0
				})
				if came != 0 {
					t.Error("a repeated packet came through")
				}
				if s := l.state(In); s.Stats.ReplayFailed != 1 || s.Stats.Packets != uint64(number) {
					t.Errorf("after a repeated packet: %+v", s.Stats)
				}
			})
		}
	}
}

// TestKernelMoveState moves SAs of all kinds, without traffic.
func TestKernelMoveState(t *testing.T) {
	there4, there6 := netip.MustParseAddr("198.51.100.99"), netip.MustParseAddr("2001:db8:1::99")
	for name, s := range kernelStates() {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			c := dial(t)
			there := there4
			if s.Dst.Is6() {
				there = there6
			}
			to := Place{Src: s.Src, Dst: there, Encap: s.Encap, Selector: s.Selector}
			if s.Direction == In {
				to.Src, to.Dst = there, s.Dst
			}
			if s.Encap != nil {
				to.Encap = &Encap{SrcPort: s.Encap.SrcPort + 1, DstPort: s.Encap.DstPort}
			}
			if err := c.Add(s); err != nil {
				t.Fatal(err)
			}
			before, err := c.Get(s.ID)
			if err != nil {
				t.Fatal(err)
			}
			id, err := c.Move(s.ID, to)
			if err != nil {
				t.Fatal(err)
			}
			after, err := c.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			want := before
			want.Dst, want.Src, want.Encap = to.Dst, to.Src, to.Encap
			if d := sameState(want, after); d != "" || after.Stats != before.Stats {
				t.Errorf("the SA changed but for its place:\n%s\n%+v, before %+v", d, after.Stats, before.Stats)
			}
			if list, err := c.List(); err != nil || len(list) != 1 {
				t.Errorf("%d SAs, %v", len(list), err)
			}

			// Where another one is, and where the kernel will have none, it stays.
			other := *s
			other.SPI++
			if err := c.Add(&other); err != nil {
				t.Fatal(err)
			}
			bad := to
			bad.Src, bad.Selector.Family = s.Src, 77
			if s.Direction == Out {
				bad.Src, bad.Dst = to.Src, s.Dst
			}
			if _, err := c.Move(id, bad); !errors.Is(err, unix.EINVAL) {
				t.Errorf("a selector of no family gave %v", err)
			}
			if got, err := c.Get(id); err != nil || sameState(after, got) != "" || got.Stats != after.Stats {
				t.Errorf("after a move that failed: %+v, %v", got, err)
			}
		})
	}
}

// TestKernelMoveTaken: two peers behind the NAT to which one of them moves may have chosen one SPI.
func TestKernelMoveTaken(t *testing.T) {
	inNamespace(t)
	c := dial(t)
	mine, other := kernelStates()["cbc outbound"], kernelStates()["cbc outbound"]
	other.Dst = netip.MustParseAddr("198.51.100.99")
	if err := errors.Join(c.Add(mine), c.Add(other)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Move(mine.ID, Place{Src: mine.Src, Dst: other.Dst}); !errors.Is(err, os.ErrExist) {
		t.Errorf("Move gave %v", err)
	}
	if _, err := c.Get(mine.ID); err != nil {
		t.Error(err)
	}
}

// TestKernelMoveOffloaded: the device loses the SA and gets it again.
func TestKernelMoveOffloaded(t *testing.T) {
	inNamespace(t)
	c, d := dial(t), simulate(t)
	for i := range uint32(33) { // more have no room: it must go before it comes
		if err := c.Add(offloaded(0x1000+i, Offload{Device: d.link.Attrs().Index, Mode: OffloadCrypto})); err != nil {
			t.Fatal(err)
		}
	}
	s := offloaded(0x1007, Offload{})
	id, err := c.Move(s.ID, Place{Src: netip.MustParseAddr("198.51.100.99"), Dst: s.Dst})
	if err != nil {
		t.Fatal(err)
	}
	d.wantCount("after Move", 33)
	if got, err := c.Get(id); err != nil || got.Offload.Mode != OffloadCrypto || got.Direction != In {
		t.Errorf("%+v, %v", got, err)
	}
}

func drain(socket int) (n int) {
	b := make([]byte, 2000)
	for {
		if _, _, err := unix.Recvfrom(socket, b, 0); err != nil {
			return n
		}
		n++
	}
}
