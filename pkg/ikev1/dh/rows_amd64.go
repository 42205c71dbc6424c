//go:build !purego

package dh

import "golang.org/x/sys/cpu"

// hasADX is true for Intel from Broadwell (2014) and AMD from Zen (2017) on.
var hasADX = cpu.X86.HasADX && cpu.X86.HasBMI2

// mulRows is [mulRowsGo].
func mulRows(z, x, y []uint64) {
	if !hasADX {
		mulRowsGo(z, x, y)
		return
	}
	_ = z[len(x)+len(y)-1]
	mulRowsADX(&z[0], &x[0], &y[0], len(x), len(y))
}

// reduceRows is [reduceRowsGo].
func reduceRows(z, p []uint64) (carry uint64) {
	if !hasADX {
		return reduceRowsGo(z, p)
	}
	_ = z[2*len(p)-1]
	return reduceRowsADX(&z[0], &p[0], len(p))
}

// mulRowsADX needs n to be a multiple of 8, and neither n nor rows to be 0.
//
//go:noescape
func mulRowsADX(z, x, y *uint64, n, rows int)

// reduceRowsADX needs n to be a multiple of 8, and not 0.
//
//go:noescape
func reduceRowsADX(z, p *uint64, n int) (carry uint64)
