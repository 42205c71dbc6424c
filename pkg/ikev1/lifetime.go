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

// life is how long an SA is to live.
type life struct {
	// time is what the offer says, or [defaultLifetime] if it says nothing.
	time time.Duration

	// bytes is the limit of traffic of an ESP SA, 0 for none. The client that set it rekeys when it is reached.
	bytes uint64
}

// within returns the lifetime bounded by what we allow.
func (l life) within(most time.Duration) time.Duration { return min(l.time, most) }

// lifeReader reads the pairs of life type and life duration of one transform.
type lifeReader struct {
	kind  uint64 // of the pair that is not complete yet, 0 for none
	given life
}

// lifeType takes the first half of a pair; false: not acceptable.
func (r *lifeReader) lifeType(a wire.Attribute) bool {
	n, ok := a.Uint()
	if !ok || r.kind != 0 || n != lifeSeconds && n != lifeKilobytes {
		return false
	}
	r.kind = n
	return true
}

// duration takes the second half of a pair; false: not acceptable. Zero is how strongSwan says that it will not rekey, and
// sets no limit.
func (r *lifeReader) duration(a wire.Attribute) bool {
	n, ok := a.Uint()
	kind := r.kind
	r.kind = 0
	switch {
	case !ok:
		return false
	case kind == lifeSeconds && r.given.time == 0:
		r.given.time = time.Duration(min(n, maxSeconds)) * time.Second
	case kind == lifeKilobytes && r.given.bytes == 0:
		r.given.bytes = min(n, maxKilobytes) * 1000
	default:
		return false
	}
	return true
}

// Bounds of what is read, far above what is allowed, so that nothing overflows.
const (
	maxSeconds   = 1 << 32
	maxKilobytes = 1 << 40
)

// result returns what was read; false if a pair is incomplete.
func (r *lifeReader) result() (life, bool) {
	if r.given.time == 0 {
		r.given.time = defaultLifetime
	}
	return r.given, r.kind == 0
}
