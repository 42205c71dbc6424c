package ikev1

import (
	"container/list"
	"net/netip"
)

// hostOf is what may be one machine or one NAT: an IPv4 address, or an IPv6 /64, in which a machine chooses its addresses freely.
func hostOf(a netip.Addr) netip.Prefix { return masked(a, 32, 64) }

// networkOf is what may be in one hand, though it has many addresses.
func networkOf(a netip.Addr) netip.Prefix { return masked(a, 24, 48) }

func masked(a netip.Addr, bits4, bits6 int) netip.Prefix {
	bits := bits6
	if a.Is4() {
		bits = bits4
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // an invalid address: all of them are one
	}
	return p
}

// halfOpenStage is how far a handshake that is not authenticated has come.
type halfOpenStage uint8

const (
	notHalfOpen halfOpenStage = iota
	unproved                  // waits for message 3: its source address may be spoofed
	computing                 // sent message 3, which is being worked on
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
type saQueue struct {
	first, last *isakmpSA
	len         int
}

func (q *saQueue) push(sa *isakmpSA, which int) {
	link := &sa.halfOpen.links[which]
	link.prev, link.next = q.last, nil
	if q.last != nil {
		q.last.halfOpen.links[which].next = sa
	} else {
		q.first = sa
	}
	q.last = sa
	q.len++
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
	q.len--
}

// origin is a host or a network that handshakes come from.
type origin struct {
	prefix   netip.Prefix
	count    int
	unproved saQueue

	// The rest is used of networks only. level is the place in halfOpenTable.levels, in the list for weight.
	waiting saQueue
	weight  int
	level   *list.Element
}

// halfOpenTable holds the handshakes that are not authenticated yet. No operation walks it.
type halfOpenTable struct {
	total, proved int
	unproved      saQueue
	origins       map[netip.Prefix]*origin

	// levels[n-1] are the networks of which n handshakes wait for message 5. The last one is never empty.
	levels []*list.List
}

func newHalfOpenTable() halfOpenTable {
	return halfOpenTable{origins: make(map[netip.Prefix]*origin)}
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

func (t *halfOpenTable) enter(p netip.Prefix) *origin {
	o := t.origins[p]
	if o == nil {
		o = &origin{prefix: p}
		t.origins[p] = o
	}
	o.count++
	return o
}

func (t *halfOpenTable) leave(o *origin) {
	if o.count--; o.count == 0 {
		delete(t.origins, o.prefix)
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
		sa.halfOpen.network.waiting.push(sa, inNetwork)
		t.weigh(sa.halfOpen.network)
	}
}

// remove stops counting sa.
func (t *halfOpenTable) remove(sa *isakmpSA) {
	entry := &sa.halfOpen
	if entry.stage == notHalfOpen {
		return
	}
	t.prove(sa)
	if entry.stage == waiting {
		entry.network.waiting.remove(sa, inNetwork)
		t.weigh(entry.network)
	}
	t.total--
	t.proved--
	t.leave(entry.host)
	t.leave(entry.network)
	*entry = halfOpenEntry{}
}

// weigh puts a network, in which one handshake more or less waits for message 5, to its level.
func (t *halfOpenTable) weigh(o *origin) {
	if o.level != nil {
		t.levels[o.weight-1].Remove(o.level)
		o.level = nil
	}
	if o.weight = o.waiting.len; o.weight > 0 {
		if o.weight > len(t.levels) {
			t.levels = append(t.levels, list.New())
		}
		o.level = t.levels[o.weight-1].PushBack(o)
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
	return t.levels[len(t.levels)-1].Front().Value.(*origin).waiting.first
}
