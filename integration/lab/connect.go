package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// pppDevice is the client's end of the PPP link; each namespace has one.
const pppDevice = "ppp0"

// Reasons for which a client does not connect.
var (
	ErrIPsec = errors.New("the IPsec connection was not established")
	ErrL2TP  = errors.New("the L2TP tunnel was not established")
	ErrPPP   = errors.New("the PPP link was not established")
)

// Connect brings IPsec up, dials, and waits until the PPP link has its address, which it returns.
func (c *Client) Connect(ctx context.Context) (netip.Addr, error) {
	if err := c.IPsecUp(ctx); err != nil {
		return netip.Addr{}, err
	}
	return c.Dial(ctx)
}

// IPsecUp negotiates the SAs. Its error wraps ErrIPsec and quotes the client.
func (c *Client) IPsecUp(ctx context.Context) error {
	out, err := c.stroke(ctx, "up", connection)
	if !strings.Contains(out, "established successfully") {
		return fmt.Errorf("%s: %w: %s (%v)", c.Name, ErrIPsec, lastLines(out, 6), err)
	}
	return nil
}

// Dial makes the L2TP tunnel and the PPP link over IPsec that is up.
func (c *Client) Dial(ctx context.Context) (netip.Addr, error) {
	tunnelLog, linkLog := size(c.xl2tpdLog()), size(c.pppdLog())
	if err := c.StartDialing(); err != nil {
		return netip.Addr{}, err
	}
	var address netip.Addr
	err := Until(ctx, 90*time.Second, c.Name+": connect", func() error {
		for _, failure := range []struct {
			log   string
			from  int64
			words string
			kind  error
		}{
			{c.pppdLog(), linkLog, "uthentication failed", ErrPPP}, // both cases occur
			{c.pppdLog(), linkLog, "Connection terminated", ErrPPP},
			{c.xl2tpdLog(), tunnelLog, "Maximum retries exceeded", ErrL2TP},
			{c.xl2tpdLog(), tunnelLog, "Connection closed", ErrL2TP},
		} {
			if text := after(failure.log, failure.from); strings.Contains(text, failure.words) {
				return fmt.Errorf("%w: %w: %s", errStop, failure.kind, lastLines(text, 6))
			}
		}
		if strings.Contains(after(c.xl2tpdLog(), tunnelLog), "already active") { // it has not seen the end of the last call yet
			tunnelLog = size(c.xl2tpdLog())
			if err := c.StartDialing(); err != nil {
				return err
			}
		}
		addresses, err := c.Addresses(pppDevice)
		if err == nil && len(addresses) == 0 {
			err = errors.New("the PPP interface has no address")
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPPP, err)
		}
		address = addresses[0]
		return nil
	})
	return address, err
}

// StartDialing is Dial without waiting.
func (c *Client) StartDialing() error { return c.tell("c") }

// KillPPP ends the client's pppd at once; xl2tpd then closes the call.
func (c *Client) KillPPP() error {
	pids, err := c.programs()
	for _, pid := range pids {
		if programName(pid) == "pppd" {
			err = errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	return err
}

// Disconnect closes the PPP link and the tunnel, then IPsec, each with a word to the server.
func (c *Client) Disconnect(ctx context.Context) error {
	if err := c.HangUp(ctx); err != nil {
		return err
	}
	return c.IPsecDown(ctx)
}

// HangUp closes the PPP link and the tunnel and waits until the link has gone. IPsec stays.
//
// It also waits until the server has acknowledged the end of the tunnel: an xl2tpd that still repeats its StopCCN, because IPsec went
// first, puts the next call into the old tunnel.
func (c *Client) HangUp(ctx context.Context) error {
	_, mark := c.LogMarks()
	if err := c.tell("d"); err != nil {
		return err
	}
	if err := c.WaitDown(ctx); err != nil {
		return err
	}
	return c.TunnelSays(ctx, mark, "closing down tunnel")
}

// WaitDown waits until the client has no PPP link.
func (c *Client) WaitDown(ctx context.Context) error {
	return Until(ctx, 60*time.Second, c.Name+": PPP link gone", func() error {
		links, err := c.Links("ppp")
		if err == nil && len(links) > 0 {
			err = fmt.Errorf("there is %v", links)
		}
		return err
	})
}

// IPsecDown deletes the client's SAs.
func (c *Client) IPsecDown(ctx context.Context) error {
	_, err := c.stroke(ctx, "down", connection)
	return err
}

// Vanish makes the client disappear like a phone that loses its battery: nothing leaves or reaches the client, and all programs die.
func (c *Client) Vanish() error {
	if err := c.Batch("link set eth0 down"); err != nil { // first, or xl2tpd reports the death of its pppd
		return err
	}
	return c.killAll()
}

// Restart starts a client anew that vanished or lost its server: with fresh programs and no SAs.
func (c *Client) Restart(ctx context.Context) error {
	if err := c.killAll(); err != nil {
		return err
	}
	err := Until(ctx, 60*time.Second, c.Name+": old programs gone", func() error {
		pids, err := c.programs()
		if err == nil && len(pids) > 0 {
			err = fmt.Errorf("there are %v", pids)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, stale := range []string{"charon.ctl", "charon.pid", "starter.charon.pid", "xl2tpd.pid", "xl2tpd.control"} {
		if err := os.Remove(filepath.Join(c.dir, "run", stale)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: remove what is stale: %w", c.Name, err)
		}
	}
	if err := c.Batch("link set eth0 up", "xfrm state flush", "xfrm policy flush"); err != nil {
		return err
	}
	return c.Start(ctx)
}

// CharonSays waits until strongSwan's log contains text that was written after the mark of LogMarks.
func (c *Client) CharonSays(ctx context.Context, mark int64, text string) error {
	return c.logSays(ctx, c.charonLog(), mark, text)
}

// TunnelSays is CharonSays for the log of xl2tpd.
func (c *Client) TunnelSays(ctx context.Context, mark int64, text string) error {
	return c.logSays(ctx, c.xl2tpdLog(), mark, text)
}

// LogMarks returns the present ends of the logs of strongSwan and xl2tpd.
func (c *Client) LogMarks() (charon, xl2tpd int64) { return size(c.charonLog()), size(c.xl2tpdLog()) }

func (c *Client) logSays(ctx context.Context, log string, mark int64, text string) error {
	return Until(ctx, 60*time.Second, fmt.Sprintf("%s: %q in %s", c.Name, text, log), func() error {
		if !strings.Contains(after(log, mark), text) {
			return errors.New("not there")
		}
		return nil
	})
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0 // not written yet
	}
	return info.Size()
}

// after returns what a file contains beyond an offset.
func after(path string, offset int64) string {
	text, err := os.ReadFile(path)
	if err != nil || int64(len(text)) < offset {
		return ""
	}
	return string(text[offset:])
}
