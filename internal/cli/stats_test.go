package cli

import (
	"reflect"
	"slices"
	"testing"

	"github.com/l2tpctl/l2tpctl/internal/control"
)

// TestStatsWithoutKernelCounters: what the kernel does not have is missing from the table, and nothing else is.
func TestStatsWithoutKernelCounters(t *testing.T) {
	full := control.Stats{Steering: map[string]uint64{"cleartext": 4}, XfrmStat: map[string]uint64{"XfrmInNoStates": 8}, Errors: control.ErrorStats{Kernel: 3}}
	all := flatten("", reflect.ValueOf(full))
	full.Steering, full.XfrmStat = nil, nil
	rest := flatten("", reflect.ValueOf(full))
	if want := all[:len(all)-2]; !slices.Equal(rest, want) {
		t.Errorf("got %v, want %v", rest, want)
	}
	if !slices.Contains(rest, counter{"errors.kernel", 3}) {
		t.Errorf("no errors in %v", rest)
	}
}
