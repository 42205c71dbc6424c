package ikev1

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Record is what another engine has to know of a client to go on where this one has stopped: see [Config.Records] and [Engine.Restore].
// It is about 1 KB, and holds keys, so it belongs into memory only.
type Record struct {
	Client ClientID

	// State replaces what there was of the client; nil says that nothing is left of it. It is CBOR, with a version inside, and means
	// nothing to others.
	State []byte
}

// String hides the keys from logs.
func (r Record) String() string {
	return fmt.Sprintf("record of client %d (%d octets)", r.Client, len(r.State))
}

// GoString hides the keys from %#v.
func (r Record) GoString() string { return r.String() }

// recordVersion is that of what we write. It goes up when an older program would misunderstand a record; what it may ignore gets a new key.
const recordVersion = 1

// maxRecordedID bounds the numbers in a record, which count from 1: others follow them, and none may come round to 0.
const maxRecordedID = 1 << 48

// touch notes that a call changes what is recorded of c; nil is nobody.
func (e *Engine) touch(c *client) {
	if c != nil && !c.touched && e.cfg.Records {
		c.touched = true
		e.touched = append(e.touched, c)
	}
}

// record puts into the output what the call has changed. The same as before is not said again.
func (e *Engine) record() {
	slices.SortFunc(e.touched, func(a, b *client) int { return cmp.Compare(a.id, b.id) })
	for _, c := range e.touched {
		c.touched = false
		var state []byte
		if e.clients[c.id] == c {
			state = c.state()
		}
		if sum := e.sum(state); sum != c.recorded {
			c.recorded = sum
			e.out.Records = append(e.out.Records, Record{Client: c.id, State: state})
		}
	}
	clear(e.touched)
	e.touched = e.touched[:0]
}

// sum tells states of one client apart; it is zero for none.
func (e *Engine) sum(state []byte) uint64 {
	if state == nil {
		return 0
	}
	return max(maphash.Bytes(e.seed, state), 1)
}

// state returns the State of the record of c.
func (c *client) state() []byte {
	// What is made of integers, octets and lists of them can always be written.
	state, _ := cbor.Marshal(c.record())
	return state
}

// moment is a time in nanoseconds since 1970, 0 for the zero time.
type moment int64

func momentOf(t time.Time) moment {
	if t.IsZero() {
		return 0
	}
	return moment(t.UnixNano())
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(m))
}
