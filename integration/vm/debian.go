package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// image is the distribution's kernel, unpacked.
type image struct {
	version string // as uname -r prints it
	kernel  string // path of vmlinuz
	modules string // path of the directory lib/modules/VERSION
}

// debianKernel downloads and unpacks the kernel package on which linux-image-amd64 depends, once.
func debianKernel(ctx context.Context, progress func(string, ...any)) (image, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", "--important", "linux-image-amd64").Output()
	if err != nil {
		return image{}, fmt.Errorf("ask apt for the kernel package: %w", err)
	}
	var name string
	for line := range strings.Lines(string(out)) {
		if _, after, found := strings.Cut(line, "Depends: linux-image-"); found {
			name = "linux-image-" + strings.TrimSpace(after)
			break
		}
	}
	if name == "" {
		return image{}, errors.New("apt knows no package linux-image-amd64 (run apt-get update)")
	}
	cache, err := cacheDir()
	if err != nil {
		return image{}, err
	}
	root := filepath.Join(cache, name)
	if _, err := os.Stat(root); err != nil {
		progress("downloading and unpacking %s", name)
		if err := unpackKernel(ctx, name, root); err != nil {
			return image{}, err
		}
	}
	return findImage(root)
}

func unpackKernel(ctx context.Context, name, root string) error {
	work, err := os.MkdirTemp(filepath.Dir(root), "unpack-")
	if err != nil {
		return fmt.Errorf("make a directory to unpack the kernel: %w", err)
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil { // apt downloads as its own user where it may
		return fmt.Errorf("open the download directory: %w", err)
	}
	steps := [][]string{
		{"apt-get", "-qq", "-o", "Acquire::Retries=2", "download", name},
		{"sh", "-c", "dpkg -x ./*.deb root && rm ./*.deb"},
	}
	for _, step := range steps {
		cmd := exec.CommandContext(ctx, step[0], step[1:]...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(step, " "), err, out)
		}
	}
	unpacked := filepath.Join(work, "root")
	found, err := findImage(unpacked)
	if err != nil {
		return err
	}
	// depmod wants the modules below lib/modules; the package of a merged-usr release has them below usr/lib/modules.
	base := strings.TrimSuffix(found.modules, filepath.Join("lib", "modules", found.version))
	if out, err := exec.CommandContext(ctx, "depmod", "-b", base, found.version).CombinedOutput(); err != nil {
		return fmt.Errorf("depmod (package kmod): %w: %s", err, out)
	}
	if err := os.Rename(unpacked, root); err != nil {
		return fmt.Errorf("put the kernel in place: %w", err)
	}
	return nil
}

func findImage(root string) (image, error) {
	kernels, _ := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if len(kernels) != 1 {
		return image{}, fmt.Errorf("%s holds %d kernels, not one", root, len(kernels))
	}
	found := image{kernel: kernels[0], version: strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")}
	for _, lib := range []string{"lib", "usr/lib"} {
		dir := filepath.Join(root, lib, "modules", found.version)
		if _, err := os.Stat(dir); err == nil {
			found.modules = dir
			return found, nil
		}
	}
	return image{}, fmt.Errorf("%s has no modules for %s", root, found.version)
}
