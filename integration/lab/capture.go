package lab

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Capture is a tcpdump that runs.
type Capture struct{ process *Process }

// Capture prints the packets of an interface that match a filter of tcpdump(8), from its return on.
func (n *Namespace) Capture(device, filter string) (*Capture, error) {
	process, err := n.lab.start(n.Command(context.Background(), "tcpdump", "-n", "-l", "--immediate-mode", "-i", device, filter), fmt.Sprintf("tcpdump-%s.log", n.Name))
	if err != nil {
		return nil, err
	}
	return &Capture{process}, Until(context.Background(), 60*time.Second, n.Name+": tcpdump listens", func() error { return process.says("listening on") })
}

// Stop ends the capture and returns a line for each packet.
func (c *Capture) Stop() ([]string, error) {
	if err := c.process.Signal(syscall.SIGINT, 60*time.Second); err != nil {
		return nil, err
	}
	if text := c.text(); !strings.Contains(text, "0 packets dropped by kernel") {
		return nil, fmt.Errorf("tcpdump has not seen everything: %s", lastLines(text, 5))
	}
	return c.Packets(), nil
}

// Packets returns a line for each packet so far.
func (c *Capture) Packets() (packets []string) {
	for line := range strings.Lines(c.text()) {
		if strings.Contains(line, " > ") {
			packets = append(packets, strings.TrimSpace(line))
		}
	}
	return packets
}

func (c *Capture) text() string { return after(c.process.Log, c.process.from) }
