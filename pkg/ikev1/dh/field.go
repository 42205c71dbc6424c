package dh

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// field is the arithmetic modulo a prime p whose length is a multiple of 512 bits and whose upper and lower 64 bits are all ones, as
// those of every MODP group are. Numbers are below p, of n limbs, the least significant first; elements are in Montgomery form, which
// means multiplied by R = 2^(64*n).
//
// Its methods take the same steps for all values of the numbers, so that their duration and their memory accesses say nothing about
// them. The caller provides room for temporary results, to be erased when all is done: room must have 4*n limbs.
type field struct {
	p        []uint64
	one      []uint64 // R mod p: 1 in Montgomery form
	rSquared []uint64 // R*R mod p
}

// newField uses math/big, which is not constant-time: the prime is public.
func newField(p *big.Int) *field {
	r := new(big.Int).Lsh(big.NewInt(1), uint(p.BitLen()))
	limbs := func(x *big.Int) []uint64 {
		z := make([]uint64, p.BitLen()/64)
		setBytes(z, x.FillBytes(make([]byte, 8*len(z))))
		return z
	}
	return &field{
		p:        limbs(p),
		one:      limbs(new(big.Int).Mod(r, p)),
		rSquared: limbs(new(big.Int).Mod(new(big.Int).Mul(r, r), p)),
	}
}

// setBytes sets z to the big-endian number in b, of 8 octets for each limb.
func setBytes(z []uint64, b []byte) {
	for i := range z {
		z[i] = binary.BigEndian.Uint64(b[len(b)-8*(i+1):])
	}
}

// toBytes returns the big-endian octets of x, 8 for each limb.
func toBytes(x []uint64) []byte {
	b := make([]byte, 0, 8*len(x))
	for i := len(x) - 1; i >= 0; i-- {
		b = binary.BigEndian.AppendUint64(b, x[i])
	}
	return b
}

// room returns what the methods want for temporary results.
func (f *field) room() []uint64 { return make([]uint64, 4*len(f.p)) }

// mul sets z to x*y. z may be x or y.
func (f *field) mul(z, x, y, room []uint64) {
	n := len(f.p)
	t := room[: 2*n : 2*n]
	clear(t[:n])
	mulRows(t, x, y)
	f.reduce(z, t)
}

// square sets z to x*x. z may be x.
//
// With the limbs taken in blocks of eight, the products of two different blocks are computed once and doubled, which saves nearly
// half of the multiplications.
func (f *field) square(z, x, room []uint64) {
	const block = 8
	n := len(f.p)
	t, squares := room[:2*n:2*n], room[2*n:4*n:4*n]
	clear(room[:4*n])
	for i := 0; i < n; i += block {
		mulRows(squares[2*i:], x[i:i+block], x[i:i+block])
		if i+block < n {
			mulRows(t[2*i+block:], x[i+block:], x[i:i+block])
		}
	}
	doubleAndAdd(t, squares)
	f.reduce(z, t)
}

// reduce sets z to t/R mod p. t, of 2*n limbs, is below p*R and is overwritten.
func (f *field) reduce(z, t []uint64) {
	n := len(f.p)
	carry := reduceRows(t, f.p)
	// What has come out is below 2*p. It is the result unless subtracting p from it leaves no borrow that the carry does not pay.
	t, difference := t[n:2*n], t[:n]
	_, borrow := bits.Sub64(carry, 0, subtract(difference, t, f.p))
	keep := -borrow
	for i := range z {
		z[i] = t[i]&keep | difference[i]&^keep
	}
}

// enter sets z to the Montgomery form of x.
func (f *field) enter(z, x, room []uint64) { f.mul(z, x, f.rSquared, room) }

// leave sets z to the number whose Montgomery form is x.
func (f *field) leave(z, x, room []uint64) {
	n := len(f.p)
	copy(room, x)
	clear(room[n : 2*n])
	f.reduce(z, room[:2*n])
}

// choose sets z to the entry of that index in a table of 16 entries as long as z. It reads the whole table.
func choose(z, table []uint64, index uint64) {
	var masks [16]uint64
	for i := range masks {
		// All ones for the index: only a difference of 0 is below 1.
		_, equal := bits.Sub64(uint64(i)^index, 1, 0)
		masks[i] = -equal
	}
	n := len(z)
	for j := 0; j < n; j += 4 {
		var a, b, c, d uint64
		for i, mask := range masks {
			limbs := (*[4]uint64)(table[i*n+j:])
			a |= limbs[0] & mask
			b |= limbs[1] & mask
			c |= limbs[2] & mask
			d |= limbs[3] & mask
		}
		*(*[4]uint64)(z[j:]) = [4]uint64{a, b, c, d}
	}
}

// doubleAndAdd sets z to 2*z + x, which must fit. The length is a multiple of 4.
func doubleAndAdd(z, x []uint64) {
	var top, carry uint64
	for len(z) >= 4 && len(x) >= 4 {
		z4, x4 := (*[4]uint64)(z), (*[4]uint64)(x)
		a, b, c, d := z4[0]<<1|top, z4[1]<<1|z4[0]>>63, z4[2]<<1|z4[1]>>63, z4[3]<<1|z4[2]>>63
		top = z4[3] >> 63
		z4[0], carry = bits.Add64(a, x4[0], carry)
		z4[1], carry = bits.Add64(b, x4[1], carry)
		z4[2], carry = bits.Add64(c, x4[2], carry)
		z4[3], carry = bits.Add64(d, x4[3], carry)
		z, x = z[4:], x[4:]
	}
}

// subtract sets z to x-y and returns the borrow. The length is a multiple of 4.
func subtract(z, x, y []uint64) (borrow uint64) {
	for len(z) >= 4 && len(x) >= 4 && len(y) >= 4 {
		z4, x4, y4 := (*[4]uint64)(z), (*[4]uint64)(x), (*[4]uint64)(y)
		z4[0], borrow = bits.Sub64(x4[0], y4[0], borrow)
		z4[1], borrow = bits.Sub64(x4[1], y4[1], borrow)
		z4[2], borrow = bits.Sub64(x4[2], y4[2], borrow)
		z4[3], borrow = bits.Sub64(x4[3], y4[3], borrow)
		z, x, y = z[4:], x[4:], y[4:]
	}
	return borrow
}
