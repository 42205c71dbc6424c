package vm

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// guestInit is process 1 of a guest once its root file system is in place.
//
//go:embed guest-init.sh
var guestInit string

// upMarker is the line with which a guest's init reports that it runs.
const upMarker = "l2tpctl-vm: up"

// downMarker follows the command's output, perhaps on a line that the command did not end.
const downMarker = "l2tpctl-vm: down"

// control is a directory of the machine that a guest sees at the same path: it takes the command in and the exit status out.
type control struct{ dir string }

func newControl(c Command, machine, off string) (control, error) {
	dir, err := os.MkdirTemp("", "l2tpctl-vm-")
	if err != nil {
		return control{}, fmt.Errorf("make a directory to talk with the guest: %w", err)
	}
	workdir := c.Dir
	if workdir == "" {
		if workdir, err = os.Getwd(); err != nil {
			return control{}, fmt.Errorf("find the working directory: %w", err)
		}
	}
	var script strings.Builder
	for _, pair := range append(c.Env, InsideVariable+"="+machine) {
		name, value, _ := strings.Cut(pair, "=")
		fmt.Fprintf(&script, "export %s=%s\n", name, quote(value))
	}
	fmt.Fprintf(&script, "cd %s || exit 127\nexec", quote(workdir))
	for _, arg := range c.Args {
		script.WriteString(" " + quote(arg))
	}
	script.WriteString("\n")
	files := map[string]string{"init": guestInit, "command": script.String(), "off": off}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
			os.RemoveAll(dir)
			return control{}, fmt.Errorf("write the guest's %s: %w", name, err)
		}
	}
	return control{dir}, nil
}

func (c control) close() { os.RemoveAll(c.dir) }

// status reads the exit status that the guest left.
func (c control) status() (int, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "status"))
	if err != nil {
		return 0, fmt.Errorf("the guest ended without an exit status: %w", err)
	}
	status, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read the guest's exit status: %w", err)
	}
	return status, nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
