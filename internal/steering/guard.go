package steering

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// countInterval is how often the counters are noted, so that a table that is taken away costs no more of them than that.
	countInterval = 5 * time.Second
	// Restoring is tried again after retryInterval. Somebody who takes the table away again and again finds it back at once for
	// maxHaste times in a row, and then after that time, until he has left it alone for quiet.
	retryInterval = time.Second
	maxHaste      = 10
	quiet         = time.Minute
	// maxBlind is how often in a row the table may be unreadable before that is told.
	maxBlind = 5
	// eventBuffer is in octets: a firewall may load thousands of rules at once.
	eventBuffer = 1 << 20
)

// A Guard keeps the table as it was installed: it hears of every transaction of nftables in the namespace and puts the table back when
// one has changed it.
type Guard struct {
	cfg    Config
	events *netlink.Conn

	mu     sync.Mutex
	last   Counters
	want   fingerprint
	own    uint32 // generation of our latest transaction
	closed bool
	// For Run, which alone restores.
	haste    int       // restorations in a row
	blind    int       // readings in a row that failed
	restored time.Time // the latest
}

// A Restoration tells that the table was gone, or was not as it was installed.
type Restoration struct {
	Missing bool // all of it; otherwise it was changed
	// The thread that did it, if the kernel told: its id in the initial namespace, 0 if not known, and its name.
	PID     int
	Process string
	// Err says why the table could not be put back; it is tried again every second.
	Err error
}

// NewGuard installs the table like [Install], and watches over it from then on.
func NewGuard(cfg Config) (*Guard, error) {
	cfg = cfg.withDefaults()
	events, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("listen to nftables: %w", err)
	}
	g := &Guard{cfg: cfg, events: events}
	_ = events.SetReadBuffer(eventBuffer) // best effort: what is lost is looked for
	if err := events.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		_ = events.Close()
		return nil, fmt.Errorf("listen to nftables: %w", err)
	}
	if err := g.install(); err != nil {
		_ = events.Close()
		return nil, err
	}
	return g, nil
}

// install puts the table in place and learns how the kernel shows it. The caller holds mu, or is alone.
func (g *Guard) install() error {
	const attempts = 10
	for n := 1; ; n++ {
		before, err := generation()
		if err != nil {
			return err
		}
		if err := g.cfg.install(g.last); err != nil {
			return err
		}
		want, err := g.cfg.readFingerprint()
		if err != nil {
			return err
		}
		after, err := generation()
		if err != nil {
			return err
		}
		// Were there others between, one of them may have been in our table; where there always are, they hardly are.
		if after == before+1 || n == attempts {
			g.want, g.own = want, before+1
			return nil
		}
	}
}

// Run restores the table whenever somebody changes it, and tells of it, until [Guard.Close]. It works on the network namespace of the
// calling thread, which must be that of NewGuard. Any error is final.
func (g *Guard) Run(tell func(Restoration)) error {
	g.note()
	touched := false
	next := time.Now().Add(countInterval)
	for {
		var by Restoration
		if !touched {
			_ = g.events.SetReadDeadline(next)
			var err error
			touched, by, err = g.wait()
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				g.note()
				next = time.Now().Add(countInterval)
			case errors.Is(err, os.ErrClosed):
				return nil
			case err != nil:
				return err
			}
		}
		if !touched {
			continue
		}
		restored := false
		if restored, touched = g.check(&by); restored {
			tell(by)
		}
		if touched {
			time.Sleep(retryInterval)
		}
	}
}

// wait reads events up to the end of a transaction, or to the deadline, and says whether they touched the table and who did it.
func (g *Guard) wait() (touched bool, by Restoration, err error) {
	for {
		msgs, err := g.events.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			g.drain()
			return true, by, nil
		case err != nil:
			if g.isClosed() {
				return false, by, os.ErrClosed
			}
			return touched, by, err // the rest of a transaction may be late
		}
		for _, m := range msgs {
			switch {
			case m.Header.Type != nftablesSubsystem|unix.NFT_MSG_NEWGEN:
				touched = touched || g.cfg.concerns(m)
			case touched && len(m.Data) >= sizeNFGenMsg:
				if id := attribute(m.Data[sizeNFGenMsg:], attrGenID); len(id) == 4 && binary.BigEndian.Uint32(id) == g.generation() {
					touched = false // that was ourselves
					continue
				}
				if pid := attribute(m.Data[sizeNFGenMsg:], attrGenProcessID); len(pid) == 4 {
					by.PID = int(binary.BigEndian.Uint32(pid))
				}
				by.Process = string(bytes.TrimRight(attribute(m.Data[sizeNFGenMsg:], attrGenProcess), "\x00"))
				return true, by, nil
			}
		}
		if !touched {
			return false, by, nil
		}
	}
}

// drain throws away what waits: after an overrun the kernel drops everything until nothing waits, and says so only once.
func (g *Guard) drain() {
	for {
		_ = g.events.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := g.events.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
	}
}

// check compares the table, and puts it back if it differs. again says that it has to be called once more.
func (g *Guard) check(by *Restoration) (restored, again bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false, false
	}
	got, err := g.cfg.readFingerprint()
	if err != nil {
		g.blind++
		by.Err = fmt.Errorf("read the table: %w", err)
		return g.blind >= maxBlind, true
	}
	g.blind = 0
	if got == g.want {
		return false, false
	}
	switch since := time.Since(g.restored); {
	case since > quiet:
		g.haste = 0
	case g.haste < maxHaste:
		g.haste++
	case since < retryInterval:
		return false, true
	}
	by.Missing = got == emptyFingerprint
	by.Err = g.install()
	g.restored = time.Now()
	return true, by.Err != nil
}

// emptyFingerprint is that of a table that is not there.
var emptyFingerprint = fingerprint(sha256.New().Sum(nil))

// note remembers the counters.
func (g *Guard) note() { _, _ = g.Read() }

// Read returns the counters, which go on over restorations. The error is [fs.ErrNotExist] while the table or one of its counters is missing.
func (g *Guard) Read() (Counters, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, err := Read(g.cfg)
	if err == nil {
		g.last = c
	}
	return c, err
}

// Intact reports whether the table is what was installed.
func (g *Guard) Intact() (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	got, err := g.cfg.readFingerprint()
	return err == nil && got == g.want, err
}

func (g *Guard) generation() uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.own
}

func (g *Guard) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// Close ends the watch; the table stays until [Remove]. When it has returned, the table is not touched any more.
func (g *Guard) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	err := g.events.Close()
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}
