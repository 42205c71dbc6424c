package dh

import (
	"crypto/rand"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"
)

// numbers are of n limbs: random ones, and those where carries run far.
func numbers(t testing.TB, n int) [][]uint64 {
	all := [][]uint64{make([]uint64, n), slices.Repeat([]uint64{^uint64(0)}, n), slices.Repeat([]uint64{1 << 63}, n)}
	small, large := make([]uint64, n), slices.Repeat([]uint64{^uint64(0)}, n)
	small[0], large[0] = 1, 0
	all = append(all, small, large)
	for range 4 {
		x := make([]uint64, n)
		if err := binary.Read(rand.Reader, binary.LittleEndian, x); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

func toBig(x []uint64) *big.Int { return new(big.Int).SetBytes(toBytes(x)) }

// multiplied holds both implementations of x*y + start against math/big.
func multiplied(t *testing.T, start, x, y []uint64) {
	n, rows := len(x), len(y)
	want := new(big.Int).Mul(toBig(x), toBig(y))
	want.Add(want, toBig(start))
	eachWay(func(way string) {
		// What stands behind the first n limbs is overwritten, and what stands behind the result is not.
		z := append(slices.Clone(start), slices.Repeat([]uint64{0xdead}, rows+3)...)
		mulRows(z, x, y)
		if toBig(z[:n+rows]).Cmp(want) != 0 {
			t.Fatalf("%s: %x * %x + %x = %x", way, x, y, start, z)
		}
		if !slices.Equal(z[n+rows:], []uint64{0xdead, 0xdead, 0xdead}) {
			t.Fatalf("%s: multiplying writes beyond the result", way)
		}
	})
}

func TestMulRows(t *testing.T) {
	for _, n := range []int{8, 16, 24, 32, 128} {
		for _, rows := range []int{1, 8, 24} {
			for _, x := range numbers(t, n) {
				for i, y := range numbers(t, rows) {
					multiplied(t, numbers(t, n)[i], x, y)
				}
			}
		}
	}
}

// reduced holds both implementations of the reduction of start by p against math/big.
func reduced(t *testing.T, start, p []uint64) {
	n := len(p)
	// The multiple of p is the one that makes the lower half zero, of which there is one below 2^(64n).
	r := new(big.Int).Lsh(big.NewInt(1), uint(64*n))
	q := new(big.Int).ModInverse(toBig(p), r)
	q.Mul(q.Neg(q), toBig(start)).Mod(q, r)
	want := q.Mul(q, toBig(p)).Add(q, toBig(start))
	want.Rsh(want, uint(64*n))
	eachWay(func(way string) {
		z := append(slices.Clone(start), 0xdead)
		carry := reduceRows(z, p)
		if toBig(append(slices.Clone(z[n:2*n]), carry)).Cmp(want) != 0 {
			t.Fatalf("%s: reducing %x by %x: %x, carry %d", way, start, p, z, carry)
		}
		if z[2*n] != 0xdead {
			t.Fatalf("%s: reducing writes beyond the result", way)
		}
	})
}

func TestReduceRows(t *testing.T) {
	for _, n := range []int{8, 16, 24, 32, 128} {
		for _, p := range numbers(t, n) {
			p[0], p[n-1] = ^uint64(0), ^uint64(0)
			for _, start := range numbers(t, 2*n) {
				reduced(t, start, p)
			}
		}
	}
}
