package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// modules are what serve needs, in the order in which [Load] asks for them.
var modules = []struct {
	name   string
	fedora string // package; Debian has all of them in its linux-image packages
}{
	{"l2tp_ppp", "kernel-modules-extra"},
	{"l2tp_netlink", "kernel-modules-extra"},
	{"esp4", "kernel-modules"},
	{"esp6", "kernel-modules"},
	{"esp4_offload", "kernel-modules"},
	{"esp6_offload", "kernel-modules"},
	{"xfrm_user", "kernel-modules"},
	{"nf_tables", "kernel-modules-core"},
	{"ppp_generic", "kernel-modules"},
}

// packages says in which package of which distribution a module is.
func packages(module string) string {
	fedora := "kernel-modules"
	for _, m := range modules {
		if m.name == module {
			fedora = m.fedora
		}
	}
	return fmt.Sprintf("module %s is in Debian's linux-image-amd64 or linux-image-arm64 (not the cloud image) and in Fedora's %s", module, fedora)
}

// moduleFix is the remedy for a facility that is not there.
func moduleFix(p probes, module string) string {
	switch state := p.module(module); state {
	case moduleLoaded:
		return "see dmesg: the module is loaded and yet does not work; " + packages(module)
	case moduleInstalled:
		return "modprobe " + module + " and see dmesg, and name it in /etc/modules-load.d/l2tpctl.conf; " + packages(module)
	default:
		release, _ := p.uname()
		return fmt.Sprintf("install the modules of kernel %s (or reboot, if it was upgraded) and modprobe %s; %s", release, module, packages(module))
	}
}

// moduleState is what the files say about a module.
type moduleState int

const (
	moduleAbsent moduleState = iota
	moduleInstalled
	moduleLoaded // or built in
)

// module looks for a module in /sys/module, in the kernel's list of built-in ones and in its directory.
func (p probes) module(name string) moduleState {
	if _, err := os.Stat(p.path("/sys/module/" + name)); err == nil {
		return moduleLoaded
	}
	release, _ := p.uname()
	for _, f := range []struct {
		file  string
		state moduleState
	}{{"modules.builtin", moduleLoaded}, {"modules.dep", moduleInstalled}} {
		for line := range strings.Lines(p.text(filepath.Join("/lib/modules", release, f.file))) {
			file, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			if base, _, _ := strings.Cut(filepath.Base(file), ".ko"); strings.ReplaceAll(base, "-", "_") == name {
				return f.state
			}
		}
	}
	return moduleAbsent
}

// loadTimeout bounds one modprobe.
const loadTimeout = 10 * time.Second

// Load asks modprobe for the modules that serve needs. It is best effort: a kernel that has them built in, or a container that may not
// load any, is fine, and [Check] tells what is really missing. The error names every module that could not be loaded.
func Load(ctx context.Context) error {
	var modprobe string
	for _, path := range []string{"/usr/sbin/modprobe", "/sbin/modprobe", "/usr/bin/modprobe"} {
		if _, err := os.Stat(path); err == nil {
			modprobe = path
			break
		}
	}
	if modprobe == "" {
		return fmt.Errorf("load kernel modules: modprobe (package kmod): %w", os.ErrNotExist)
	}
	var errs []error
	for _, m := range modules {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		cmd := exec.CommandContext(ctx, modprobe, "--", m.name)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"} // not MODPROBE_OPTIONS
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("load module %s: %w: %s", m.name, err, firstLine(out)))
		}
	}
	return errors.Join(errs...)
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
