package ikev1

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// numbered is a message of n octets with a header that says so.
func numbered(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewPCG(seed, 0)
	for i := range b {
		b[i] = byte(r.Uint64())
	}
	binary.BigEndian.PutUint32(b[24:], uint32(n))
	return b
}

// pieces splits a message into so many fragments.
func pieces(message []byte, count int) []wire.Fragment {
	var list []wire.Fragment
	for i := range count {
		from, to := i*len(message)/count, (i+1)*len(message)/count
		list = append(list, wire.Fragment{Number: uint8(i + 1), Last: i == count-1, Data: message[from:to]})
	}
	return list
}

// newSet is a set in a pool of its own.
func newSet() *fragmentSet {
	pool := &fragmentPool{limit: strangersReassembly}
	return pool.begin(&isakmpSA{}, 1, time.Time{})
}

func TestReassemblyInAnyOrder(t *testing.T) {
	message := numbered(wire.MaxMessage, 1)
	list := pieces(message, maxFragments)
	for seed := range uint64(200) {
		s := newSet()
		rng := rand.New(rand.NewPCG(seed, 2))
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for i, f := range list {
			if got, ok := s.message(); ok {
				t.Fatalf("complete with %d of %d fragments: %d octets", i, len(list), len(got))
			}
			if outcome := s.put(f); outcome != fragmentKept {
				t.Fatalf("fragment %d: outcome %d", f.Number, outcome)
			}
			if outcome := s.put(f); outcome != fragmentRepeated {
				t.Fatalf("fragment %d again: outcome %d", f.Number, outcome)
			}
		}
		if got, ok := s.message(); !ok || !bytes.Equal(got, message) {
			t.Fatalf("seed %d: %d octets, complete %v", seed, len(got), ok)
		}
	}
}

// TestReassemblyNewestCounts: what is left of another message with the same ID is never in the way.
func TestReassemblyNewestCounts(t *testing.T) {
	old, message := numbered(600, 1), numbered(500, 2)
	for _, c := range []struct {
		name             string
		before, sent     int   // fragments of the two messages
		arrived, arrives []int // their numbers
	}{
		{"the same number of fragments", 3, 3, []int{1, 3}, []int{1, 2, 3}},
		{"backwards", 3, 3, []int{1, 3}, []int{3, 2, 1}},
		{"fewer", 5, 3, []int{2, 4, 5}, []int{1, 2, 3}},
		{"fewer, backwards", 5, 3, []int{2, 4, 5}, []int{3, 2, 1}},
		{"more", 2, 4, []int{2}, []int{1, 2, 3, 4}},
		{"more, backwards", 2, 4, []int{2}, []int{4, 3, 2, 1}},
		{"more, mixed", 3, 4, []int{3}, []int{2, 4, 1, 3}},
		{"an old one late", 3, 3, []int{1}, []int{1, 2, 3}},
		{"it fits, but is of another length", 4, 4, []int{4}, []int{1, 2, 3, 4}},
	} {
		s := newSet()
		a, b := pieces(old, c.before), pieces(message, c.sent)
		for _, n := range c.arrived {
			s.put(a[n-1])
		}
		complete := false
		for i, n := range c.arrives {
			s.put(b[n-1])
			got, ok := s.message()
			if ok && (i != len(c.arrives)-1 || !bytes.Equal(got, message)) {
				t.Errorf("%s: complete with something else after fragment %d", c.name, n)
			}
			complete = ok
		}
		if !complete {
			t.Errorf("%s: not complete", c.name)
		}
	}
}

func TestReassemblyBounds(t *testing.T) {
	s := newSet()
	big := make([]byte, 6000)
	for n := range uint8(2) {
		if outcome := s.put(wire.Fragment{Number: n + 1, Data: big}); outcome != fragmentKept {
			t.Fatalf("outcome %d", outcome)
		}
	}
	if outcome := s.put(wire.Fragment{Number: 3, Data: big}); outcome != fragmentTooLarge || s.held != 1 || s.size != len(big) {
		t.Errorf("outcome %d, %d pieces of %d octets", outcome, s.held, s.size)
	}
	// A header that promises more than may come, or less than a header.
	for _, length := range []uint32{0, 27, wire.MaxMessage + 1, 1 << 31, 1<<32 - 1} {
		s := newSet()
		message := numbered(100, 1)
		binary.BigEndian.PutUint32(message[24:], length)
		for _, f := range pieces(message, 4) {
			s.put(f)
		}
		if _, ok := s.message(); ok {
			t.Errorf("length %d passes", length)
		}
	}
	// A gap, where the fragments beyond the old last one are as many and as long as what is missing.
	s = newSet()
	message := numbered(90, 1)
	s.put(wire.Fragment{Number: 3, Last: true, Data: message[:30]})
	s.put(wire.Fragment{Number: 4, Data: message[:30]})
	s.put(wire.Fragment{Number: 1, Data: message[:30]})
	if _, ok := s.message(); ok {
		t.Error("complete without fragment 2")
	}
	// Less than a header in all.
	s = newSet()
	s.put(wire.Fragment{Number: 1, Last: true, Data: make([]byte, 27)})
	if _, ok := s.message(); ok {
		t.Error("27 octets are a message")
	}
}

func TestFragmentPool(t *testing.T) {
	now := time.Unix(0, 0)
	pool := &fragmentPool{limit: 10 * fragmentSetCost}
	var sets []*fragmentSet
	for i := range 11 {
		sets = append(sets, pool.begin(&isakmpSA{}, 1, now.Add(time.Duration(i)*time.Second)))
	}
	if got := pool.surplus(now); got != sets[0] {
		t.Error("the oldest does not give way")
	}
	sets[0].end()
	if pool.surplus(now) != nil {
		t.Error("there is room, and one has to go")
	}
	sets[1].end()
	if got := pool.surplus(now.Add(2*time.Second + reassemblyLife)); got != sets[2] {
		t.Error("the oldest does not expire")
	}
	for _, s := range sets[2:] {
		s.put(wire.Fragment{Number: 1, Data: []byte("x")})
		s.end()
	}
	if pool.size != 0 || pool.sets.Len() != 0 {
		t.Errorf("%d octets in %d sets are left", pool.size, pool.sets.Len())
	}
}

// FuzzReassembly compares with a model, and checks that no sequence of fragments breaks the accounts. Each fragment is 4 octets of
// input: number, flags, two of length.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{1, 0, 0, 28, 2, 1, 0, 4})
	f.Add([]byte{3, 1, 0, 9, 1, 0, 0, 28, 2, 0, 0, 4, 2, 1, 0, 4})
	f.Add([]byte{2, 1, 0, 29, 3, 0, 0, 29, 0, 116, 0, 29})
	f.Add([]byte{1, 0, 0x20, 0, 2, 0, 0x20, 0, 3, 1, 0x20, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		in = in[:min(len(in), 400)]
		s := newSet()
		model, last := map[int][]byte{}, 0
		for ; len(in) >= 4; in = in[4:] {
			f := wire.Fragment{Number: in[0]%maxFragments + 1, Last: in[1]&1 != 0, Data: make([]byte, 1+int(binary.BigEndian.Uint16(in[2:]))%maxDatagram)}
			for i := range f.Data {
				f.Data[i] = in[1]>>1 ^ byte(i)
			}
			// Fragment 1 has a header: for a message of this fragment, and up to 127 octets more.
			if f.Number == 1 && len(f.Data) >= wire.HeaderLen {
				binary.BigEndian.PutUint32(f.Data[24:], uint32(len(f.Data))+uint32(in[1]>>1))
			}
			outcome := s.put(f)
			number := int(f.Number)
			if outcome == fragmentTooLarge {
				clear(model)
				last = 0
			}
			model[number] = f.Data
			switch {
			case f.Last:
				last = number
				for n := range model {
					if n > number {
						delete(model, n)
					}
				}
			case number >= last:
				last = 0
			}
			size := 0
			for _, b := range model {
				size += len(b)
			}
			if s.size != size || s.held != len(model) || s.last != last || s.size > wire.MaxMessage || s.pool.size != size+fragmentSetCost {
				t.Fatalf("%d octets in %d pieces, last %d, pool %d; the model has %d in %d, last %d", s.size, s.held, s.last, s.pool.size, size, len(model), last)
			}
			got, ok := s.message()
			if !ok {
				continue
			}
			var whole []byte
			for n := 1; n <= last; n++ {
				if model[n] == nil {
					t.Fatalf("complete without fragment %d", n)
				}
				whole = append(whole, model[n]...)
			}
			if !bytes.Equal(whole, got) {
				t.Fatalf("%d octets that are not the %d of the model", len(got), len(whole))
			}
		}
		if s.end(); s.pool.size != 0 || s.pool.sets.Len() != 0 || s.sa.fragments != nil {
			t.Fatalf("%d octets are left", s.pool.size)
		}
	})
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name         string
		sa           *isakmpSA
		length, want int // octets of the message, datagrams
		longest      int // octets of a datagram, 0 for the message's
	}{
		{"IPv4, just fits", splitter("198.51.100.1:500", false, true), 1252, 1, 0},
		{"IPv4, one octet more", splitter("198.51.100.1:500", false, true), 1253, 2, 1252},
		{"encapsulated, just fits", splitter("198.51.100.1:4500", true, true), 1248, 1, 0},
		{"encapsulated, one octet more", splitter("198.51.100.1:4500", true, true), 1249, 2, 1248},
		{"IPv6, just fits", splitter("[2001:db8::1]:500", false, true), 1232, 1, 0},
		{"IPv6, one octet more", splitter("[2001:db8::1]:500", false, true), 1233, 2, 1232},
		{"the peer takes no fragments", splitter("198.51.100.1:500", false, false), 5000, 1, 0},
		{"a long message", splitter("198.51.100.1:500", false, true), wire.MaxMessage, 14, 1252},
	} {
		message := numbered(c.length, 1)
		parts := c.sa.split(message)
		if len(parts) != c.want {
			t.Errorf("%s: %d datagrams, want %d", c.name, len(parts), c.want)
		}
		if again := c.sa.split(message); !reflect.DeepEqual(parts, again) {
			t.Errorf("%s: a repetition goes in other fragments", c.name)
		}
		longest := 0
		for _, p := range parts {
			longest = max(longest, len(p))
		}
		if c.longest == 0 {
			c.longest = c.length
		}
		if longest != c.longest {
			t.Errorf("%s: a datagram of %d octets, want %d", c.name, longest, c.longest)
		}
		if got, err := ikev1test.Defragment(parts); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%s: %d octets come back: %v", c.name, len(got), err)
		}
	}
}

func splitter(remote string, encapsulated, fragmentation bool) *isakmpSA {
	return &isakmpSA{remote: netip.MustParseAddrPort(remote), encapsulated: encapsulated, peer: peerFeatures{fragmentation: fragmentation}}
}
