package confine

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
)

// Offsets in struct seccomp_data of a little-endian machine.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// A condition compares half of an argument: what is left of it under the mask. The kernel itself takes flags, kinds and process IDs from the
// low half alone.
type condition struct {
	offset      uint32
	mask, value uint32
}

func masked(argument int, mask, value uint32) condition {
	return condition{offArgs + 8*uint32(argument), mask, value}
}

func is(argument int, value uint32) condition { return masked(argument, math.MaxUint32, value) }

func lacks(argument int, bits uint32) condition { return masked(argument, bits, 0) }

// high compares the high half, which matters for pointers.
func high(argument int, value uint32) condition {
	return condition{offArgs + 8*uint32(argument) + 4, math.MaxUint32, value}
}

func oneOf(argument int, values ...uint32) [][]condition {
	var sets [][]condition
	for _, v := range values {
		sets = append(sets, []condition{is(argument, v)})
	}
	return sets
}

// load is a condition's half, masked.
func (c condition) load() []bpf.Instruction {
	code := []bpf.Instruction{bpf.LoadAbsolute{Off: c.offset, Size: 4}}
	if c.mask != math.MaxUint32 {
		code = append(code, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask})
	}
	return code
}

// all returns the verdict if every condition holds, and goes on behind it otherwise.
func all(conditions []condition, verdict uint32) []bpf.Instruction {
	code := []bpf.Instruction{bpf.RetConstant{Val: verdict}}
	for _, c := range slices.Backward(conditions) {
		test := append(c.load(), bpf.JumpIf{Cond: bpf.JumpEqual, Val: c.value, SkipFalse: uint8(len(code))})
		code = append(test, code...)
	}
	return code
}

// program returns the filter for an architecture, without the calls that it does not have. It is our own, because the library's goes on to
// compare system calls after it has loaded an argument in their place.
func program(on *arch.Info, pid int, unixSockets bool) ([]bpf.Instruction, error) {
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(on.ID), SkipTrue: 1},
		bpf.RetConstant{Val: refuse}, // a call in the manner of another architecture
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	number := func(name string) (uint32, bool) {
		n, ok := on.SyscallNames[name]
		return uint32(n), ok
	}
	for _, list := range []struct {
		names   []string
		verdict uint32
	}{{data, allow}, {sockets, allow}, {files, allow}, {runtimes, allow}, {unseen, absent}, {fatal, end}} {
		for _, name := range list.names {
			if n, ok := number(name); ok {
				code = append(code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: n, SkipFalse: 1}, bpf.RetConstant{Val: list.verdict})
			}
		}
	}
	calls := guarded(pid, unixSockets)
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		n, ok := number(name)
		if !ok {
			continue
		}
		var body []bpf.Instruction
		for _, conditions := range calls[name] {
			body = append(body, all(conditions, allow)...)
		}
		body = append(body, bpf.RetConstant{Val: refuse}) // the number of the call is not at hand any more
		if len(body) > math.MaxUint8 {
			return nil, fmt.Errorf("%s: %d instructions are too many for one jump", name, len(body))
		}
		code = append(code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: n, SkipFalse: uint8(len(body))})
		code = append(code, body...)
	}
	return append(code, bpf.RetConstant{Val: refuse}), nil // also the calls of x32, whose numbers are others
}
