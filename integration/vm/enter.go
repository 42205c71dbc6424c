package vm

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
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
	self, err := os.Executable()
	if err != nil {
		return 0, false, fmt.Errorf("find this program: %w", err)
	}
	args := []string{self}
	for _, arg := range os.Args[1:] {
		// The go command's record of the files a test opens is kept outside; two writers would spoil it.
		if !strings.HasPrefix(arg, "-test.testlogfile=") {
			args = append(args, arg)
		}
	}
	if _, isQEMU := machine.(*qemu); isQEMU {
		limits = limits.withDefaults()
		limits.Run *= emulationFactor
	}
	progress("running in %s", machine.Name())
	status, err = machine.Run(ctx, Command{Args: args, Env: append(Environment(), env...), Output: out, Limits: limits})
	return status, false, err
}
