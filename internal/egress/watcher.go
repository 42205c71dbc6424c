package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// settle is for how long changes are gathered, counted from the first.
const settle = time.Second

var native = binary.NativeEndian

// Watcher listens to what the kernel tells of links, routes and rules.
type Watcher struct {
	nl     *netlink.Conn
	closed atomic.Bool
}

// NewWatcher begins to listen in the network namespace of the calling thread.
func NewWatcher() (*Watcher, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	for _, group := range []uint32{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	} {
		if err := nl.JoinGroup(group); err != nil {
			_ = nl.Close()
			return nil, fmt.Errorf("join rtnetlink group %d: %w", group, err)
		}
	}
	// Sessions come and go with a link and a route each. Best effort: rmem_max may be lower.
	_ = nl.SetReadBuffer(1 << 20)
	return &Watcher{nl: nl}, nil
}

// Next waits for a change, and a second for others. Close makes it return os.ErrClosed.
func (w *Watcher) Next() (Change, error) {
	const op = "listen to rtnetlink"
	var c Change
	if err := w.nl.SetReadDeadline(time.Time{}); err != nil {
		return c, w.explain(op, err)
	}
	for waiting := false; ; {
		msgs, err := w.nl.Receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return c, nil
		case errors.Is(err, unix.ENOBUFS):
			c.All = true // some were lost
		case err != nil:
			return c, w.explain(op, err)
		}
		for _, m := range msgs {
			if err := c.add(m); err != nil {
				c.All = true // there was something, whatever it says
			}
		}
		if !waiting && !c.Empty() {
			waiting = true
			if err := w.nl.SetReadDeadline(time.Now().Add(settle)); err != nil {
				return c, w.explain(op, err)
			}
		}
	}
}

func (w *Watcher) explain(op string, err error) error {
	if w.closed.Load() {
		err = os.ErrClosed // the error of a closing descriptor has no name
	}
	return fmt.Errorf("%s: %w", op, err)
}

// Close ends the Watcher and a waiting Next.
func (w *Watcher) Close() error {
	w.closed.Store(true)
	return w.nl.Close()
}
