package doctor

import "encoding/binary"

// words is an array of 32-bit integers as the kernel has it.
func words(v ...uint32) []byte {
	var b []byte
	for _, w := range v {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

func word(b []byte) uint32     { return binary.NativeEndian.Uint32(b) }
func put64(b []byte, v uint64) { binary.NativeEndian.PutUint64(b, v) }
