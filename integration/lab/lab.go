package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/vm"
)

// Lab owns namespaces, processes and files, and removes them all.
type Lab struct {
	// Dir holds the files of the lab's members, their logs among them.
	Dir string

	prefix string
	cables int

	mu      sync.Mutex     // of what follows: clients are started at the same time
	closers []func() error // last first
	logs    []string
	last    uint16 // TCP port that was used last
}

// New makes an empty lab. It needs root.
func New() (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a lab needs root to make network namespaces")
	}
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return nil, fmt.Errorf("make the lab's directory: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // tcpdump and others drop their privileges
		return nil, fmt.Errorf("open the lab's directory: %w", err)
	}
	l := &Lab{Dir: dir, prefix: filepath.Base(dir) + "-"}
	l.onClose(func() error { return os.RemoveAll(dir) })
	return l, nil
}

func (l *Lab) onClose(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// tcpPort returns a port that no other program of the lab uses.
func (l *Lab) tcpPort() uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = max(l.last, 5200) + 1 // 5201 is iperf3's own
	return l.last
}

// Close ends every process of the lab and removes its namespaces and files.
func (l *Lab) Close() error {
	var all []error
	for i := len(l.closers) - 1; i >= 0; i-- {
		all = append(all, l.closers[i]())
	}
	l.closers = nil
	return errors.Join(all...)
}

// file writes a file below the lab's directory and returns its path.
func (l *Lab) file(content string, path ...string) (string, error) {
	full := filepath.Join(append([]string{l.Dir}, path...)...)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return "", fmt.Errorf("make a directory for %s: %w", full, err)
	}
	if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", full, err)
	}
	return full, nil
}

// Logs returns the last lines of every log that a member of the lab wrote, for a failure's report.
func (l *Lab) Logs(lines int) string {
	var all string
	for _, path := range l.logs {
		if text := tail(path, lines); text != "" {
			name, err := filepath.Rel(l.Dir, path)
			if err != nil {
				name = path
			}
			all += fmt.Sprintf("--- %s\n%s\n", name, text)
		}
	}
	return all
}

// patience stretches the limits of all waits where the processor may be emulated.
var patience = func() time.Duration {
	if machine, _ := vm.Inside(); machine == "qemu" {
		return 5
	}
	return 1
}()

const (
	// pollInterval is how often a condition without a notification is looked at.
	pollInterval = 20 * time.Millisecond
	// leastLooks are taken before a limit counts: a machine that stood still for a while has let the clock go on, and nobody do anything.
	leastLooks = 50
)

// Until looks at a condition until it holds. When the limit is reached first, the error says what was waited for and, if the
// condition gave one, the reason why it did not hold. An error that wraps errStop ends the wait at once, as does the end of ctx.
func Until(ctx context.Context, limit time.Duration, what string, condition func() error) error {
	limit *= patience
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	end := time.Now().Add(limit)
	for looks := 1; ; looks++ {
		late := !time.Now().Before(end)
		err := condition()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errStop):
			return fmt.Errorf("%s: %w", what, err)
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w: %w", what, ctx.Err(), err)
		case late && looks >= leastLooks:
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// errStop marks a condition that will never hold.
var errStop = errors.New("no use to wait")
