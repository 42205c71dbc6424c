package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// console passes on, line by line and with line ends undone, what a guest prints between the line that says that it is up and the
// line that says that its command has ended. What came before is kept for the case that it never gets there.
type console struct {
	out io.Writer
	up  chan struct{}

	mu      sync.Mutex
	phase   phase
	partial bytes.Buffer
	early   []string
}

type phase int

const (
	booting phase = iota
	running
	ending
)

func newConsole(out io.Writer) *console { return &console{out: out, up: make(chan struct{})} }

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partial.Write(bytes.ReplaceAll(p, []byte("\r"), nil))
	for {
		end := bytes.IndexByte(c.partial.Bytes(), '\n')
		if end < 0 {
			return len(p), nil
		}
		if err := c.line(string(c.partial.Next(end + 1))); err != nil {
			return 0, err
		}
	}
}

func (c *console) line(text string) error {
	before, isDown := strings.CutSuffix(text, downMarker+"\n")
	switch {
	case c.phase == booting && strings.HasSuffix(text, upMarker+"\n"):
		c.phase = running
		close(c.up)
	case c.phase == booting:
		c.early = append(c.early, text)
	case c.phase == running && isDown:
		c.phase = ending
		text = before
		fallthrough
	case c.phase == running && text != "":
		_, err := io.WriteString(c.out, text)
		return err
	}
	return nil
}

// reached returns how far the guest got.
func (c *console) reached() phase {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase
}

// tail returns the last lines of what the guest printed before it was up.
func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.early[max(0, len(c.early)-15):], "")
}

// errBoot says that a guest did not come up.
var errBoot = errors.New("the guest did not boot")

// runGuest starts a virtual machine, waits for its end and kills it with all its children when a limit is reached.
func runGuest(ctx context.Context, cmd *exec.Cmd, out io.Writer, limits Limits) error {
	limits = limits.withDefaults()
	screen := newConsole(out)
	cmd.Stdout, cmd.Stderr = screen, screen
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // a child that outlives the machine may hold its output open
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	kill := func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	}

	limit := time.NewTimer(limits.Boot)
	defer limit.Stop()
	up := screen.up
	for {
		select {
		case <-up:
			up = nil
			limit.Reset(limits.Run)
		case <-ended:
			// The group's leader is gone; what it left behind goes too. Its exit status says nothing about the command's.
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			if screen.reached() == booting {
				return fmt.Errorf("%w; it said:\n%s", errBoot, screen.tail())
			}
			return nil
		case <-limit.C:
			kill()
			if up != nil {
				return fmt.Errorf("%w within %v; it said:\n%s", errBoot, limits.Boot, screen.tail())
			}
			return fmt.Errorf("the command did not end within %v", limits.Run)
		case <-ctx.Done():
			kill()
			return context.Cause(ctx)
		}
	}
}
