package dh

import "slices"

// Shape of a comb. Four teeth make tables of 16 entries, and each factor costs reading one of them as a whole: with MODP2048 a third of
// what a multiplication costs, doubling with each tooth.
const (
	combTeeth  = 4
	combBlocks = 8
	combSize   = 1 << combTeeth
)

// comb computes powers of one fixed base with hardly any squarings (C. H. Lim and P. J. Lee, "More Flexible Exponentiation with
// Precomputation", 1994). The bits of the exponent stand in a matrix of combTeeth rows; a column's bits, one of each row, pick an entry
// of a table which has the products of the rows' weights. The columns are in combBlocks blocks, each with a table of its own, so that
// the columns of the same place in all blocks share their squarings.
//
// The tables take 1024 octets for each limb of the prime: 32 KiB for group 14, 128 KiB for group 18.
type comb struct {
	*field
	width  int // columns of a block
	tables []uint64
}

// newComb returns the comb for exponents of up to bits bits, a multiple of 32.
func newComb(f *field, base uint64, bits int) *comb {
	n := len(f.p)
	c := &comb{field: f, width: bits / combTeeth / combBlocks, tables: make([]uint64, 0, combBlocks*combSize*n)}
	room, weight := f.room(), make([]uint64, n)
	weight[0] = base
	f.enter(weight, weight, room)
	// weights[t][b] is base to the power of 2^(the place of the lowest bit that row t has in block b).
	var weights [combTeeth][combBlocks][]uint64
	for t := range combTeeth {
		for b := range combBlocks {
			weights[t][b] = slices.Clone(weight)
			for range c.width {
				f.square(weight, weight, room)
			}
		}
	}
	for b := range combBlocks {
		for i := range combSize {
			entry := slices.Clone(f.one)
			for t := range combTeeth {
				if i>>t&1 == 1 {
					f.mul(entry, entry, weights[t][b], room)
				}
			}
			c.tables = append(c.tables, entry...)
		}
	}
	return c
}

// power returns the base to the power of e, both big-endian. e is not longer than the comb's exponents; its length is no secret.
func (c *comb) power(e []byte) []byte {
	n := len(c.p)
	room, factor, z := c.room(), make([]uint64, n), slices.Clone(c.one)
	for column := c.width - 1; column >= 0; column-- {
		if column != c.width-1 {
			c.square(z, z, room)
		}
		for b := range combBlocks {
			var index uint64
			for t := range combTeeth {
				index |= bit(e, (t*combBlocks+b)*c.width+column) << t
			}
			choose(factor, c.tables[b*combSize*n:][:combSize*n], index)
			c.mul(z, z, factor, room)
		}
	}
	return c.finish(z, factor, room)
}

// bit returns the bit of e of weight 2^i, which is 0 beyond its end. Which bits are asked for does not depend on e.
func bit(e []byte, i int) uint64 {
	if i >= 8*len(e) {
		return 0
	}
	return uint64(e[len(e)-1-i/8]>>(i%8)) & 1
}
