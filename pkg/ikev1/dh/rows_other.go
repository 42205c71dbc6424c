//go:build !amd64 || purego

package dh

func mulRows(z, x, y []uint64) { mulRowsGo(z, x, y) }

func reduceRows(z, p []uint64) (carry uint64) { return reduceRowsGo(z, p) }
