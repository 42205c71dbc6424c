//go:build !purego

package dh

import (
	"slices"

	"golang.org/x/sys/cpu"
)

// useADX says that the processor has the instructions, as those of Intel from Broadwell (2014) and of AMD from Zen (2017) on do, and
// that they compute what they should. There are emulators which mix their two carries up; no handshake would succeed on one of them.
var useADX = cpu.X86.HasADX && cpu.X86.HasBMI2 && agrees(mulADX, reduceADX)

// mulRows is [mulRowsGo].
func mulRows(z, x, y []uint64) {
	if !useADX || !suits(x) || len(y) == 0 {
		mulRowsGo(z, x, y)
		return
	}
	mulADX(z, x, y)
}

// reduceRows is [reduceRowsGo].
func reduceRows(z, p []uint64) (carry uint64) {
	if !useADX || !suits(p) {
		return reduceRowsGo(z, p)
	}
	return reduceADX(z, p)
}

// suits says that rows of as many limbs as x are what the assembly takes. With any others it would run beyond them.
func suits(x []uint64) bool { return len(x) > 0 && len(x)%8 == 0 }

func mulADX(z, x, y []uint64) {
	_ = z[len(x)+len(y)-1]
	mulRowsADX(&z[0], &x[0], &y[0], len(x), len(y))
}

func reduceADX(z, p []uint64) (carry uint64) {
	_ = z[2*len(p)-1]
	return reduceRowsADX(&z[0], &p[0], len(p))
}

// agrees compares an implementation with the one in Go, by numbers on which every carry runs far and by some on which they come and go.
func agrees(mul func(z, x, y []uint64), reduce func(z, p []uint64) uint64) bool {
	const n = 16
	ones, mixed := make([]uint64, 2*n), make([]uint64, 2*n)
	limb := uint64(1)
	for i := range mixed {
		// Marsaglia's xorshift has all the randomness that is needed here.
		limb ^= limb << 13
		limb ^= limb >> 7
		limb ^= limb << 17
		ones[i], mixed[i] = ^uint64(0), limb
	}
	for _, x := range [][]uint64{ones, mixed} {
		for _, y := range [][]uint64{ones, mixed} {
			got, want := slices.Clone(y), slices.Clone(y)
			mul(got, x[:n], y[n:])
			mulRowsGo(want, x[:n], y[n:])
			if !slices.Equal(got, want) {
				return false
			}
			p := slices.Clone(y[:n])
			p[0] = ^uint64(0)
			got, want = slices.Clone(x), slices.Clone(x)
			if reduce(got, p) != reduceRowsGo(want, p) || !slices.Equal(got[n:], want[n:]) {
				return false
			}
		}
	}
	return true
}

// mulRowsADX needs n to be a multiple of 8, and neither n nor rows to be 0.
//
//go:noescape
func mulRowsADX(z, x, y *uint64, n, rows int)

// reduceRowsADX needs n to be a multiple of 8, and not 0.
//
//go:noescape
func reduceRowsADX(z, p *uint64, n int) (carry uint64)
