package dh

import "slices"

// power returns y^e. All three are big-endian; y has as many octets as p and is below it. The length of e is no secret, nor is y.
//
// A window of four bits of the exponent at a time picks one of the sixteen first powers of y. Zero picks 1, so that every window
// costs one multiplication.
func (f *field) power(y, e []byte) []byte {
	n := len(f.p)
	room, factor, z := f.room(), make([]uint64, n), make([]uint64, n)
	table := slices.Concat(f.one, make([]uint64, 15*n))
	first := table[n:][:n]
	setBytes(first, y)
	f.enter(first, first, room)
	for i := 2; i < 16; i++ {
		entry := table[i*n:][:n]
		f.square(entry, table[i/2*n:][:n], room)
		if i%2 == 1 {
			f.mul(entry, entry, first, room)
		}
	}
	copy(z, f.one)
	for i, octet := range e {
		for half := range 2 {
			if i|half != 0 {
				for range 4 {
					f.square(z, z, room)
				}
			}
			choose(factor, table, uint64(octet>>(4-4*half)&15))
			f.mul(z, z, factor, room)
		}
	}
	return f.finish(z, factor, room)
}

// finish returns the number whose Montgomery form is z, and overwrites z and what else an exponentiation leaves.
func (f *field) finish(z, factor, room []uint64) []byte {
	f.leave(z, z, room)
	b := toBytes(z)
	clear(z)
	clear(factor)
	clear(room)
	return b
}
