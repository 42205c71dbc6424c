//go:build integration

package integration

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
)

// BenchmarkThroughput compares TCP through a session of the daemon, its steering table in the way, with TCP through the same session made
// by hand, in turns: what counts is the median of the ratios of turns. Both ends share the processor.
func BenchmarkThroughput(b *testing.B) {
	const turn = 2 * time.Second
	f := setUp(b, config("log:\n  level: info\n", "alice"))
	alice := f.public("alice")
	session := f.connect(alice)
	client, server := f.byHand(session.MTU)
	type path struct {
		name     string
		from, to *lab.Namespace
		address  netip.Addr
	}
	paths := []path{{"ours", alice.Namespace, f.Server.Namespace, inner}, {"hand", client, server, handServer}}
	rates := map[string][]float64{}
	for i := 0; b.Loop(); i++ {
		for _, reverse := range []bool{false, true} {
			direction := map[bool]string{false: "to-server", true: "to-client"}[reverse]
			for n := range paths {
				p := paths[(i+n)%len(paths)] // none is always the first
				result, err := p.from.Iperf(f.ctx, p.to, p.address, turn, reverse)
				f.must(err)
				rates[p.name+"-"+direction] = append(rates[p.name+"-"+direction], result.BitsPerSecond/1e6)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, direction := range []string{"to-server", "to-client"} {
		ours, hand := rates["ours-"+direction], rates["hand-"+direction]
		ratios := make([]float64, len(ours))
		for i := range ours {
			ratios[i] = ours[i] / hand[i]
		}
		b.Logf("%s: ours %.0f, by hand %.0f Mbit/s, ratios %.3f", direction, ours, hand, ratios)
		b.ReportMetric(middle(ours), "ours-"+direction+"-Mbit/s")
		b.ReportMetric(middle(hand), "hand-"+direction+"-Mbit/s")
		b.ReportMetric(middle(ratios), direction+"-ratio")
	}
}

// middle is the median.
func middle(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
