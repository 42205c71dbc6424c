package dh

import "math/bits"

// The two functions below are all the work of an exponentiation: sums of rows, a row being a number of n limbs times one limb. They
// exist in Go here and for amd64 in assembly (rows_amd64.s). Limbs stand least significant first. len(x) and len(p) are multiples of
// 8, as in every group. Neither function branches on the value of a limb, or indexes with one.

// mulRowsGo adds x*y to the first len(x) limbs of z and puts the result into len(x)+len(y) limbs of z. z overlaps neither x nor y.
func mulRowsGo(z, x, y []uint64) {
	for i, d := range y {
		z[i+len(x)] = addRow(z[i:i+len(x)], x, d)
	}
}

// reduceRowsGo adds to z, of 2*len(p) limbs, the multiple of p which makes its lower half zero, and returns the carry. What it leaves
// in the lower half has no meaning. The lowest limb of p must be -1 mod 2^64: then the limb to be cancelled is the factor of p.
func reduceRowsGo(z, p []uint64) (carry uint64) {
	n := len(p)
	for i := range n {
		row := addRow(z[i:i+n], p, z[i])
		z[i+n], carry = bits.Add64(z[i+n], row, carry)
	}
	return carry
}

// addRow adds x*y to z, of as many limbs as x, and returns the limb that is carried out.
func addRow(z, x []uint64, y uint64) (carry uint64) {
	for len(x) >= 4 && len(z) >= 4 {
		z4, x4 := (*[4]uint64)(z), (*[4]uint64)(x)
		h0, l0 := bits.Mul64(x4[0], y)
		h1, l1 := bits.Mul64(x4[1], y)
		h2, l2 := bits.Mul64(x4[2], y)
		h3, l3 := bits.Mul64(x4[3], y)
		var c uint64
		l0, c = bits.Add64(l0, carry, 0)
		l1, c = bits.Add64(l1, h0, c)
		l2, c = bits.Add64(l2, h1, c)
		l3, c = bits.Add64(l3, h2, c)
		h3 += c // the product of four limbs and one, and a limb, fit five
		z4[0], c = bits.Add64(z4[0], l0, 0)
		z4[1], c = bits.Add64(z4[1], l1, c)
		z4[2], c = bits.Add64(z4[2], l2, c)
		z4[3], c = bits.Add64(z4[3], l3, c)
		carry = h3 + c
		z, x = z[4:], x[4:]
	}
	return carry
}
