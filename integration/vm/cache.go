package vm

import (
	"fmt"
	"os"
	"path/filepath"
)

// cacheDir returns the directory that keeps what is expensive to make again, outside the repository.
func cacheDir() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		base = "/var/cache"
	}
	dir := filepath.Join(base, "l2tpctl")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	return dir, nil
}
