package vm

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// stateShim lets a user-mode kernel run on processors with more register state than it was built for; the file says how.
//
//go:embed uml-xstate.c.txt
var stateShim []byte

type uml struct {
	kernel string
	shim   string // path of the compiled shim, empty where it is not needed
}

func openUML(ctx context.Context, kernel string) (Machine, error) {
	kernel, err := filepath.Abs(kernel)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", KernelVariable, err)
	}
	if info, err := os.Stat(kernel); err != nil {
		return nil, fmt.Errorf("%s: %w", KernelVariable, err)
	} else if info.IsDir() || info.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("%s: %s is not a program", KernelVariable, kernel)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("needs root: the guest uses this machine's files")
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		return nil, fmt.Errorf("needs busybox (package busybox-static): %w", err)
	}
	machine := &uml{kernel: kernel}
	if processors, err := os.ReadFile("/proc/cpuinfo"); err == nil && bytes.Contains(processors, []byte(" amx_tile")) {
		if machine.shim, err = compileShim(ctx); err != nil {
			return nil, err
		}
	}
	return machine, nil
}

func compileShim(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	source, object := filepath.Join(cache, "uml-xstate.c"), filepath.Join(cache, "uml-xstate.so")
	if old, err := os.ReadFile(source); err == nil && bytes.Equal(old, stateShim) {
		if _, err := os.Stat(object); err == nil {
			return object, nil
		}
	}
	if err := os.WriteFile(source, stateShim, 0o644); err != nil {
		return "", fmt.Errorf("write the register state shim: %w", err)
	}
	fresh := fmt.Sprintf("%s.%d", object, os.Getpid())
	if out, err := exec.CommandContext(ctx, "cc", "-O2", "-shared", "-fPIC", "-o", fresh, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("this processor's AMX state needs a shim for user-mode-linux; compile it (packages gcc, libc6-dev): %w: %s", err, out)
	}
	if err := os.Rename(fresh, object); err != nil {
		return "", fmt.Errorf("put the register state shim in place: %w", err)
	}
	return object, nil
}

func (u *uml) Name() string { return "user-mode-linux" }

func (u *uml) Run(ctx context.Context, c Command) (int, error) {
	control, err := newControl(c, u.Name(), "busybox halt -f\n")
	if err != nil {
		return 0, err
	}
	defer control.close()
	// Memory is a sparse file: what the guest does not touch costs nothing.
	cmd := exec.Command(u.kernel, "mem=3G", "rootfstype=hostfs", "rootflags=/", "rw", "init="+filepath.Join(control.dir, "init"),
		"con=null", "con0=fd:0,fd:1", "quiet", "l2tpctl.control="+control.dir)
	cmd.Dir = control.dir
	cmd.Env = append(os.Environ(), "TMPDIR=/dev/shm")
	if u.shim != "" {
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+u.shim)
	}
	if err := runGuest(ctx, cmd, c.Output, c.Limits); err != nil {
		return 0, fmt.Errorf("%s: %w", u.kernel, err)
	}
	return control.status()
}
