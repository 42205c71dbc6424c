package concentrator

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkAdopt is what a daemon needs to take clients over that are connected with one session each, once it has their records and sockets:
// decoding, both engines, and what is to be compared. "checked" is until it has compared them with the machine.
func BenchmarkAdopt(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			machine := newAmple()
			p := newPopulation(b, machine.parts())
			p.serve(p.daemon())
			for i := range n {
				p.connect(i)
			}
			p.leave()
			p.forget()
			size := 0
			for _, r := range machine.records {
				size += len(r)
			}
			var adopting, checking, used time.Duration
			for b.Loop() {
				b.StopTimer()
				c, estate := p.daemon(), machine.estate(p)
				b.StartTimer()
				begin, before := time.Now(), cpuTime(b)
				c.Adopt(begin, estate)
				used += cpuTime(b) - before
				adopting += time.Since(begin)
				p.serve(c)
				c.Compare()
				p.settled(n)
				checking += time.Since(begin)
				b.StopTimer()
				p.leave()
				p.forget()
				b.StartTimer()
			}
			b.ReportMetric(adopting.Seconds()*1000/float64(b.N), "adopt-ms")
			b.ReportMetric(checking.Seconds()*1000/float64(b.N), "checked-ms")
			b.ReportMetric(used.Seconds()*1000/float64(b.N), "adopt-cpu-ms")
			b.ReportMetric(float64(size)/float64(n), "octets/client")
		})
	}
}

// cpuTime is what this process has used, the collector of garbage included.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// settled expects a daemon to have n clients with a session each that is up.
func (p *population) settled(n int) {
	p.tb.Helper()
	clients, up, trouble := 0, 0, uint64(0)
	if err := p.c.call(p.tb.Context(), func() {
		clients, trouble = len(p.c.clients), p.c.counters.kernelErrors+p.c.counters.panics+p.c.counters.lostObjects+p.c.counters.lostSAs
		for _, cl := range p.c.clients {
			for _, s := range cl.sessions {
				if s.state == sessionEstablished && s.process != nil && s.user != "" {
					up++
				}
			}
		}
	}); err != nil {
		p.tb.Fatal(err)
	}
	if clients != n || up != n || trouble != 0 {
		p.tb.Fatalf("%d clients with %d sessions that are up, and %d things went wrong; there were %d", clients, up, trouble, n)
	}
}
