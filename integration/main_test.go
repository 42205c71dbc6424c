//go:build integration

package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
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
	status, here, err := vm.Reenter(ctx, vm.Limits{Run: 20 * time.Minute}, os.Stdout)
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

// required says whether a test that cannot run is a failure.
func required() bool {
	return os.Getenv("CI") == "true" || os.Getenv("L2TPCTL_REQUIRE_INTEGRATION") == "1"
}
