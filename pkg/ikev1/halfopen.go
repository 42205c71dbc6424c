package ikev1

import (
	"container/list"
	"encoding/binary"
	"net/netip"
)

// place is where packets come from: the first bits of an address, at most 64 of them. It is small, for there is one for each of many
// strangers.
type place struct {
	prefix uint64
	bits   uint8
	v4     bool
}

// hostOf is what may be one machine or one NAT: an IPv4 address, or an IPv6 /64, in which a machine chooses its addresses freely.
func hostOf(a netip.Addr) place { return masked(a, 32, 64) }

// networkOf is what may be in one hand, though it has many addresses.
func networkOf(a netip.Addr) place { return masked(a, 24, 48) }

func masked(a netip.Addr, bits4, bits6 uint8) place {
	p := place{bits: bits6, v4: a.Is4()}
	if p.v4 {
		p.bits = bits4
	}
	octets := a.As16() // of IPv4, the last four
	if p.v4 {
		p.prefix = uint64(binary.BigEndian.Uint32(octets[12:])) << 32
	} else {
		p.prefix = binary.BigEndian.Uint64(octets[:8])
	}
	p.prefix &= ^uint64(0) << (64 - p.bits)
	return p
}

// halfOpenStage is how far a handshake that is not authenticated has come.
type halfOpenStage uint8

const (
	notHalfOpen halfOpenStage = iota
	unproved                  // waits for message 3: its source address may be spoofed
	computing                 // sent message 3, or 5 with a signature, which is being worked on
	waiting                   // waits for message 5
)

// halfOpenEntry is the place of an SA in the table.
type halfOpenEntry struct {
	stage         halfOpenStage
	host, network *origin
	links         [queues]saLink
}

// The queues that one SA can be in at a time.
const (
	inTable = iota
	inHost
	inNetwork
	queues
)

type saLink struct{ prev, next *isakmpSA }

// saQueue holds SAs, oldest first. They are linked through one of their links: which one is said in every call.
type saQueue struct{ first, last *isakmpSA }

func (q *saQueue) push(sa *isakmpSA, which int) {
	link := &sa.halfOpen.links[which]
	link.prev, link.next = q.last, nil
	if q.last != nil {
		q.last.halfOpen.links[which].next = sa
	} else {
		q.first = sa
	}
	q.last = sa
}

func (q *saQueue) remove(sa *isakmpSA, which int) {
	link := &sa.halfOpen.links[which]
	if link.prev != nil {
		link.prev.halfOpen.links[which].next = link.next
	} else {
		q.first = link.next
	}
	if link.next != nil {
		link.next.halfOpen.links[which].prev = link.prev
	} else {
		q.last = link.prev
	}
	*link = saLink{}
}

// origin is a host or a network that handshakes come from.
type origin struct {
	place    place
	count    int
	unproved saQueue
	crowd    *crowd // nil for a host, and for a network of which no handshake got message 4
}

// crowd is the handshakes of one network that wait for message 5. level is its place in halfOpenTable.levels, in the list for its size.
type crowd struct {
	waiting saQueue
	size    int
	level   *list.Element
}

// halfOpenTable holds the handshakes that are not authenticated yet. No operation walks it.
type halfOpenTable struct {
	total, proved int
	unproved      saQueue
	origins       map[place]*origin

	// levels[n-1] are the crowds of n handshakes. The last one is never empty.
	levels []*list.List
}

func newHalfOpenTable() halfOpenTable {
	return halfOpenTable{origins: make(map[place]*origin)}
}

// add counts sa, which has just answered message 1.
func (t *halfOpenTable) add(sa *isakmpSA) {
	t.total++
	entry := &sa.halfOpen
	entry.stage = unproved
	entry.host, entry.network = t.enter(hostOf(sa.remote.Addr())), t.enter(networkOf(sa.remote.Addr()))
	t.unproved.push(sa, inTable)
	entry.host.unproved.push(sa, inHost)
	entry.network.unproved.push(sa, inNetwork)
}

func (t *halfOpenTable) enter(p place) *origin {
	o := t.origins[p]
	if o == nil {
		o = &origin{place: p}
		t.origins[p] = o
	}
	o.count++
	return o
}

func (t *halfOpenTable) leave(o *origin) {
	if o.count--; o.count == 0 {
		delete(t.origins, o.place)
	}
}

// prove takes sa out of those that give way to any newcomer: its message 3 showed that it receives what we send.
func (t *halfOpenTable) prove(sa *isakmpSA) {
	entry := &sa.halfOpen
	if entry.stage != unproved {
		return
	}
	entry.stage = computing
	t.proved++
	t.unproved.remove(sa, inTable)
	entry.host.unproved.remove(sa, inHost)
	entry.network.unproved.remove(sa, inNetwork)
}

// wait notes that sa has got message 4.
func (t *halfOpenTable) wait(sa *isakmpSA) {
	if sa.halfOpen.stage == computing {
		sa.halfOpen.stage = waiting
		o := sa.halfOpen.network
		if o.crowd == nil {
			o.crowd = &crowd{}
		}
		o.crowd.waiting.push(sa, inNetwork)
		t.grow(o.crowd, 1)
	}
}

// verify notes that sa has sent a signature. It does not give way any more: the work would go on, and another one be begun beside it.
func (t *halfOpenTable) verify(sa *isakmpSA) {
	if sa.halfOpen.stage == waiting {
		sa.halfOpen.stage = computing
		o := sa.halfOpen.network
		o.crowd.waiting.remove(sa, inNetwork)
		t.grow(o.crowd, -1)
	}
}

// remove stops counting sa.
func (t *halfOpenTable) remove(sa *isakmpSA) {
	entry := &sa.halfOpen
	if entry.stage == notHalfOpen {
		return
	}
	t.prove(sa)
	t.verify(sa) // what it waits for is over
	t.total--
	t.proved--
	t.leave(entry.host)
	t.leave(entry.network)
	*entry = halfOpenEntry{}
}

// grow puts a crowd, which n handshakes have joined, to its level.
func (t *halfOpenTable) grow(c *crowd, n int) {
	if c.level != nil {
		t.levels[c.size-1].Remove(c.level)
		c.level = nil
	}
	if c.size += n; c.size > 0 {
		if c.size > len(t.levels) {
			t.levels = append(t.levels, list.New())
		}
		c.level = t.levels[c.size-1].PushBack(c)
	}
	for n := len(t.levels); n > 0 && t.levels[n-1].Len() == 0; n-- {
		t.levels[n-1] = nil
		t.levels = t.levels[:n-1]
	}
}

// heaviest returns the handshake that has waited longest for message 5, of the network with the most of them; nil for none.
func (t *halfOpenTable) heaviest() *isakmpSA {
	if len(t.levels) == 0 {
		return nil
	}
	return t.levels[len(t.levels)-1].Front().Value.(*crowd).waiting.first
}
