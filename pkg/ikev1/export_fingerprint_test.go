package ikev1

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fingerprint names everything that a message may change in an engine, but for what counts and limits: two engines with the same
// fingerprint go on in the same way.
func Fingerprint(e *Engine) string {
	var b strings.Builder
	sas := slices.SortedFunc(maps.Values(e.sas), func(a, b *isakmpSA) int { return int(a.serial) - int(b.serial) })
	for _, sa := range sas {
		fmt.Fprintf(&b, "ISAKMP SA %d %x %x state %d stage %d %v %v %v deadline %v\n", sa.serial, sa.name.i, sa.name.r, sa.state,
			sa.halfOpen.stage, sa.local, sa.remote, sa.encapsulated, sa.timer.at)
		fmt.Fprintf(&b, " %v took %x said %x\n", sa.proposal, sa.cache.request, sa.cache.reply)
		if sa.proved != nil {
			fmt.Fprintf(&b, " keys %x iv %x expires %v replace %v\n", sa.keys, sa.iv, sa.expires, sa.replaceAt)
			fmt.Fprintf(&b, " IDs %x %x contacted %v DPD %+v\n", sa.theirIDs.ids, sa.ourIDs.ids, sa.contacted, sa.dpd)
		}
		for _, q := range sa.quickModes() {
			fmt.Fprintf(&b, " Quick Mode %d state %d child %d deadline %v iv %x took %x said %x\n", q.id, q.state, q.child.id, q.timer.at, q.iv,
				q.cache.request, q.cache.reply)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.clients)) {
		c := e.clients[id]
		fmt.Fprintf(&b, "client %d %v %v wait %v\n", id, c.key, c.local, c.wait.at)
		for _, ch := range c.children {
			fmt.Fprintf(&b, " child %d state %d SPIs %x %x keys %x %x deadline %v expires %v\n", ch.id, ch.state, ch.spiIn, ch.spiOut, ch.in.encryption,
				ch.out.encryption, ch.timer.at, ch.expires)
		}
	}
	fmt.Fprintf(&b, "connections %v pending %v half-open %d SPIs %d last %d %d %d", slices.Sorted(maps.Keys(e.connections)),
		slices.Sorted(maps.Keys(e.pending)), e.halfOpen.total, len(e.spis), e.lastSA, e.lastClient, e.lastChild)
	return b.String()
}
