package l2tp

import (
	"errors"
	"fmt"
	"time"
)

// Config sets an Engine's limits and what it says about itself. The zero value of each field means its default.
type Config struct {
	HostName         string // of the Host Name AVP, 1 to 255 octets; default "l2tpctl"
	VendorName       string // of the Vendor Name AVP, up to 255 octets; default "l2tpctl"
	FirmwareRevision uint16 // of the Firmware Revision AVP; default 1

	ReceiveWindow uint16        // our Receive Window Size and the reach of the reorder queue, 1 to 64; default 8
	HelloInterval time.Duration // silence of the peer before a HELLO; default 60 s; negative: no HELLO (dozing Android does not answer)

	RetransmitInitial time.Duration // wait before the first retransmission, doubled with each; default 1 s
	RetransmitMax     time.Duration // upper limit of that wait; default 8 s
	Retries           int           // retransmissions before the peer is given up; default 5 (RFC 2661 5.8)
	AckDelay          time.Duration // how long an acknowledgement waits for a message to ride on; default 100 ms

	SetupTimeout time.Duration // SCCRQ to SCCCN, and ICRQ to ICCN; default 30 s
	IdleTimeout  time.Duration // life of a tunnel without sessions; default 60 s; negative: no limit

	MaxSessionsPerTunnel int // calls at a time in one tunnel, those included whose end is not reported yet, 1 to 1024; default 4
	CallsPerMinute       int // calls that are accepted in one slot within a minute, 1 to 10,000; default 30
	TunnelsPerMinute     int // tunnels that are set up in one slot within a minute, one replacing the other, 1 to 10,000; default 30
	MaxQueuedMessages    int // messages waiting for the peer's acknowledgement before it is given up, 4 to 1024; default 32

	Records bool // fill Output.Records; Configure does not change it
}

// withDefaults fills in the defaults and checks the ranges.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.HostName, "l2tpctl")
	setDefault(&c.VendorName, "l2tpctl")
	setDefault(&c.FirmwareRevision, 1)
	setDefault(&c.ReceiveWindow, 8)
	setDefault(&c.HelloInterval, 60*time.Second)
	setDefault(&c.RetransmitInitial, time.Second)
	setDefault(&c.RetransmitMax, 8*time.Second)
	setDefault(&c.Retries, 5)
	setDefault(&c.AckDelay, 100*time.Millisecond)
	setDefault(&c.SetupTimeout, 30*time.Second)
	setDefault(&c.IdleTimeout, 60*time.Second)
	setDefault(&c.MaxSessionsPerTunnel, 4)
	setDefault(&c.CallsPerMinute, 30)
	setDefault(&c.TunnelsPerMinute, 30)
	setDefault(&c.MaxQueuedMessages, 32)
	c.HelloInterval, c.IdleTimeout = max(c.HelloInterval, -1), max(c.IdleTimeout, -1)
	return c, errors.Join(
		inRange("length of HostName", len(c.HostName), 1, 255),
		inRange("length of VendorName", len(c.VendorName), 1, 255),
		inRange("ReceiveWindow", int(c.ReceiveWindow), 1, 64),
		inRange("RetransmitInitial in ms", c.RetransmitInitial.Milliseconds(), 10, 60_000),
		inRange("RetransmitMax in ms", c.RetransmitMax.Milliseconds(), c.RetransmitInitial.Milliseconds(), 600_000),
		inRange("Retries", c.Retries, 1, 100),
		inRange("AckDelay in ms", c.AckDelay.Milliseconds(), 1, 1000),
		inRange("SetupTimeout in ms", c.SetupTimeout.Milliseconds(), 100, 600_000),
		inRange("MaxSessionsPerTunnel", c.MaxSessionsPerTunnel, 1, 1024),
		inRange("CallsPerMinute", c.CallsPerMinute, 1, 10_000),
		inRange("TunnelsPerMinute", c.TunnelsPerMinute, 1, 10_000),
		inRange("MaxQueuedMessages", c.MaxQueuedMessages, 4, 1024),
	)
}

// linger is how long a closed tunnel is remembered to acknowledge again: "a full retransmission cycle" (RFC 2661 5.7).
func (c Config) linger() time.Duration {
	var total time.Duration
	for try := range c.Retries + 1 {
		total += c.backoff(try)
	}
	return total
}

// backoff is the wait after the transmission that follows the given number of fruitless ones.
func (c Config) backoff(tries int) time.Duration {
	wait := c.RetransmitInitial
	for range tries {
		wait = min(2*wait, c.RetransmitMax)
	}
	return wait
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func inRange[T int | int64](name string, value, low, high T) error {
	if value < low || value > high {
		return fmt.Errorf("l2tp: %s is %d, want %d to %d", name, value, low, high)
	}
	return nil
}

// Configure puts cfg in the place of the engine's configuration, for tunnels that are requested from now on; those that exist, and the
// sessions in them, keep theirs. On an error nothing changes.
func (e *Engine) Configure(cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	cfg.Records = e.cfg.Records
	e.cfg = &cfg
	return nil
}
