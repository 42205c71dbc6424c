//go:build kernel

package concentrator

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// placed is what a client without a peer has in the kernel.
type placed struct {
	port    uint16
	in, out xfrm.ID
	socket  ClientSocket
}

func (m *realMachine) must(err error) {
	if err != nil {
		m.tb.Helper()
		m.tb.Fatal(err)
	}
}

// timed notes how long an operation takes.
func (m *realMachine) timed(operation string, do func() error) {
	m.tb.Helper()
	begin := time.Now()
	m.must(do())
	m.times[operation] = append(m.times[operation], time.Since(begin))
}

// place makes client number n in its slot, in the order in which the daemon does it.
func (m *realMachine) place(parts Parts, block slot.Block, n int) placed {
	m.tb.Helper()
	port := slot.Port(int(block.Base) + n)
	peer := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 198<<24|18<<16+uint32(n))))
	sa := ikev1.ChildSA{
		SPI: 0x10000 + 2*uint32(n), Local: netip.AddrPortFrom(serverAddr.Addr(), 4500), Remote: netip.AddrPortFrom(peer, 4500), Encapsulated: true,
		Encryption: ikev1.AESCBC, EncryptionKey: bytes.Repeat([]byte{1}, 32), Integrity: ikev1.HMACSHA256_128, IntegrityKey: bytes.Repeat([]byte{2}, 32),
		Lifetime: time.Hour,
	}
	var socket ClientSocket
	m.timed("open client", func() (err error) {
		socket, err = parts.Sockets.OpenClient(serverAddr.Addr(), uint16(port), block.Mark(port))
		return err
	})
	in, err := inboundSA(sa, block, port)
	m.must(err)
	m.timed("add SA", func() error { return parts.SAs.Add(in) })
	sa.SPI++
	out, err := outboundSA(sa, block, port)
	m.must(err)
	m.timed("add SA", func() error { return parts.SAs.Add(out) })
	m.timed("connect", func() error {
		return retry(unix.EADDRINUSE, func() error { return socket.Connect(netip.AddrPortFrom(peer, 1701)) })
	})
	m.timed("create tunnel", func() error {
		return retry(os.ErrExist, func() error { return parts.Tunnels.CreateTunnel(uint16(port), 7) })
	})
	m.timed("open session", func() error { return parts.Tunnels.OpenSession(uint16(port), 1, 7, 1) })
	return placed{uint16(port), in.ID, out.ID, socket}
}

// remove takes it away.
func (m *realMachine) remove(parts Parts, c placed) {
	m.tb.Helper()
	m.timed("close session", func() error { return parts.Tunnels.CloseSession(c.port, 1) })
	m.timed("delete tunnel", func() error { return parts.Tunnels.DeleteTunnel(uint32(c.port)) })
	m.timed("disconnect", c.socket.Disconnect)
	m.timed("delete SAs", func() error { _, err := parts.SAs.Delete(c.in, c.out); return err })
	m.timed("close client", c.socket.Close)
}

// spent is what some work has taken: by the clock, in the kernel, and in keeper and daemon.
type spent struct{ wall, system, user time.Duration }

func (m *realMachine) measure(work func()) spent {
	m.tb.Helper()
	read := func() (system, user time.Duration) {
		var u unix.Rusage
		m.must(unix.Getrusage(unix.RUSAGE_SELF, &u))
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.pid))
		m.must(err)
		_, text, _ := strings.Cut(string(stat), ") ") // from field 3 of proc_pid_stat(5) on
		var ticks [2]int64
		for i := range ticks {
			ticks[i], err = strconv.ParseInt(strings.Fields(text)[14-3+i], 10, 64)
			m.must(err)
		}
		const tick = time.Second / 100
		return time.Duration(u.Stime.Nano()) + time.Duration(ticks[1])*tick, time.Duration(u.Utime.Nano()) + time.Duration(ticks[0])*tick
	}
	begin := time.Now()
	system, user := read()
	work()
	afterSystem, afterUser := read()
	return spent{time.Since(begin), afterSystem - system, afterUser - user}
}

// BenchmarkSlots is what one client's set-up and teardown cost with so many others in place: SAs, sockets, tunnel and session, asked of the
// keeper one after the other. The levels come up and down again, so that trouble of the machine for a while shows.
func BenchmarkSlots(b *testing.B) {
	const batch, rounds = 20, 50
	m := newRealMachine(b)
	m.dial()
	defer m.leave()
	parts := m.parts()
	block := slot.Block{Tag: 0x1701, Base: 0x4000, Mask: 0xc000}
	var there []placed
	for i, level := range []int{100, 1000, 10_000, 1000, 100} {
		for len(there) < level {
			there = append(there, m.place(parts, block, len(there)))
		}
		for len(there) > level {
			m.remove(parts, there[len(there)-1])
			there = there[:len(there)-1]
		}
		time.Sleep(time.Second) // the kernel deletes in the background
		b.Run(fmt.Sprintf("%d/%d", i+1, level), func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			var up, down []spent
			clear(m.times)
			next := level
			for b.Loop() {
				for range rounds {
					var batchOf []placed
					up = append(up, m.measure(func() {
						for range batch {
							batchOf = append(batchOf, m.place(parts, block, next))
							if next++; next == block.Size() {
								next = level
							}
						}
					}))
					down = append(down, m.measure(func() {
						for _, c := range batchOf {
							m.remove(parts, c)
						}
					}))
				}
			}
			for name, list := range map[string][]spent{"up": up, "down": down} {
				var wall []time.Duration
				var cpu, system time.Duration // a tick is longer than an operation, so that only sums say something
				for _, s := range list {
					wall = append(wall, s.wall)
					cpu += s.system + s.user
					system += s.system
				}
				slices.Sort(wall)
				b.ReportMetric(float64(wall[len(wall)/2].Microseconds())/batch, name+"-median-µs")
				b.ReportMetric(float64(wall[len(wall)/10].Microseconds())/batch, name+"-best-tenth-µs")
				b.ReportMetric(float64(cpu.Microseconds())/float64(batch*len(list)), name+"-cpu-µs")
				b.ReportMetric(float64(system.Microseconds())/float64(batch*len(list)), name+"-system-µs")
			}
			for _, operation := range slices.Sorted(maps.Keys(m.times)) {
				all := m.times[operation]
				slices.Sort(all)
				b.Logf("%s: median %d µs, best tenth %d µs", operation, all[len(all)/2].Microseconds(), all[len(all)/10].Microseconds())
			}
		})
	}
	for _, c := range there {
		m.remove(parts, c)
	}
}
