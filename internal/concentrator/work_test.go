package concentrator

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// claim is a verification whose parts do what a test wants.
type claim struct {
	ikev1.VerifyPeer
	prove func()
	look  func(context.Context) // nil: it is refused
}

func (v claim) Prove() (func(context.Context) ikev1.VerifyResult, ikev1.VerifyResult) {
	v.prove()
	if v.look == nil {
		return nil, ikev1.VerifyResult{Err: errFault}
	}
	return func(ctx context.Context) ikev1.VerifyResult {
		v.look(ctx)
		return ikev1.VerifyResult{}
	}, ikev1.VerifyResult{}
}

// Whoever comes with a certificate of nobody's gets as many processors as a key agreement does, and no place among those that wait.
func TestStrangersTakeNoPlace(t *testing.T) {
	play(t, 60, func(t *testing.T, b *bench) {
		var running, most, proved, looked atomic.Int64
		work := func() {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Millisecond)
			running.Add(-1)
			proved.Add(1)
		}
		const strangers = 500
		b.on(func() {
			for range strangers {
				if _, done := b.c.verify(claim{prove: work}); done {
					t.Error("a stranger is turned away at the door, as an honest client would be")
				}
			}
			b.c.verify(claim{prove: work, look: func(context.Context) { looked.Add(1) }})
		})
		time.Sleep(2 * strangers * time.Millisecond)
		synctest.Wait()
		if most.Load() > int64(workers()) || proved.Load() != strangers+1 || looked.Load() != 1 {
			t.Errorf("%d at a time, %d checked, %d looked up", most.Load(), proved.Load(), looked.Load())
		}
	})
}

// A certificate for which no place is left is judged by what is known, and nobody waits when the daemon ends.
func TestLookupsAreBounded(t *testing.T) {
	play(t, 61, func(t *testing.T, b *bench) {
		var waiting, atOnce atomic.Int64
		wait := func(ctx context.Context) {
			if deadline, _ := ctx.Deadline(); !deadline.After(time.Now()) {
				atOnce.Add(1)
				return
			}
			waiting.Add(1)
			<-ctx.Done()
			waiting.Add(-1)
		}
		more := func(n int) {
			b.on(func() {
				for range n {
					b.c.verify(claim{prove: func() {}, look: wait})
				}
			})
			synctest.Wait()
		}
		more(maxLookups + 3)
		if waiting.Load() != maxLookups || atOnce.Load() != 3 {
			t.Errorf("%d wait, %d do not", waiting.Load(), atOnce.Load())
		}
		time.Sleep(lookupWait)
		synctest.Wait()
		if waiting.Load() != 0 {
			t.Errorf("%d still wait", waiting.Load())
		}
		more(1)
		b.shutdown()
		synctest.Wait()
		if waiting.Load() != 0 {
			t.Errorf("%d wait after the end", waiting.Load())
		}
	})
}
