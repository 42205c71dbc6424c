//go:build integration

package caller_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/caller"
	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

var (
	server  = netip.MustParseAddr("192.0.2.1")
	host    = netip.MustParseAddr("192.0.2.2")
	clients = netip.MustParsePrefix("10.128.0.0/16")
	esp     = ikev1.Phase2Proposal{Encryption: ikev1.AESCBC, KeyBits: 256, Integrity: ikev1.HMACSHA256_128}
	ike     = []ikev1.Phase1Proposal{
		{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA256, Group: dh.MODP2048},
		{Cipher: keymat.AES, KeyBits: 128, Hash: keymat.SHA256, Group: dh.ECP256},
	}
)

// answering is the environment variable that makes this program a responder with the proposal that it names.
const answering = "L2TPCTL_TEST_ANSWER"

func agreement(phase1 ikev1.Phase1Proposal) caller.Agreement {
	return caller.Agreement{PSK: "the key of the benchmarks", Phase1: phase1, Phase2: esp}
}

func TestMain(m *testing.M) {
	for _, phase1 := range ike {
		if phase1.String() != os.Getenv(answering) {
			continue
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := caller.Answer(ctx, agreement(phase1)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// scene is a server's namespace and one of clients, on one wire.
type scene struct {
	*lab.Lab
	server, clients *lab.Namespace
	caller          *caller.Caller
}

func newScene(b testing.TB, phase1 ikev1.Phase1Proposal) *scene {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	l, err := lab.New()
	must(err)
	b.Cleanup(func() {
		if b.Failed() {
			b.Log(l.Logs(20))
		}
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	wire, err := l.Network("wire")
	must(err)
	s := &scene{Lab: l}
	s.server, err = l.Namespace("server")
	must(err)
	must(wire.Attach(s.server, "eth0", host, netip.PrefixFrom(server, 24)))
	s.clients, err = l.Namespace("clients")
	must(err)
	must(wire.Attach(s.clients, "eth0", server, netip.PrefixFrom(host, 24)))
	must(s.clients.Batch("route add local " + clients.String() + " dev lo"))
	must(s.clients.Do(func() error {
		s.caller, err = caller.Open(caller.Config{Agreement: agreement(phase1), Server: server, From: clients})
		return err
	}))
	b.Cleanup(func() {
		if err := s.caller.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// call expects n calls to succeed.
func (s *scene) call(b testing.TB, n, parallel int) caller.Report {
	b.Helper()
	report, err := s.caller.Call(b.Context(), n, parallel)
	if err == nil && len(report.Failures) > 0 {
		err = fmt.Errorf("%d of %d calls failed, the first because: %s", len(report.Failures), n, report.Failures[0])
	}
	if err != nil {
		b.Fatal(err)
	}
	return report
}

// usage returns the CPU time that a responder has used.
type usage func() (time.Duration, error)

// responders are who may be called.
var responders = []struct {
	name  string
	start func(context.Context, *scene, ikev1.Phase1Proposal) (usage, error)
}{
	{"charon", func(ctx context.Context, s *scene, phase1 ikev1.Phase1Proposal) (usage, error) {
		charon, err := s.Charon(s.server, lab.CharonOptions{
			Address: server, PSK: agreement(phase1).PSK, IKE: phase1.String(), ESP: esp.String(), UserSpace: true,
		})
		if err != nil {
			return nil, err
		}
		return charon.CPU, charon.Start(ctx)
	}},
	{"engine", func(ctx context.Context, s *scene, phase1 ikev1.Phase1Proposal) (usage, error) {
		cmd := s.server.Command(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), answering+"="+phase1.String())
		process, err := s.Start(cmd, "engine.log")
		if err != nil {
			return nil, err
		}
		return process.CPU, nil
	}},
}

// BenchmarkResponder measures what a client's Main Mode, Quick Mode and end cost a responder that has no ESP in its kernel: the engine behind
// real sockets, and strongSwan's charon with its SAs in user space. One core's handshakes per second follow from the
// responder's CPU time alone; the callers have theirs.
func BenchmarkResponder(b *testing.B) {
	const batch, parallel = 500, 64
	for _, phase1 := range ike {
		var baseline float64 // charon's
		for _, r := range responders {
			b.Run(phase1.String()+"/"+r.name, func(b *testing.B) {
				s := newScene(b, phase1)
				cpu, err := r.start(b.Context(), s, phase1)
				if err != nil {
					b.Fatal(err)
				}
				s.call(b, batch, parallel) // tables and pages are there afterwards
				before, err := cpu()
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for b.Loop() {
					s.call(b, batch, parallel)
					n += batch
				}
				after, err := cpu()
				if err != nil {
					b.Fatal(err)
				}
				rate := float64(n) / (after - before).Seconds()
				if baseline == 0 {
					baseline = rate
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(rate, "handshakes/core-s")
				b.ReportMetric(float64((after-before)/time.Duration(n))/1e6, "cpu-ms/handshake")
				b.ReportMetric(rate/baseline, "times-charon")
			})
		}
	}
}
