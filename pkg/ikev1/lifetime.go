package ikev1

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// Life types, the same in both phases (RFC 2409 Appendix A, RFC 2407 section 4.5).
const (
	lifeSeconds   = 1
	lifeKilobytes = 2
)

// lifetimeReader reads the pairs of life type and life duration of one transform. A limit in kilobytes is taken note of and left to
// the client, which is the one that rekeys.
type lifetimeReader struct {
	kind    uint64 // of the pair that is not complete yet, 0 for none
	seconds time.Duration
}

// lifeType takes the first half of a pair; false: not acceptable.
func (r *lifetimeReader) lifeType(a wire.Attribute) bool {
	n, ok := a.Uint()
	if !ok || r.kind != 0 || n != lifeSeconds && n != lifeKilobytes {
		return false
	}
	r.kind = n
	return true
}

// duration takes the second half of a pair; false: not acceptable. Zero is how strongSwan says that it will not rekey, and
// sets no limit.
func (r *lifetimeReader) duration(a wire.Attribute) bool {
	n, ok := a.Uint()
	if !ok || r.kind == 0 {
		return false
	}
	if r.kind == lifeSeconds {
		if r.seconds != 0 {
			return false
		}
		r.seconds = time.Duration(min(n, uint64(MaxLifetime/time.Second))) * time.Second
	}
	r.kind = 0
	return true
}

// result returns the life in seconds; false if a pair is incomplete.
func (r *lifetimeReader) result() (time.Duration, bool) {
	if r.kind != 0 {
		return 0, false
	}
	if r.seconds == 0 {
		return defaultLifetime, true
	}
	return r.seconds, true
}
