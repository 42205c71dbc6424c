//go:build kernel

package steering

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// stream is datagrams of one kind, and how many of them have arrived.
type stream struct {
	n       *network
	conn    *ipv4.PacketConn
	payload []byte
	arrived func() int
}

// stream opens a socket in a namespace from which datagrams go to an address.
func (n *network) stream(fd int, to netip.AddrPort, payload []byte, arrived func() int) *stream {
	n.t.Helper()
	must(n.t, unix.Connect(fd, sockaddr(to)))
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(n.t, err)
	f := os.NewFile(uintptr(copied), "stream")
	defer f.Close()
	c, err := net.FilePacketConn(f)
	must(n.t, err)
	n.t.Cleanup(func() { c.Close() })
	return &stream{n, ipv4.NewPacketConn(c), payload, arrived}
}

// send returns the time that each of many datagrams has taken. There is one processor: what their reception takes is a part of that.
func (s *stream) send() time.Duration {
	const batch, batches = 64, 8 // fewer than the kernel's backlog holds
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{s.payload}
	}
	s.arrived()
	begin := time.Now()
	for range batches {
		for left := messages; len(left) > 0; {
			k, err := s.conn.WriteBatch(left, 0)
			must(s.n.t, err)
			left = left[k:]
		}
	}
	took := time.Since(begin) / (batch * batches)
	for total, deadline := 0, time.Now().Add(patience); total < batch*batches; {
		total += s.arrived()
		if time.Now().After(deadline) {
			s.n.t.Fatalf("%d of %d datagrams have arrived", total, batch*batches)
		}
	}
	return took
}

// drain gives a socket room for a stream, and counts what has come since the last time.
func (n *network) drain(fd int) func() int {
	must(n.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
	buf := make([]byte, 2048)
	return func() (got int) {
		for {
			if _, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT); err != nil {
				return got
			}
			got++
		}
	}
}

// sent counts what has left by a device since the last time.
func (n *network) sent(device string) func() int {
	last := 0
	return func() int {
		n.enter(n.serverNS)
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		must(n.t, err)
		for line := range strings.Lines(string(text)) {
			if counters, ok := strings.CutPrefix(strings.TrimSpace(line), device+":"); ok {
				var packets int
				_, err := fmt.Sscan(strings.Fields(counters)[9], &packets)
				must(n.t, err)
				packets, last = packets-last, packets
				return packets
			}
		}
		n.t.Fatalf("no device %s", device)
		return 0
	}
}

// BenchmarkTable is what the table costs each packet: streams with it in place and without, in turns. Decrypted packets of a client
// cannot reach it without the table; they are compared with those of an SA that marks nothing. Everything is tracked and masqueraded, if
// no rule says otherwise.
func BenchmarkTable(b *testing.B) {
	n := newNetwork(b, false)
	run(b, "ip", "-n", "steer-s", "link", "add", "dummy0", "type", "dummy")
	for _, command := range []string{"link set dummy0 up", "addr add 10.10.0.1/24 dev dummy0", "neigh add 10.10.0.2 lladdr 02:00:00:00:0a:02 dev dummy0"} {
		run(b, append([]string{"ip", "-n", "steer-s"}, strings.Fields(command)...)...)
	}
	run(b, "ip", "-n", "steer-c", "route", "add", "10.10.0.0/24", "via", n.server.String())
	n.enter(n.serverNS)
	must(b, os.WriteFile("/proc/thread-self/root/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))

	at := func(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
	open := func(from netip.Addr, port uint16) int { return n.socket(n.clientNS, unix.SOCK_DGRAM, at(from, port)) }
	here := func(port uint16) int { return n.socket(n.serverNS, unix.SOCK_DGRAM, at(n.server, port)) }
	small := bytes.Repeat([]byte{1}, 64) // what the rules do does not depend on it
	unmarked, others := n.drain(here(1701)), n.drain(here(5000))
	steered := n.drain(n.port)
	answers := open(n.client, 1702)
	payload := data(true, testPort, small...)
	cases := []struct {
		name          string
		with, without *stream
	}{
		{"received, not ours", n.stream(open(n.plainClient, 6000), at(n.server, 5000), small, others), nil},
		{"forwarded, not ours", n.stream(open(n.plainClient, 6001), at(netip.MustParseAddr("10.10.0.2"), 5000), small, n.sent("dummy0")), nil},
		{"received by SAs of others", n.stream(open(n.otherPeer, 6002), at(n.server, 5000), small, others), nil},
		{"received from a client", n.stream(open(n.client, 1701), at(n.server, 1701), payload, steered), n.stream(open(n.otherPeer, 1701), at(n.server, 1701), payload, unmarked)},
		{"sent to a client", n.stream(n.marked(), at(n.client, 1702), payload, n.drain(answers)), nil},
	}
	for _, c := range cases {
		if c.without == nil {
			c.without = c.with
		}
		b.Run(c.name, func(b *testing.B) {
			n.t = b
			runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
			n.enter(n.serverNS)
			var with, without, cost []time.Duration
			for i := 0; b.Loop(); i++ {
				var w, o time.Duration
				for turn := range 2 {
					if (i+turn)%2 == 0 { // none is always the first
						must(b, Install(n.cfg))
						c.with.send()
						w = c.with.send()
					} else {
						must(b, Remove(n.cfg))
						c.without.send()
						o = c.without.send()
					}
				}
				with, without, cost = append(with, w), append(without, o), append(cost, w-o)
			}
			for name, list := range map[string][]time.Duration{"with-ns": with, "without-ns": without, "cost-ns": cost} {
				slices.Sort(list)
				b.ReportMetric(float64(list[len(list)/2].Nanoseconds()), name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	n.t = b
}

// marked is another socket of the client's port, as the daemon's are.
func (n *network) marked() int {
	fd := n.socket(n.serverNS, unix.SOCK_DGRAM, netip.AddrPortFrom(n.server, testPort))
	must(n.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 0x1701<<16|testPort))
	return fd
}
