package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BinaryVariable is the environment variable that names the l2tpctl program to test.
const BinaryVariable = "L2TPCTL_BINARY"

// Binary returns the program under test: that of BinaryVariable, or a fresh build of this repository.
func Binary(ctx context.Context) (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		return filepath.Abs(path)
	}
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	root := filepath.Dir(string(bytes.TrimSpace(module)))
	path := filepath.Join(root, "bin", "l2tpctl")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/l2tpctl")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return path, run(cmd)
}
