package vm

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// initramfsInit mounts the machine's files and hands over to the guest's init.
//
//go:embed initramfs-init.sh
var initramfsInit string

// archive writes the cpio "newc" format that the kernel unpacks: a header of 8-digit hexadecimal numbers, name and content, each
// padded to four octets (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	bytes.Buffer
	inode uint32
}

const (
	modeDirectory = 0o040755
	modeProgram   = 0o100755
)

func (a *archive) add(name string, mode uint32, content []byte) {
	a.inode++
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
	a.WriteString(name)
	a.WriteByte(0)
	a.pad()
	a.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

func (a *archive) finish() []byte {
	a.add("TRAILER!!!", 0, nil)
	return a.Bytes()
}

// bootModules are needed to reach the machine's files.
var bootModules = []string{"virtio_pci", "9pnet_virtio", "9p", "overlay"}

// initramfs packs busybox, the modules that mount the shared file systems, in the order in which they must be inserted, and init.
func initramfs(ctx context.Context, kernel image) ([]byte, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("find busybox (package busybox-static): %w", err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("read busybox: %w", err)
	}
	pack := &archive{}
	for _, dir := range []string{"bin", "dev", "proc", "modules", "lower", "upper", "root"} {
		pack.add(dir, modeDirectory, nil)
	}
	pack.add("bin/busybox", modeProgram, program)
	pack.add("init", modeProgram, []byte(initramfsInit))

	base := strings.TrimSuffix(kernel.modules, filepath.Join("lib", "modules", kernel.version))
	packed := map[string]bool{}
	for _, module := range bootModules {
		out, err := exec.CommandContext(ctx, "modprobe", "-d", base, "-S", kernel.version, "--show-depends", module).Output()
		if err != nil {
			return nil, fmt.Errorf("find what module %s needs: %w", module, err)
		}
		for line := range strings.Lines(string(out)) {
			fields := strings.Fields(line)
			if len(fields) < 2 || fields[0] != "insmod" || packed[fields[1]] {
				continue
			}
			packed[fields[1]] = true
			content, err := readModule(ctx, fields[1])
			if err != nil {
				return nil, err
			}
			pack.add(fmt.Sprintf("modules/%02d.ko", len(packed)), modeProgram, content)
		}
	}
	return pack.finish(), nil
}

func readModule(ctx context.Context, path string) ([]byte, error) {
	if strings.HasSuffix(path, ".xz") {
		content, err := exec.CommandContext(ctx, "xz", "-dc", path).Output()
		if err != nil {
			return nil, fmt.Errorf("decompress %s (package xz-utils): %w", path, err)
		}
		return content, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return content, nil
}
