// Command inkernel runs a program on a kernel with ESP, L2TP and PPP: this machine's, or else one that it boots.
//
//	inkernel [-boot 2m] [-run 20m] [-share DIR] PROGRAM [ARGUMENT...]
//
// The program sees this machine's files at their own paths. inkernel's exit status is the program's, or 125 when there is no such kernel.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/vm"
)

const statusNoKernel = 125

func main() {
	boot := flag.Duration("boot", 2*time.Minute, "time limit for the kernel to boot")
	run := flag.Duration("run", 20*time.Minute, "time limit for the program")
	share := flag.String("share", "", "directory that the program may write to")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	status, err := inKernel(ctx, flag.Args(), *share, vm.Limits{Boot: *boot, Run: *run})
	if err != nil {
		fmt.Fprintln(os.Stderr, "inkernel:", err)
		status = statusNoKernel
	}
	stop()
	os.Exit(status)
}

func inKernel(ctx context.Context, args []string, share string, limits vm.Limits) (int, error) {
	program, err := exec.LookPath(args[0])
	if err != nil {
		return 0, fmt.Errorf("find the program: %w", err)
	}
	if program, err = filepath.Abs(program); err != nil {
		return 0, fmt.Errorf("resolve the program's path: %w", err)
	}
	machine, err := vm.Find(ctx, func(format string, args ...any) { fmt.Fprintf(os.Stderr, "# "+format+"\n", args...) })
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(os.Stderr, "# %s: %s\n", machine.Name(), program)
	return machine.Run(ctx, vm.Command{
		Args: append([]string{program}, args[1:]...), Env: vm.Environment(), Share: share, Output: os.Stdout, Limits: limits,
	})
}
