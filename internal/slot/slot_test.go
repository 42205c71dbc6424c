package slot

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

var block = Block{Tag: 0x1701, Base: 0x4000, Mask: 0xC000}

func TestBlock(t *testing.T) {
	if got := block.Size(); got != 16384 {
		t.Errorf("Size() = %d, want 16384", got)
	}
	if got := block.Mark(0x4001); got != 0x17014001 {
		t.Errorf("Mark = %#x", got)
	}
	for mark, want := range map[uint32]bool{
		0x17014000: true, 0x17017fff: true, 0x17018000: false, 0x17013fff: false, 0x16014000: false, 0: false,
	} {
		if got := block.Owns(mark); got != want {
			t.Errorf("Owns(%#x) = %v, want %v", mark, got, want)
		}
	}
}

func TestBlockValidate(t *testing.T) {
	for name, b := range map[string]Block{
		"no tag":      {Base: 0x4000, Mask: 0xC000},
		"ragged mask": {Tag: 1, Base: 0x4000, Mask: 0xC001},
		"unaligned":   {Tag: 1, Base: 0x4100, Mask: 0xC000},
		"port zero":   {Tag: 1, Base: 0, Mask: 0xC000},
	} {
		if err := b.Validate(); err == nil {
			t.Errorf("%s: Validate accepted %+v", name, b)
		}
	}
	if err := block.Validate(); err != nil {
		t.Errorf("default block: %v", err)
	}
}

func TestAllocatorRests(t *testing.T) {
	now := time.Unix(1000, 0)
	a, err := NewAllocator(Block{Tag: 1, Base: 0x4000, Mask: 0xFFFE}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Allocate(now)
	if err != nil || p != 0x4000 {
		t.Fatalf("first slot = %d, %v", p, err)
	}
	a.Free(now, p)
	a.Free(now, p) // a second time must not put it into the queue twice
	if q, _ := a.Allocate(now); q != 0x4001 {
		t.Errorf("second slot = %d, want the one that never was used", q)
	}
	if _, err := a.Allocate(now.Add(59 * time.Second)); !errors.Is(err, ErrExhausted) {
		t.Errorf("a resting slot was handed out: %v", err)
	}
	if q, err := a.Allocate(now.Add(time.Minute)); err != nil || q != p {
		t.Errorf("rested slot: %d, %v", q, err)
	}
	if a.Used() != 2 || a.Resting(now) != 0 || a.Rested(now) != 0 {
		t.Errorf("used %d, resting %d, rested %d", a.Used(), a.Resting(now), a.Rested(now))
	}
	a.Free(now, p)
	if a.Resting(now) != 1 || a.Rested(now) != 0 || a.Rested(now.Add(time.Hour)) != 1 {
		t.Errorf("after one is given back: resting %d, rested %d", a.Resting(now), a.Rested(now))
	}
}

func TestTake(t *testing.T) {
	now := time.Unix(1000, 0)
	a, err := NewAllocator(Block{Tag: 1, Base: 0x4000, Mask: 0xFFFC}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[Port]bool{0x4002: true, 0x4004: false, 0x3fff: false, 0: false} {
		if err := a.Take(p); (err == nil) != want {
			t.Errorf("Take(%#x) = %v", p, err)
		}
	}
	if err := a.Take(0x4002); err == nil || a.Used() != 1 || a.Rested(now) != 3 {
		t.Fatalf("a second time: %v; used %d, rested %d", err, a.Used(), a.Rested(now))
	}
	for _, want := range []Port{0x4000, 0x4001, 0x4003} { // the order of the others is as it was
		if p, err := a.Allocate(now); err != nil || p != want {
			t.Fatalf("Allocate = %#x, %v; want %#x", p, err, want)
		}
	}
	if err := a.Take(0x4001); err == nil {
		t.Error("a slot that was handed out was taken")
	}

	a.Free(now, 0x4000)
	a.Free(now, 0x4003)
	a.Free(now, 0x4002)
	if err := a.Take(0x4003); err != nil { // rests
		t.Fatal(err)
	}
	if a.Used() != 2 || a.Resting(now) != 2 {
		t.Errorf("used %d, resting %d", a.Used(), a.Resting(now))
	}
	later := now.Add(time.Minute)
	for _, want := range []Port{0x4000, 0x4002} {
		if p, err := a.Allocate(later); err != nil || p != want {
			t.Errorf("Allocate = %#x, %v; want %#x", p, err, want)
		}
	}
	if p, err := a.Allocate(later); !errors.Is(err, ErrExhausted) {
		t.Errorf("all are in use, and %#x is handed out", p)
	}
}

// TestTakeLosesNothing: whatever is taken, handed out and given back, each slot is in one place.
func TestTakeLosesNothing(t *testing.T) {
	const size = 64
	b := Block{Tag: 1, Base: 0x4000, Mask: ^uint16(size - 1)}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		a, err := NewAllocator(b, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1000, 0)
		used := make(map[Port]bool)
		for range 2000 {
			now = now.Add(time.Duration(rng.IntN(5000)) * time.Millisecond)
			p := Port(0x4000 + rng.IntN(size))
			switch rng.IntN(3) {
			case 0:
				if err := a.Take(p); (err == nil) == used[p] {
					t.Fatalf("seed %d: Take(%#x) = %v, in use: %v", seed, p, err, used[p])
				}
				used[p] = true
			case 1:
				if p, err := a.Allocate(now); err == nil {
					if used[p] {
						t.Fatalf("seed %d: %#x is handed out twice", seed, p)
					}
					used[p] = true
				} else if a.Rested(now) > 0 {
					t.Fatalf("seed %d: %v", seed, err)
				}
			case 2:
				a.Free(now, p)
				delete(used, p)
			}
			if a.Used() != len(used) || a.Used()+a.Resting(now)+a.Rested(now) != size {
				t.Fatalf("seed %d: %d in use, want %d; resting %d, rested %d", seed, a.Used(), len(used), a.Resting(now), a.Rested(now))
			}
		}
	}
}

// BenchmarkTake is what a restart with 10,000 clients costs.
func BenchmarkTake(b *testing.B) {
	ports := make([]Port, 10_000)
	for i := range ports {
		ports[i] = Port(block.Base) + Port(i)
	}
	shuffled := append([]Port(nil), ports...)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for name, order := range map[string][]Port{"in order": ports, "shuffled": shuffled} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				a, err := NewAllocator(block, time.Minute)
				if err != nil {
					b.Fatal(err)
				}
				for _, p := range order {
					if err := a.Take(p); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
