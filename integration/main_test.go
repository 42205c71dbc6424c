//go:build integration

package integration

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/integration/vm"
)

// unavailable says why the tests cannot run here.
var unavailable error

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	_ = flag.Set("test.parallel", "3") // what runs in parallel here waits more than it computes, and a guest has one processor
	flag.Parse()
	if asked("list") != "" {
		return m.Run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if _, inside := vm.Inside(); !inside {
		binary, err := lab.Binary(ctx)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Setenv(lab.BinaryVariable, binary)
	}
	status, here, err := reenter(ctx)
	switch {
	case err != nil && required():
		fmt.Fprintln(os.Stderr, err)
		return 1
	case err != nil:
		unavailable = err
	case !here:
		return status
	}
	return m.Run()
}

// asked is the value of one of the flags of go test.
func asked(name string) string { return flag.Lookup("test." + name).Value.String() }

// long are the tests that take longest. They begin first, so that none of them is alone at the end.
var long = []string{"TestRandomWalk", "TestRestartOfMany", "TestAlgorithms", "TestFiftyRounds"}

// reenter runs what was asked for in a machine that can: of all tests each in one of its own.
func reenter(ctx context.Context) (status int, here bool, err error) {
	limits := vm.Limits{Run: 20 * time.Minute}
	if _, inside := vm.Inside(); inside || asked("run") != "" || asked("bench") != "" {
		return vm.Reenter(ctx, limits, os.Stdout)
	}
	list, err := exec.CommandContext(ctx, os.Args[0], "-test.list=^Test").Output()
	if err != nil {
		return 0, false, fmt.Errorf("list the tests: %w", err)
	}
	tests := strings.Fields(string(list))
	slices.SortStableFunc(tests, func(a, b string) int {
		place := func(test string) int { return (slices.Index(long, test) + len(long) + 1) % (len(long) + 1) }
		return cmp.Compare(place(a), place(b))
	})
	return vm.ReenterEach(ctx, limits, os.Stdout, tests)
}

// required says whether a test that cannot run is a failure.
func required() bool {
	return os.Getenv("CI") == "true" || os.Getenv("L2TPCTL_REQUIRE_INTEGRATION") == "1"
}
