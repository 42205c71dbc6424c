//go:build !amd64 || purego

package dh

// eachWay does something in the only way there is.
func eachWay(do func(way string)) { do("Go") }
