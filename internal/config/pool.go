package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/l2tpctl/l2tpctl/internal/pool"
)

const poolForm = "an IPv4 prefix or range such as 10.99.0.0/24 or 10.99.0.10-10.99.0.99"

func (d *decoder) pool(c *Config, path string, n ast.Node) {
	d.list(path, n, poolForm+", or a list of them", func(path string, n ast.Node) {
		s, _ := scalar(n)
		switch r, err := pool.ParseRange(s); {
		case errors.Is(err, pool.ErrTooLarge):
			d.fail(n, path, describe(n), fmt.Sprintf("at most %d addresses, a /8", pool.MaxSize))
		case err != nil || !r.First.Is4():
			d.fail(n, path, describe(n), poolForm)
		default:
			c.Pool = append(c.Pool, r)
		}
	})
	slices.SortFunc(c.Pool, func(a, b pool.Range) int { return cmp.Or(a.First.Compare(b.First), a.Last.Compare(b.Last)) })
	for i := 1; i < len(c.Pool); i++ {
		if a, b := c.Pool[i-1], c.Pool[i]; !a.Last.Less(b.First) {
			d.fail(n, path, fmt.Sprintf("%v and %v, which overlap", a, b), "ranges that do not overlap")
			return
		}
	}
}

// without returns the ranges less one address.
func without(ranges []pool.Range, a netip.Addr) []pool.Range {
	var out []pool.Range
	for _, r := range ranges {
		if !r.Contains(a) {
			out = append(out, r)
			continue
		}
		if r.First.Less(a) {
			out = append(out, pool.Range{First: r.First, Last: a.Prev()})
		}
		if a.Less(r.Last) {
			out = append(out, pool.Range{First: a.Next(), Last: r.Last})
		}
	}
	return out
}
