//go:build kernel

package xfrm

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// flood sends from its own thread in the namespace of the sender, to where it is told, as fast as it can until it is stopped.
func (l *link) flood(to func() *unix.SockaddrInet4) (stop func() (sent int)) {
	done, ended := make(chan struct{}), make(chan int)
	go func() {
		runtime.LockOSThread()
		sent := 0
		for {
			select {
			case <-done:
				ended <- sent
				return
			default:
			}
			if unix.Sendto(l.from, text, 0, to()) == nil {
				sent++
			}
			if sent%4 == 0 {
				time.Sleep(50 * time.Microsecond) // there is one processor
			}
		}
	}()
	return func() int { close(done); return <-ended }
}

// TestKernelMoveInboundUnderLoad counts what is lost while an inbound SA moves to and fro.
func TestKernelMoveInboundUnderLoad(t *testing.T) {
	l := newLink(t)
	for _, dir := range []Direction{In, Out} {
		l.secure(dir, func(s *State) {
			gcm(AESGCM16, 20)(s)
			if dir == In {
				s.ReplayWindow = 1024
			}
		})
	}
	_ = unix.SetsockoptInt(l.to, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	_ = unix.SetsockoptInt(l.wire, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20)
	at := &unix.SockaddrInet4{Addr: l.dstAddr.As4(), Port: linkPort}
	stop := l.flood(func() *unix.SockaddrInet4 { return at })
	const moves = 100
	id, places := ID{l.dstAddr, linkSPI}, []netip.Addr{netip.MustParseAddr("192.0.2.3"), l.srcAddr}
	l.enter(l.dst)
	missing := -statistic(t, "XfrmInNoStates") - statistic(t, "XfrmInStateInvalid")
	var longest, all time.Duration
	for i := range moves {
		began := time.Now()
		if _, err := l.sas[In].Move(id, Place{Src: places[i%2], Dst: l.dstAddr}); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		all, longest = all+took, max(longest, took)
		time.Sleep(5 * time.Millisecond)
	}
	sent, received := stop(), 0
	before := missing
	eventually(t, "every packet is received or meets no SA", func() (string, bool) {
		missing = before + statistic(t, "XfrmInNoStates") + statistic(t, "XfrmInStateInvalid")
		received += drain(l.to)
		return fmt.Sprintf("%d sent, %d received, %d met no SA; IPsec dropped %q", sent, received, missing, l.dropped()), received+missing >= sent
	})
	in := l.state(In)
	t.Logf("%d moves, %v each, the longest %v: %d packets sent, %d received, %d met no SA", moves, all/moves, longest, sent, received, missing)
	// A packet that is being decrypted when the SA goes is received and nowhere counted: one for each processor.
	forgotten := received - int(in.Stats.Packets)
	if received+missing != sent || forgotten < 0 || forgotten > moves*runtime.NumCPU() || in.Stats.ReplayFailed+in.Stats.WindowFailed != 0 {
		t.Errorf("%d sent, %d received, %d met no SA; the SA counts %+v", sent, received, missing, in.Stats)
	}

	// Nothing of all that came is taken a second time, wherever the SA was when it came.
	l.enter(l.src)
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ESP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(raw)
	b := make([]byte, 2000)
	came, window := [][]byte{}, int(in.ReplayWindow)
	for {
		n, _, err := unix.Recvfrom(l.wire, b, 0)
		if err != nil {
			break
		}
		came = append(came, append([]byte(nil), b[20:n]...))
	}
	if len(came) != sent {
		t.Fatalf("%d packets on the wire of %d", len(came), sent)
	}
	for _, p := range came[max(0, len(came)-window):] {
		if err := unix.Sendto(raw, p, 0, &unix.SockaddrInet4{Addr: l.dstAddr.As4()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Microsecond)
	}
	again := 0
	eventually(t, "every repeated packet is refused or comes through", func() (string, bool) {
		again += drain(l.to)
		now := l.state(In).Stats
		return fmt.Sprintf("%d came through, %+v", again, now), again+int(now.ReplayFailed+now.WindowFailed) >= min(window, len(came))
	})
	lost := sent - received + forgotten
	t.Logf("%d of %d packets were taken when they came again", again, min(window, len(came)))
	if again > lost {
		t.Errorf("%d packets came through at their repetition, and %d were lost or forgotten at first", again, lost)
	}
}

// TestKernelMoveOutboundUnderLoad: no number is used twice while an SA moves that sends all the time.
func TestKernelMoveOutboundUnderLoad(t *testing.T) {
	l := newLink(t)
	l.secure(Out, gcm(AESGCM16, 20))
	_ = unix.SetsockoptInt(l.wire, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20)
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.4"), l.dstAddr}
	l.also(l.dst, In, addrs[0])
	l.enter(l.src)
	i := 0
	// To both all the time: what goes where the SA is not stays here.
	stop := l.flood(func() *unix.SockaddrInet4 {
		i++
		return &unix.SockaddrInet4{Addr: addrs[i%2].As4(), Port: linkPort}
	})
	const moves = 100
	id := ID{l.dstAddr, linkSPI}
	for i := range moves {
		var err error
		if id, err = l.sas[Out].Move(id, Place{Src: l.srcAddr, Dst: addrs[i%2]}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	sent := stop()
	seen := map[uint32]bool{}
	b := make([]byte, 2000)
	eventually(t, "every packet is on the wire", func() (string, bool) {
		for {
			n, _, err := unix.Recvfrom(l.wire, b, 0)
			if err != nil {
				break
			}
			number := network.Uint32(b[24:n])
			if seen[number] {
				t.Fatalf("number %d was used twice", number)
			}
			seen[number] = true
		}
		return fmt.Sprintf("%d of %d", len(seen), sent), len(seen) >= sent
	})
	out, err := l.sas[Out].Get(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d moves: %d packets sent, the last number is %d", moves, sent, out.Sequence.Sent)
	if len(seen) != sent || sent < moves || out.Sequence.Sent != uint64(sent) || out.Stats.Packets != uint64(sent) {
		t.Errorf("%d packets on the wire of %d; the SA says %+v %+v", len(seen), sent, out.Sequence, out.Stats)
	}
}
