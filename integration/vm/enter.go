package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
)

// passed are the environment variables that a guest gets from its caller.
var passed = []string{"L2TPCTL_", "CI=", "GOTRACEBACK=", "NO_COLOR="}

// Environment returns those of the caller's variables that a command in a machine should see.
func Environment() []string {
	var env []string
	for _, pair := range os.Environ() {
		for _, prefix := range passed {
			if strings.HasPrefix(pair, prefix) {
				env = append(env, pair)
			}
		}
	}
	return env
}

// emulationFactor is how much longer a command may take in qemu, where the processor may be emulated.
const emulationFactor = 4

// Reenter runs the calling program once more, with the same arguments, in a machine of Find. On the host's own kernel
// that is not necessary and here says that the caller should just go on; elsewhere status is the exit status.
func Reenter(ctx context.Context, limits Limits, out io.Writer, env ...string) (status int, here bool, err error) {
	if _, inside := Inside(); inside {
		return 0, true, nil
	}
	progress := func(format string, args ...any) { fmt.Fprintf(out, "# "+format+"\n", args...) }
	machine, err := Find(ctx, progress)
	if err != nil {
		return 0, false, err
	}
	if _, isHost := machine.(host); isHost {
		return 0, true, nil
	}
	args, err := again()
	if err != nil {
		return 0, false, err
	}
	if _, isQEMU := machine.(*qemu); isQEMU {
		limits = limits.withDefaults()
		limits.Run *= emulationFactor
	}
	progress("running in %s", machine.Name())
	status, err = machine.Run(ctx, Command{Args: args, Env: append(Environment(), env...), Output: out, Limits: limits})
	return status, false, err
}

// again is how to run the calling program once more.
func again() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	args := []string{self}
	for _, arg := range os.Args[1:] {
		// The go command's record of the files a test opens is kept outside; two writers would spoil it.
		if !strings.HasPrefix(arg, "-test.testlogfile=") {
			args = append(args, arg)
		}
	}
	return args, nil
}

// ReenterEach is Reenter for each test of a program by itself, several at a time, where a machine starts within a moment: in user-mode Linux.
// There a machine has one processor, and the host mostly more. What a test prints comes in one piece. Elsewhere it is Reenter.
func ReenterEach(ctx context.Context, limits Limits, out io.Writer, tests []string) (status int, here bool, err error) {
	if _, inside := Inside(); inside {
		return 0, true, nil
	}
	machine, err := Find(ctx, func(string, ...any) {})
	if err != nil {
		return 0, false, err
	}
	if _, isUML := machine.(*uml); !isUML || len(tests) < 2 {
		return Reenter(ctx, limits, out)
	}
	args, err := again()
	if err != nil {
		return 0, false, err
	}
	workers := runtime.NumCPU() + runtime.NumCPU()/2 // many tests wait more than they compute
	fmt.Fprintf(out, "# running %d tests in %s, %d at a time\n", len(tests), machine.Name(), workers)
	queue := make(chan string)
	go func() {
		defer close(queue)
		for _, test := range tests {
			queue <- test
		}
	}()
	var mu sync.Mutex // guards out, status and err
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for test := range queue {
				var printed bytes.Buffer
				got, failure := machine.Run(ctx, Command{
					Args: append(args[:len(args):len(args)], "-test.run=^"+test+"$"), Env: Environment(), Output: &printed, Limits: limits,
				})
				mu.Lock()
				// One PASS is enough, at the end of all.
				_, _ = out.Write(bytes.TrimSuffix(printed.Bytes(), []byte("PASS\n")))
				if failure != nil {
					fmt.Fprintf(out, "--- FAIL: %s: %v\n", test, failure)
					got = 1
				}
				status = max(status, got)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if status == 0 {
		fmt.Fprintln(out, "PASS")
	} else {
		fmt.Fprintln(out, "FAIL")
	}
	return status, false, nil
}
