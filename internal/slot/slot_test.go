package slot

import (
	"errors"
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
