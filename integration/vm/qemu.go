package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// earlyMarker is the first line of the initramfs: the processor emulation runs a kernel.
	earlyMarker = "l2tpctl-vm: kernel runs"
	// kvmPatience bounds the try whether /dev/kvm can run a kernel: one that cannot hangs for ever.
	kvmPatience = 15 * time.Second
)

type qemu struct {
	program     string
	kernel      image
	initramfs   string
	accelerator []string
	progress    func(string, ...any)
}

func openQEMU(ctx context.Context, progress func(string, ...any)) (Machine, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root: the guest uses this machine's files")
	}
	program, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, fmt.Errorf("find qemu (package qemu-system-x86): %w", err)
	}
	kernel, err := debianKernel(ctx, progress)
	if err != nil {
		return nil, err
	}
	packed, err := initramfs(ctx, kernel)
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cache, "initramfs-"+kernel.version)
	fresh := path + "." + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(fresh, packed, 0o644); err != nil {
		return nil, fmt.Errorf("write the initramfs: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return nil, fmt.Errorf("put the initramfs in place: %w", err)
	}
	machine := &qemu{program: program, kernel: kernel, initramfs: path, progress: progress}
	machine.accelerator = []string{"-accel", "tcg,thread=multi", "-cpu", "max"}
	if machine.kvmWorks(ctx) {
		machine.accelerator = []string{"-accel", "kvm", "-cpu", "host"}
	}
	return machine, nil
}

func (q *qemu) Name() string { return "qemu" }

// kvmWorks boots as far as the initramfs, which powers off because it has nothing to mount.
func (q *qemu) kvmWorks(ctx context.Context) bool {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	device.Close()
	args := append(q.machineArgs("512M", ""), "-accel", "kvm", "-cpu", "host")
	seen := &strings.Builder{}
	ctx, cancel := context.WithTimeout(ctx, kvmPatience)
	defer cancel()
	err = runGuest(ctx, exec.Command(q.program, args...), io.Discard, Limits{Boot: kvmPatience})
	seen.WriteString(fmt.Sprint(err)) // a guest that never says it is up is an error that quotes what it did say
	works := strings.Contains(seen.String(), earlyMarker)
	if !works {
		q.progress("/dev/kvm cannot run a kernel here: emulating the processor, which is slow")
	}
	return works
}

func (q *qemu) machineArgs(memory, parameters string) []string {
	return []string{
		"-m", memory, "-smp", "2", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot", "-nic", "none",
		"-kernel", q.kernel.kernel, "-initrd", q.initramfs,
		"-append", "console=ttyS0 quiet panic=-1 " + parameters,
	}
}

func (q *qemu) Run(ctx context.Context, c Command) (int, error) {
	control, err := newControl(c, q.Name(), "busybox poweroff -f\n")
	if err != nil {
		return 0, err
	}
	defer control.close()
	parameters := "l2tpctl.control=" + control.dir + " l2tpctl.moduledir=" + q.kernel.modules + " l2tpctl.modules=" + strings.Join(modules, ",")
	shares := []string{"-virtfs", share("/", "machine") + ",readonly=on", "-virtfs", share(control.dir, "control")}
	if c.Share != "" {
		dir, err := filepath.Abs(c.Share)
		if err != nil {
			return 0, fmt.Errorf("resolve the shared directory: %w", err)
		}
		parameters += " l2tpctl.share=" + dir
		shares = append(shares, "-virtfs", share(dir, "share"))
	}
	args := append(q.machineArgs("2G", parameters), q.accelerator...)
	if err := runGuest(ctx, exec.Command(q.program, append(args, shares...)...), c.Output, c.Limits); err != nil {
		return 0, fmt.Errorf("qemu with %s: %w", q.kernel.version, err)
	}
	return control.status()
}

func share(path, tag string) string {
	return "local,path=" + path + ",mount_tag=" + tag + ",security_model=none,multidevs=remap"
}
