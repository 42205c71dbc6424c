// Package slot hands out client slots.
//
// A slot is a UDP port of a block that a mask can test. The kernel's reqid and mark, the client's
// local L2TP tunnel id and the steering rules are all derived from that one number, so a slot is
// the whole identity of a client on the data path.
package slot

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"
)

// ErrExhausted is returned when every slot is taken or still resting.
var ErrExhausted = errors.New("no free client slot")

// A Port is a slot: the local UDP port that stands for one client, and its local L2TP tunnel id.
type Port uint16

// Block describes the ports that are slots and the tag that marks their packets.
type Block struct {
	Tag  uint16 // upper half of mark and reqid
	Base uint16 // first port
	Mask uint16 // port & Mask == Base for exactly the ports of the block
}

// Size returns the number of slots in the block.
func (b Block) Size() int { return int(^b.Mask) + 1 }

// Contains reports whether p is a port of the block.
func (b Block) Contains(p Port) bool { return uint16(p)&b.Mask == b.Base }

// Mark returns the packet mark of p, which is also its XFRM reqid.
func (b Block) Mark(p Port) uint32 { return uint32(b.Tag)<<16 | uint32(p) }

// Owns reports whether mark (or reqid) belongs to a slot of the block.
func (b Block) Owns(mark uint32) bool {
	return mark>>16 == uint32(b.Tag) && b.Contains(Port(mark))
}

// Validate reports a block whose mask is not a run of leading ones, or whose base lies off the mask.
func (b Block) Validate() error {
	size := uint32(^b.Mask) + 1
	switch {
	case b.Tag == 0:
		return errors.New("slot tag must not be zero")
	case size&(size-1) != 0:
		return fmt.Errorf("port mask %#04x is not a run of leading ones", b.Mask)
	case b.Base&^b.Mask != 0:
		return fmt.Errorf("port base %#04x is not aligned to mask %#04x", b.Base, b.Mask)
	case b.Base == 0:
		return errors.New("port base must not be zero")
	}
	return nil
}

// An Allocator hands out the slots of a block, the longest unused first. It is not safe for concurrent use.
type Allocator struct {
	block Block
	rest  time.Duration
	free  []resting // queue, oldest first
	used  map[Port]struct{}
}

type resting struct {
	port  Port
	until time.Time
}

// NewAllocator returns an allocator for b. A freed slot is not handed out again before rest has
// passed, because the kernel deletes tunnels and sessions asynchronously.
func NewAllocator(b Block, rest time.Duration) (*Allocator, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	a := &Allocator{block: b, rest: rest, used: make(map[Port]struct{})}
	a.free = make([]resting, b.Size())
	for i := range a.free {
		a.free[i].port = Port(b.Base) + Port(i)
	}
	return a, nil
}

// Allocate takes the slot that has been free for longest; ErrExhausted if none is rested.
func (a *Allocator) Allocate(now time.Time) (Port, error) {
	if len(a.free) == 0 || a.free[0].until.After(now) {
		return 0, fmt.Errorf("%w: %d in use, %d resting", ErrExhausted, len(a.used), len(a.free))
	}
	p := a.free[0].port
	a.free = a.free[1:]
	a.used[p] = struct{}{}
	return p, nil
}

// Take takes slot p, resting or not, for a client that had it before this allocator was made. It fails if p is not of the block or is in
// use. Taking slots in the order of their numbers is cheapest.
func (a *Allocator) Take(p Port) error {
	if !a.block.Contains(p) {
		return fmt.Errorf("slot %d is not in the block of %d slots from %d", p, a.block.Size(), a.block.Base)
	}
	i := slices.IndexFunc(a.free, func(r resting) bool { return r.port == p })
	if i < 0 {
		return fmt.Errorf("slot %d is in use", p)
	}
	copy(a.free[1:i+1], a.free[:i])
	a.free = a.free[1:]
	a.used[p] = struct{}{}
	return nil
}

// Free gives p back. Freeing a slot that is not in use does nothing.
func (a *Allocator) Free(now time.Time, p Port) {
	if _, ok := a.used[p]; !ok {
		return
	}
	delete(a.used, p)
	a.free = append(a.free, resting{p, now.Add(a.rest)})
}

// Used returns the number of slots in use.
func (a *Allocator) Used() int { return len(a.used) }

// Resting returns the number of slots that were given back a moment ago.
func (a *Allocator) Resting(now time.Time) int {
	rested := sort.Search(len(a.free), func(i int) bool { return a.free[i].until.After(now) })
	return len(a.free) - rested
}

// Rested returns the number of slots that Allocate could hand out now.
func (a *Allocator) Rested(now time.Time) int { return len(a.free) - a.Resting(now) }
