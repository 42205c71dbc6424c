//go:build !purego

package dh

import (
	"math/bits"
	"slices"
	"testing"

	"golang.org/x/sys/cpu"
)

// eachWay does something with the assembly, if the processor has what it needs, and without.
func eachWay(do func(way string)) {
	chosen := useADX
	defer func() { useADX = chosen }()
	for _, useADX = range slices.Compact([]bool{chosen, false}) {
		do(map[bool]string{true: "assembly", false: "Go"}[useADX])
	}
}

// TestAgrees lets one limb or one carry be wrong.
func TestAgrees(t *testing.T) {
	if has := cpu.X86.HasADX && cpu.X86.HasBMI2; useADX != has {
		t.Errorf("the assembly is used: %v, its instructions are there: %v", useADX, has)
	}
	if !agrees(mulRowsGo, reduceRowsGo) {
		t.Error("Go does not agree with itself")
	}
	for i := range 32 {
		mul := func(z, x, y []uint64) {
			mulRowsGo(z, x, y)
			z[i]++
		}
		if agrees(mul, reduceRowsGo) {
			t.Errorf("a product with a wrong limb %d passes", i)
		}
		if i < 16 {
			continue // the lower half has no meaning
		}
		reduce := func(z, p []uint64) uint64 {
			defer func() { z[i]-- }()
			return reduceRowsGo(z, p)
		}
		if agrees(mulRowsGo, reduce) {
			t.Errorf("a reduction with a wrong limb %d passes", i)
		}
	}
	if agrees(mulRowsGo, func(z, p []uint64) uint64 { return reduceRowsGo(z, p) &^ 1 }) {
		t.Error("a reduction which loses its carry passes")
	}
	// One carry for both chains is what the emulators had.
	if agrees(mixedUp, reduceRowsGo) {
		t.Error("two carries in one pass")
	}
}

// mixedUp is mulRowsGo in the steps of the assembly, with CF in the place of OF.
func mixedUp(z, x, y []uint64) {
	for i, d := range y {
		var in, c uint64
		for j := range x {
			h, l := bits.Mul64(x[j], d)
			l, c = bits.Add64(l, in, c)
			z[i+j], c = bits.Add64(z[i+j], l, c)
			in = h
		}
		z[i+len(x)] = in + c
	}
}

// TestRowsThatDoNotSuit proves that rows of other lengths than the assembly's, and no rows at all, are left to Go.
func TestRowsThatDoNotSuit(t *testing.T) {
	for _, n := range []int{0, 4, 8, 12, 20} {
		for rows := range 3 {
			z := slices.Repeat([]uint64{^uint64(0)}, n+rows+2)
			want := slices.Clone(z)
			x, y := slices.Repeat([]uint64{^uint64(0)}, n), slices.Repeat([]uint64{3}, rows)
			mulRows(z, x, y)
			mulRowsGo(want, x, y)
			if !slices.Equal(z, want) {
				t.Errorf("%d limbs, %d rows: %x, want %x", n, rows, z, want)
			}
		}
		z := slices.Repeat([]uint64{^uint64(0)}, 2*n+2)
		want, p := slices.Clone(z), slices.Repeat([]uint64{^uint64(0)}, n)
		if reduceRows(z, p) != reduceRowsGo(want, p) || !slices.Equal(z, want) {
			t.Errorf("reducing by %d limbs: %x, want %x", n, z, want)
		}
	}
}
