//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

// BenchmarkSession measures the way from the first IKE message to an address on the PPP interface, and what it costs the daemon.
// The client's programs are part of the time.
func BenchmarkSession(b *testing.B) {
	f := setUp(b, config("log:\n  level: info\n", "alice"))
	alice := f.home("alice")
	hangUp := func() {
		f.must(alice.Disconnect(f.ctx))
		f.empty()
	}
	f.connect(alice)
	hangUp()
	var used time.Duration
	for b.Loop() {
		before, err := f.Server.CPU()
		f.must(err)
		_, err = alice.Connect(f.ctx)
		f.must(err)
		after, err := f.Server.CPU()
		f.must(err)
		used += after - before
		b.StopTimer()
		hangUp()
		b.StartTimer()
	}
	b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "daemon-cpu-ms/session")
}

// BenchmarkMemory measures what the daemon holds without a client, and what each of twenty adds to it.
func BenchmarkMemory(b *testing.B) {
	users := names(20)
	f := setUp(b, config("log:\n  level: info\n", users...))
	idle, err := f.Server.RSS()
	f.must(err)
	clients := f.crowd(users)
	for b.Loop() {
		f.each(clients, func(c *lab.Client) error {
			_, err := c.Connect(f.ctx)
			return err
		})
		full, err := f.Server.RSS()
		f.must(err)
		f.each(clients, func(c *lab.Client) error { return c.Disconnect(f.ctx) })
		f.empty()
		b.ReportMetric(float64(idle)/1024, "idle-KiB")
		b.ReportMetric((float64(full)-float64(idle))/1024/float64(len(clients)), "KiB/tunnel")
	}
}
