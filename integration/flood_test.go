//go:build integration

package integration

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/caller"
	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/integration/vm"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// TestFloodOfStrangers: while the daemon is flooded with first messages that have false addresses, our own callers connect, all of them, and so
// does strongSwan.
func TestFloodOfStrangers(t *testing.T) {
	const calls, parallel = 40, 4
	rate := 50000
	if machine, _ := vm.Inside(); machine != "" && machine != "host" {
		rate = 1000 // one processor for all of them, on which a system call takes as long as elsewhere the whole message
	}
	f := setUp(t, config("log:\n  level: info\n", "alice"))
	host, c := f.callersWith(
		ikev1.Phase1Proposal{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA256, Group: dh.MODP2048},
		ikev1.Phase2Proposal{Encryption: ikev1.AESCBC, KeyBits: 256, Integrity: ikev1.HMACSHA256_128})
	alice := f.public("alice")
	gateway, err := host.Addresses("eth0")
	f.must(err)
	f.must(f.Server.Batch("route add default via " + gateway[0].String())) // for the answers
	var flood *caller.Flood
	f.must(host.Do(func() error {
		var err error
		flood, err = caller.OpenFlood(lab.ServerAddress)
		return err
	}))
	ctx, stop := context.WithCancel(f.ctx)
	type outcome struct {
		sent int
		err  error
	}
	ended := make(chan outcome)
	began := time.Now()
	go func() {
		n, err := flood.Run(ctx, rate)
		ended <- outcome{n, err}
	}()
	time.Sleep(time.Second)
	cpu, err := f.Server.CPU()
	f.must(err)
	before, from := f.stats(), time.Now()
	report := f.call(c, calls, parallel)
	took := time.Since(from)
	session := f.connect(alice)
	stop()
	o := <-ended
	f.must(o.err)
	f.must(flood.Close())
	used, err := f.Server.CPU()
	f.must(err)
	lasted, after := time.Since(from), f.stats()
	slices.Sort(report.Took)
	t.Logf("%.0f false messages a second, of which the daemon took %.0f; it used %.0f%% of a core; %d calls in %v, the slowest in %v, half of them within %v",
		float64(o.sent)/time.Since(began).Seconds(), float64(after.IKE.Received-before.IKE.Received)/lasted.Seconds(),
		100*float64(used-cpu)/float64(lasted), len(report.Took), took, report.Took[calls-1], report.Took[calls/2])
	if lost := after.Errors.InboxFull - before.Errors.InboxFull; lost > 0 {
		t.Logf("%d messages found no place in the daemon", lost)
	}
	f.passesTraffic(alice, session)
	f.must(alice.Disconnect(f.ctx))
	f.empty()
}
