//go:build integration

package integration

import (
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/caller"
	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// callers are the addresses of the clients that caller plays.
var callers = netip.MustParsePrefix("10.128.0.0/16")

// callersWith opens the sockets of many clients at a host of their own.
func (f *fixture) callersWith(phase1 ikev1.Phase1Proposal, phase2 ikev1.Phase2Proposal) (*lab.Namespace, *caller.Caller) {
	f.t.Helper()
	host, address, _, err := f.PublicHost("callers")
	f.must(err)
	f.must(host.Batch("route add local " + callers.String() + " dev lo"))
	f.must(f.Server.Batch("route add " + callers.String() + " via " + address.String()))
	var c *caller.Caller
	f.must(host.Do(func() error {
		var err error
		c, err = caller.Open(caller.Config{
			Agreement: caller.Agreement{PSK: psk, Phase1: phase1, Phase2: phase2}, Server: lab.ServerAddress, From: callers,
		})
		return err
	}))
	f.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			f.t.Errorf("close the callers' sockets: %v", err)
		}
	})
	return host, c
}

// call expects n calls to succeed.
func (f *fixture) call(c *caller.Caller, n, parallel int) caller.Report {
	f.t.Helper()
	report, err := c.Call(f.ctx, n, parallel)
	f.must(err)
	if len(report.Failures) > 0 {
		f.t.Fatalf("%d of %d calls failed, the first because: %s", len(report.Failures), n, report.Failures[0])
	}
	return report
}

// BenchmarkResponder measures what a client's Main Mode, Quick Mode and end cost the responder, SAs in the kernel included: the daemon with its
// keeper, and strongSwan's charon in the same place. One core's handshakes per second follow from the responder's CPU time alone, since the
// callers share the processor with it.
func BenchmarkResponder(b *testing.B) {
	const batch, parallel = 200, 32
	esp := ikev1.Phase2Proposal{Encryption: ikev1.AESCBC, KeyBits: 256, Integrity: ikev1.HMACSHA256_128}
	for _, phase1 := range []ikev1.Phase1Proposal{
		{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA256, Group: dh.MODP2048},
		{Cipher: keymat.AES, KeyBits: 128, Hash: keymat.SHA256, Group: dh.ECP256},
	} {
		var baseline float64 // handshakes per second of charon's CPU time
		measure := func(b *testing.B, f *fixture, cpu func() (time.Duration, error)) {
			_, c := f.callersWith(phase1, esp)
			f.call(c, batch, parallel) // tables and pages are there afterwards
			before, err := cpu()
			f.must(err)
			n := 0
			for b.Loop() {
				f.call(c, batch, parallel)
				n += batch
			}
			after, err := cpu()
			f.must(err)
			rate := float64(n) / (after - before).Seconds()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate, "handshakes/core-s")
			b.ReportMetric(1000/rate, "cpu-ms/handshake")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "handshakes/s")
			if baseline == 0 {
				baseline = rate
			}
			b.ReportMetric(rate/baseline, "times-charon")
		}
		b.Run(phase1.String()+"/charon", func(b *testing.B) {
			f := surroundings(b, "", "")
			charon, err := f.Charon(f.Server.Namespace, lab.CharonOptions{Address: lab.ServerAddress, PSK: psk, IKE: phase1.String(), ESP: esp.String()})
			f.must(err)
			f.must(charon.Start(f.ctx))
			measure(b, f, charon.CPU)
		})
		b.Run(phase1.String()+"/l2tpctl", func(b *testing.B) {
			f := setUp(b, config("log:\n  level: error\n", "alice"))
			measure(b, f, f.Server.WholeCPU)
		})
	}
}
