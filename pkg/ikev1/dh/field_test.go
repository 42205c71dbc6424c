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

// operated holds every operation on x and y, which are below p, against math/big.
func operated(t *testing.T, f *field, x, y []uint64) {
	p, n := toBig(f.p), len(f.p)
	r := new(big.Int).Lsh(big.NewInt(1), uint(64*n))
	inverse := new(big.Int).ModInverse(r, p)
	product := func(factors ...*big.Int) *big.Int {
		z := big.NewInt(1)
		for _, factor := range factors {
			z.Mul(z, factor).Mod(z, p)
		}
		return z
	}
	eachWay(func(way string) {
		z, room := make([]uint64, n), f.room()
		if f.mul(z, x, y, room); toBig(z).Cmp(product(toBig(x), toBig(y), inverse)) != 0 {
			t.Fatalf("%s: %x * %x = %x", way, x, y, z)
		}
		a, b := slices.Clone(x), slices.Clone(y)
		f.mul(a, a, y, room)
		f.mul(b, x, b, room)
		if !slices.Equal(a, z) || !slices.Equal(b, z) {
			t.Fatalf("%s: multiplying in place differs", way)
		}
		if f.square(z, x, room); toBig(z).Cmp(product(toBig(x), toBig(x), inverse)) != 0 {
			t.Fatalf("%s: square of %x = %x", way, x, z)
		}
		in := slices.Clone(x)
		if f.square(in, in, room); !slices.Equal(in, z) {
			t.Fatalf("%s: squaring in place differs", way)
		}
		if f.enter(z, x, room); toBig(z).Cmp(product(toBig(x), r)) != 0 {
			t.Fatalf("%s: Montgomery form of %x = %x", way, x, z)
		}
		if f.leave(z, z, room); !slices.Equal(z, x) {
			t.Fatalf("%s: %x comes back as %x", way, x, z)
		}
	})
}

// below returns x mod p.
func below(f *field, x *big.Int) []uint64 {
	z := make([]uint64, len(f.p))
	setBytes(z, new(big.Int).Mod(x, toBig(f.p)).FillBytes(make([]byte, 8*len(z))))
	return z
}

// TestField has numbers at both ends of the range.
func TestField(t *testing.T) {
	for _, g := range modpGroups {
		f := groups[g].(*modp).field()
		minusOne := slices.Clone(f.p)
		minusOne[0]--
		elements := [][]uint64{f.one, f.rSquared, minusOne}
		for _, x := range numbers(t, len(f.p)) {
			elements = append(elements, below(f, toBig(x)))
		}
		for _, x := range elements {
			for _, y := range elements {
				operated(t, f, x, y)
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
