package dh

import (
	"encoding/binary"
	"math/big"
	"testing"
)

// limbs makes limbs of a fuzzer's octets: an octet below 8 stands for a limb on which carries run, any other begins one of eight octets.
// In the end it starts over, so that few octets make long numbers.
type limbs struct {
	octets []byte
	next   int
}

func (l *limbs) octet() byte {
	if len(l.octets) == 0 {
		return 0
	}
	b := l.octets[l.next%len(l.octets)]
	l.next++
	return b
}

func (l *limbs) take(n int) []uint64 {
	x := make([]uint64, n)
	for i := range x {
		first := l.octet()
		if special := [...]uint64{0, 1, 2, 1<<63 - 1, 1 << 63, 1<<63 + 1, ^uint64(1), ^uint64(0)}; int(first) < len(special) {
			x[i] = special[first]
			continue
		}
		octets := [8]byte{first}
		for j := 1; j < len(octets); j++ {
			octets[j] = l.octet()
		}
		x[i] = binary.LittleEndian.Uint64(octets[:])
	}
	return x
}

// near returns a number modulo p: one of l's, or one by less than 2^64 above 0 or below p.
func (l *limbs) near(f *field) []uint64 {
	offset := new(big.Int).SetUint64(l.take(1)[0])
	switch l.octet() % 4 {
	case 0:
		return below(f, offset)
	case 1:
		return below(f, offset.Neg(offset))
	}
	return below(f, toBig(l.take(len(f.p))))
}

// FuzzRows compares the two functions that do all the work, in Go and in assembly, with math/big.
func FuzzRows(f *testing.F) {
	for size := range byte(16) {
		f.Add(size, 2*size, []byte{7, 0, 255, 1, 2, 3, 4, 5, 6, 7, 7, size})
	}
	f.Fuzz(func(t *testing.T, size, rows byte, octets []byte) {
		n, l := 8*(1+int(size)%16), limbs{octets: octets}
		multiplied(t, l.take(n), l.take(n), l.take(1+int(rows)%n))
		p := l.take(n)
		p[0] = ^uint64(0)
		reduced(t, l.take(2*n), p)
	})
}

// FuzzField compares multiplication and squaring modulo the groups' primes with math/big.
func FuzzField(f *testing.F) {
	for g := range modpGroups {
		f.Add(byte(g), []byte{1, 1, 2, 1})           // -1 and -2
		f.Add(byte(g), []byte{7, 2, 7, 7, 2, 7, 0})  // ones
		f.Add(byte(g), []byte{200, 3, 9, 81, 16, 7}) // mixed
	}
	f.Fuzz(func(t *testing.T, group byte, octets []byte) {
		m, l := groups[modpGroups[int(group)%len(modpGroups)]].(*modp), limbs{octets: octets}
		operated(t, m.field(), l.near(m.field()), l.near(m.field()))
	})
}

// FuzzPower compares whole exponentiations with math/big. The larger groups have the same code, and math/big is slow with them.
func FuzzPower(f *testing.F) {
	fast := modpGroups[:4]
	for g := range fast {
		f.Add(byte(g), []byte{1, 2, 1, 1, 7, 7}, []byte{0x80})
		f.Add(byte(g), []byte{200, 3, 9, 81, 16, 7}, []byte{0xff, 0xf0, 0x0f, 0, 0, 0x01})
	}
	f.Fuzz(func(t *testing.T, group byte, octets, e []byte) {
		g := fast[int(group)%len(fast)]
		m, l := groups[g].(*modp), limbs{octets: octets}
		e = e[:min(len(e), m.exponentBits/8)]
		y := l.near(m.field())
		x, p := new(big.Int).SetBytes(e), toBig(m.field().p)
		wantPublic, wantShared := new(big.Int).Exp(big.NewInt(2), x, p), new(big.Int).Exp(toBig(y), x, p)
		eachWay(func(way string) {
			if public := m.base().power(e); new(big.Int).SetBytes(public).Cmp(wantPublic) != 0 || len(public) != g.PublicLen() {
				t.Errorf("%s, %v: 2^%x = %x", way, g, e, public)
			}
			if shared := m.field().power(toBytes(y), e); new(big.Int).SetBytes(shared).Cmp(wantShared) != 0 || len(shared) != g.SharedLen() {
				t.Errorf("%s, %v: %x^%x = %x", way, g, y, e, shared)
			}
		})
	})
}
