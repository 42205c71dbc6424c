// Package pool hands out addresses from ranges, the longest unused first.
//
// An address that was just freed rests as long as others are left: packets for its last owner may still be on their way,
// and a peer that lost its line likes to find its old routes dead rather than a stranger behind them.
package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrExhausted is returned by Allocate when every address is in use.
var ErrExhausted = errors.New("the address pool is exhausted: add a range, or end sessions")

// ErrInUse is returned by Take for an address that somebody has.
var ErrInUse = errors.New("the address is in use")

// ErrTooLarge is returned by ParseRange for a range of more than MaxSize addresses.
var ErrTooLarge = fmt.Errorf("more than %d addresses", MaxSize)

// MaxSize is the largest number of addresses in one range.
const MaxSize = 1 << 24

// Range is a closed interval of addresses of one family.
type Range struct{ First, Last netip.Addr }

// ParseRange reads "10.0.0.10-10.0.0.99", a prefix (without the network and broadcast addresses of IPv4, unless it is a
// /31 or /32), or a single address.
func ParseRange(s string) (Range, error) {
	first, last, isInterval := strings.Cut(s, "-")
	if isInterval {
		a, err := netip.ParseAddr(strings.TrimSpace(first))
		if err != nil {
			return Range{}, fmt.Errorf("address range %q: %w", s, err)
		}
		b, err := netip.ParseAddr(strings.TrimSpace(last))
		if err != nil {
			return Range{}, fmt.Errorf("address range %q: %w", s, err)
		}
		return checked(s, Range{a, b})
	}
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return Range{}, fmt.Errorf("address range %q: want FIRST-LAST, a prefix or an address: %w", s, err)
		}
		return checked(s, Range{a, a})
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return Range{}, fmt.Errorf("address range %q: %w", s, err)
	}
	if p.Addr().BitLen()-p.Bits() > 24 {
		return Range{}, fmt.Errorf("address range %q: %w", s, ErrTooLarge)
	}
	r := Range{p.Masked().Addr(), lastOf(p)}
	if p.Addr().Is4() && p.Bits() <= 30 {
		r.First, r.Last = r.First.Next(), r.Last.Prev()
	}
	return checked(s, r)
}

func checked(s string, r Range) (Range, error) {
	switch {
	case r.First.Zone() != "" || r.Last.Zone() != "":
		return Range{}, fmt.Errorf("address range %q: a zone makes no sense here", s)
	case r.First.BitLen() != r.Last.BitLen():
		return Range{}, fmt.Errorf("address range %q: both ends must be of one family", s)
	case r.Last.Less(r.First):
		return Range{}, fmt.Errorf("address range %q: ends before it begins", s)
	case r.size() > MaxSize:
		return Range{}, fmt.Errorf("address range %q: %w", s, ErrTooLarge)
	}
	return r, nil
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// String writes the range so that ParseRange reads it.
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

// Contains tells whether a lies in the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.First.BitLen() && !a.Less(r.First) && !r.Last.Less(a)
}

// size is the number of addresses, MaxSize+1 if there are more.
func (r Range) size() int {
	a, b := r.First.AsSlice(), r.Last.AsSlice()
	n := 0
	for i := range a {
		n = n<<8 + int(b[i]) - int(a[i])
		if n > MaxSize {
			return MaxSize + 1
		}
	}
	return n + 1
}

type state uint8

const (
	used     state = iota + 1
	reserved       // never handed out by Allocate
	resting        // in the queue of freed addresses
)

// Pool is a set of addresses. It is not safe for concurrent use.
type Pool struct {
	ranges []Range
	size   int
	inUse  int // addresses of the ranges in state used
	state  map[netip.Addr]state

	// Addresses that were never used are found by going through the ranges once.
	at   int        // index of the current range
	next netip.Addr // next address to look at in it, invalid at its end

	freed []netip.Addr // oldest first; an entry whose state is not resting is stale
}

// New makes a pool of ranges, which must not overlap, without the addresses in exclude (our own, for instance).
func New(ranges []Range, exclude ...netip.Addr) (*Pool, error) {
	p := &Pool{ranges: ranges, state: make(map[netip.Addr]state)}
	for i, r := range ranges {
		if !r.First.IsValid() {
			return nil, errors.New("address pool: an empty range")
		}
		for _, other := range ranges[:i] {
			if r.Contains(other.First) || other.Contains(r.First) {
				return nil, fmt.Errorf("address pool: %v and %v overlap", other, r)
			}
		}
		p.size += r.size()
	}
	if len(ranges) > 0 {
		p.next = ranges[0].First
	}
	for _, a := range exclude {
		p.Reserve(a)
	}
	return p, nil
}

// Contains tells whether a lies in one of the ranges.
func (p *Pool) Contains(a netip.Addr) bool {
	for _, r := range p.ranges {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

// Size is the number of addresses that Allocate may hand out, in use or not; Used is how many of them are in use.
func (p *Pool) Size() int { return p.size }

// Used is the number of addresses in use.
func (p *Pool) Used() int { return p.inUse }

// Reserve keeps Allocate from handing out a. An address in use is left to its owner and is not handed out again after that.
func (p *Pool) Reserve(a netip.Addr) {
	if !p.Contains(a) || p.state[a] == reserved {
		return
	}
	if p.state[a] == used {
		p.inUse--
	}
	p.state[a] = reserved
	p.size--
}

// Allocate hands out a never used address, or else the one that was freed first. It fails with ErrExhausted.
func (p *Pool) Allocate() (netip.Addr, error) {
	for p.next.IsValid() {
		a := p.next
		if a == p.ranges[p.at].Last {
			p.next = netip.Addr{}
			if p.at++; p.at < len(p.ranges) {
				p.next = p.ranges[p.at].First
			}
		} else {
			p.next = a.Next()
		}
		if p.state[a] == 0 {
			return p.use(a), nil
		}
	}
	for len(p.freed) > 0 {
		a := p.freed[0]
		p.freed = p.freed[1:]
		if p.state[a] == resting {
			return p.use(a), nil
		}
	}
	return netip.Addr{}, ErrExhausted
}

func (p *Pool) use(a netip.Addr) netip.Addr {
	p.state[a] = used
	p.inUse++
	return a
}

// Take marks one address as used, for a session that already has it. An address outside the ranges, or reserved, is fine
// and not counted; the caller keeps those apart. It fails with ErrInUse.
func (p *Pool) Take(a netip.Addr) error {
	if !p.Contains(a) || p.state[a] == reserved {
		return nil
	}
	if p.state[a] == used {
		return fmt.Errorf("%v: %w", a, ErrInUse)
	}
	p.use(a)
	return nil
}

// Free gives an address back. One that is not in use is ignored.
func (p *Pool) Free(a netip.Addr) {
	if p.state[a] != used {
		return
	}
	p.state[a] = resting
	p.inUse--
	p.freed = append(p.freed, a)
}
