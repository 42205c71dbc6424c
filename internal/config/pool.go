package config

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Range is a range of IPv4 addresses, both ends included.
type Range struct{ From, To netip.Addr }

// String returns "from-to".
func (r Range) String() string { return r.From.String() + "-" + r.To.String() }

// Pool is a set of IPv4 addresses: ranges in ascending order that neither overlap nor are empty.
type Pool []Range

const poolForm = "an IPv4 prefix or range such as 10.99.0.0/24 or 10.99.0.10-10.99.0.99"

// parseRange reads a prefix or a range. Of a prefix up to /30 the network and the broadcast address are left out, since
// many clients derive a classful or /24 mask and refuse them.
func parseRange(s string) (Range, error) {
	bad := fmt.Errorf("%q is not %s", s, poolForm)
	if from, to, ok := strings.Cut(s, "-"); ok {
		a, errA := netip.ParseAddr(strings.TrimSpace(from))
		b, errB := netip.ParseAddr(strings.TrimSpace(to))
		if errA != nil || errB != nil || !a.Is4() || !b.Is4() || b.Less(a) {
			return Range{}, bad
		}
		return Range{a, b}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return Range{a, a}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() || p.Bits() < 8 {
		return Range{}, bad
	}
	from := number(p.Masked().Addr())
	to := from | uint32(1<<(32-p.Bits())-1)
	if p.Bits() <= 30 {
		from, to = from+1, to-1
	}
	return Range{address(from), address(to)}, nil
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// sorted returns the ranges in ascending order, and the first pair that overlaps, if any.
func (p Pool) sorted() (Pool, error) {
	p = slices.Clone(p)
	slices.SortFunc(p, func(a, b Range) int { return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To)) })
	for i := 1; i < len(p); i++ {
		if !p[i-1].To.Less(p[i].From) {
			return p, fmt.Errorf("%v and %v overlap", p[i-1], p[i])
		}
	}
	return p, nil
}

// without returns the pool less one address.
func (p Pool) without(a netip.Addr) Pool {
	var out Pool
	for _, r := range p {
		if a.Less(r.From) || r.To.Less(a) {
			out = append(out, r)
			continue
		}
		if r.From.Less(a) {
			out = append(out, Range{r.From, a.Prev()})
		}
		if a.Less(r.To) {
			out = append(out, Range{a.Next(), r.To})
		}
	}
	return out
}

// Contains says whether the address is in the pool.
func (p Pool) Contains(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(r Range) bool { return !a.Less(r.From) && !r.To.Less(a) })
}

// Size returns the number of addresses.
func (p Pool) Size() int {
	var n int
	for _, r := range p {
		n += int(number(r.To)-number(r.From)) + 1
	}
	return n
}

// All yields the addresses in ascending order.
func (p Pool) All() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, r := range p {
			for a := r.From; ; a = a.Next() {
				if !yield(a) {
					return
				}
				if a == r.To {
					break
				}
			}
		}
	}
}
