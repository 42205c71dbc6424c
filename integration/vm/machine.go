package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Environment variables that the package reads or sets.
const (
	// KernelVariable chooses the kernel: a path to user-mode-linux, "host" or "qemu".
	KernelVariable = "L2TPCTL_TEST_KERNEL"
	// InsideVariable is set to the machine's name for a command that runs inside one.
	InsideVariable = "L2TPCTL_INSIDE"
)

// Limits bounds a run. Zero fields take the defaults.
type Limits struct {
	Boot time.Duration // from start to the first line of the guest's init; 2 minutes if zero
	Run  time.Duration // from there to the end of the command; 30 minutes if zero
}

func (l Limits) withDefaults() Limits {
	if l.Boot <= 0 {
		l.Boot = 2 * time.Minute
	}
	if l.Run <= 0 {
		l.Run = 30 * time.Minute
	}
	return l
}

// Command is what runs inside a machine, as root.
type Command struct {
	Args   []string  // program (an absolute path) and its arguments
	Dir    string    // working directory; the caller's if empty
	Env    []string  // NAME=VALUE pairs added to the guest's small fixed environment
	Share  string    // a directory of the caller's that the command may write to at the same path; may be empty
	Output io.Writer // standard output and standard error together
	Limits Limits
}

// Machine runs commands on one kernel.
type Machine interface {
	// Name is "host", "user-mode-linux" or "qemu".
	Name() string
	// Run runs the command and returns its exit status. An error means that the command did not run to its end.
	Run(ctx context.Context, c Command) (int, error)
}

// Inside says whether this process was started by a Machine's Run, and in which.
func Inside() (name string, inside bool) {
	name = os.Getenv(InsideVariable)
	return name, name != ""
}

// ErrNoKernel is wrapped by Find's error when no kernel can be used here.
var ErrNoKernel = errors.New("no kernel with ESP, L2TP and PPP can be run here")

// Find returns the first usable machine. Its error lists why each candidate was refused.
func Find(ctx context.Context, progress func(format string, args ...any)) (Machine, error) {
	wanted := os.Getenv(KernelVariable)
	candidates := []struct {
		name string
		use  bool
		open func() (Machine, error)
	}{
		{"host", wanted != "qemu", func() (Machine, error) { return openHost() }},
		{"user-mode-linux", wanted != "" && wanted != "host" && wanted != "qemu", func() (Machine, error) { return openUML(ctx, wanted) }},
		{"qemu", wanted != "host", func() (Machine, error) { return openQEMU(ctx, progress) }},
	}
	var refused []string
	for _, candidate := range candidates {
		if !candidate.use {
			continue
		}
		machine, err := candidate.open()
		if err == nil {
			return machine, nil
		}
		refused = append(refused, fmt.Sprintf("%s: %v", candidate.name, err))
	}
	return nil, fmt.Errorf("%w:\n  %s", ErrNoKernel, strings.Join(refused, "\n  "))
}
