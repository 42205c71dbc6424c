package concentrator

import (
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
)

// Quirk 29: an Android that cuts HMAC-SHA2-256 off negotiates everything and is never heard; the counters of its SA tell.
func TestSHA256Truncation(t *testing.T) {
	const sha1, sha256 = 2, 5
	for _, c := range []struct {
		name      string
		esp       uint16
		truncates bool
		end       func(*station)
		told      bool
	}{
		{"it deletes its SAs", sha256, true, func(s *station) { s.deleteESP(); s.deleteISAKMP() }, true},
		{"it says nothing", sha256, true, (*station).vanish, true},
		{"with SHA-1", sha1, true, (*station).deleteISAKMP, false},
		{"sound", sha256, false, (*station).leave, false},
		{"no packet at all", sha256, false, func(s *station) { s.deleteESP() }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, 73, func(t *testing.T, b *bench) {
				s := b.station(1)
				s.truncates = c.truncates
				s.offer = func(q *ikev1test.QuickMode) { q.Propose(ikev1test.ESPTransform(1, 12, 256, c.esp, 4)) } // behind a NAT
				s.noL2TP = c.name == "no packet at all"
				s.dial()
				b.until("IPsec is up", func() bool { return len(b.events(eventIPsecUp)) == 1 })
				time.Sleep(20 * time.Second)
				c.end(s)
				b.before(10*time.Minute, "the client goes", func() bool { return b.m.counts() == counts{} || !c.told })
				time.Sleep(5 * time.Second)
				failed := b.events(eventClientFailed)
				switch {
				case !c.told && len(failed) != 0:
					t.Errorf("told %+v", failed)
				case c.told && (len(failed) != 1 || failed[0].Cause != string(ikev1.CauseSHA256Truncation) || !strings.Contains(failed[0].Hint, "sha256") ||
					failed[0].TunnelID != 0x4000 || failed[0].Peer != s.peer.Addr):
					t.Errorf("told %+v", failed)
				}
			})
		})
	}
}
