package dh

import (
	"math/big"
	"slices"
	"testing"
)

var modpGroups = []Group{MODP1024, MODP1536, MODP2048, MODP3072, MODP4096, MODP6144, MODP8192}

// TestFieldNeeds checks what the arithmetic takes for granted of the primes.
func TestFieldNeeds(t *testing.T) {
	for _, g := range modpGroups {
		m := groups[g].(*modp)
		f := m.field()
		n := len(f.p)
		if n*64 != m.bits || n%8 != 0 || f.p[0] != ^uint64(0) || f.p[n-1] != ^uint64(0) {
			t.Errorf("%v: %d limbs, from %x to %x", g, n, f.p[0], f.p[n-1])
		}
		if m.exponentBits%(combTeeth*combBlocks) != 0 {
			t.Errorf("%v: exponents of %d bits do not fill a comb", g, m.exponentBits)
		}
		if size := 8 * len(m.base().tables); size != 16*m.bits {
			t.Errorf("%v: tables of %d octets", g, size)
		}
	}
}

// TestField holds every operation against math/big, with numbers at both ends of the range.
func TestField(t *testing.T) {
	for _, g := range modpGroups {
		f := groups[g].(*modp).field()
		p, n := toBig(f.p), len(f.p)
		r := new(big.Int).Lsh(big.NewInt(1), uint(64*n))
		inverse := new(big.Int).ModInverse(r, p)
		elements := [][]uint64{f.one, f.rSquared}
		for _, x := range numbers(t, n) {
			z := make([]uint64, n)
			setBytes(z, new(big.Int).Mod(toBig(x), p).FillBytes(make([]byte, 8*n)))
			elements = append(elements, z)
		}
		minusOne := slices.Clone(f.p)
		minusOne[0]--
		elements = append(elements, minusOne)
		room := f.room()
		for _, x := range elements {
			want := new(big.Int).Mul(toBig(x), toBig(x))
			want.Mul(want, inverse).Mod(want, p)
			z := make([]uint64, n)
			if f.square(z, x, room); toBig(z).Cmp(want) != 0 {
				t.Fatalf("%v: square of %x = %x", g, x, z)
			}
			in := slices.Clone(x)
			if f.square(in, in, room); !slices.Equal(in, z) {
				t.Fatalf("%v: squaring in place differs", g)
			}
			f.enter(z, x, room)
			if toBig(z).Cmp(new(big.Int).Mod(want.Mul(toBig(x), r), p)) != 0 {
				t.Fatalf("%v: Montgomery form of %x = %x", g, x, z)
			}
			if f.leave(z, z, room); !slices.Equal(z, x) {
				t.Fatalf("%v: %x comes back as %x", g, x, z)
			}
			for _, y := range elements {
				want := new(big.Int).Mul(toBig(x), toBig(y))
				want.Mul(want, inverse).Mod(want, p)
				if f.mul(z, x, y, room); toBig(z).Cmp(want) != 0 {
					t.Fatalf("%v: %x * %x = %x", g, x, y, z)
				}
				a, b := slices.Clone(x), slices.Clone(y)
				f.mul(a, a, y, room)
				f.mul(b, x, b, room)
				if !slices.Equal(a, z) || !slices.Equal(b, z) {
					t.Fatalf("%v: multiplying in place differs", g)
				}
			}
		}
	}
}

func TestChoose(t *testing.T) {
	const n = 24
	var table []uint64
	for i := range 16 {
		for j := range n {
			table = append(table, uint64(i)<<60|uint64(j)<<8|1)
		}
	}
	z := make([]uint64, n)
	for i := range 16 {
		if choose(z, table, uint64(i)); !slices.Equal(z, table[i*n:][:n]) {
			t.Errorf("entry %d = %x", i, z)
		}
	}
}
