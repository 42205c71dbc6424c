package concentrator

import (
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

// A user who comes back with his fixed address ends what is left of his older session.
func TestSuperseded(t *testing.T) {
	play(t, 60, func(t *testing.T, b *bench) {
		old := b.connected(1)
		b.connected(2)
		var nas string
		b.on(func() {
			for _, s := range b.clientOf(old).sessions {
				nas = s.nas
			}
		})
		b.m.tell(aaa.Superseded{NASID: nas, User: "alice"})
		b.before(2*time.Second, "the older client goes", func() bool { return b.m.counts() == whole })
	})
}

// A client that only opens tunnels does not hold its slot.
func TestNobodyAuthenticates(t *testing.T) {
	play(t, 61, func(t *testing.T, b *bench) {
		b.m.login = func(string) login { return login{silent: true} }
		s := b.station(1)
		s.calls = 0
		s.dial()
		b.until("a tunnel", func() bool { return b.m.counts().tunnels == 1 })
		for range 12 { // its idle timer begins anew each time
			time.Sleep(25 * time.Second)
			b.on(func() {
				if cl := b.clientOf(s); cl != nil {
					b.c.applyL2TP(time.Now(), b.c.L2TP.CloseTunnel(time.Now(), uint16(cl.port), l2tp.Result{Code: l2tp.StopGeneral}))
				}
			})
			s.redial()
		}
		b.until("it has had its time", func() bool { return b.m.counts() == counts{} })
	})
}
