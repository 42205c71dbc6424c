package l2tpnl

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrOverrun says that the kernel dropped events because they were not read in time: compare with Tunnels and Sessions.
var ErrOverrun = errors.New("L2TP events were lost")

// Change is what an event tells of.
type Change uint8

// The changes, named like the kernel's commands that cause them.
const (
	Created Change = iota + 1
	Modified
	Deleted
)

// String is "created", "modified" or "deleted".
func (c Change) String() string {
	switch c {
	case Created:
		return "created"
	case Modified:
		return "modified"
	case Deleted:
		return "deleted"
	}
	return fmt.Sprintf("change %d", uint8(c))
}

// Event is TunnelEvent or SessionEvent.
type Event interface{ event() }

// TunnelEvent tells of a tunnel as it is after a change, or as it was before its deletion, with its last counters.
type TunnelEvent struct {
	Change Change
	Tunnel Tunnel
}

// SessionEvent tells of a session as it is after a change, or as it was before its deletion, with its last counters.
type SessionEvent struct {
	Change  Change
	Session Session
}

func (TunnelEvent) event()  {}
func (SessionEvent) event() {}

// Monitor receives the kernel's notifications of L2TPv2 tunnels over UDP and of PPP sessions. Three things to know of them:
//
//   - Only what was asked for by netlink is told, our own requests included. Nothing tells of tunnels whose last descriptor was closed,
//     of sessions whose PPPoL2TP socket was opened or closed, nor of the sessions that end with a deleted tunnel: take the tunnel's
//     event for them.
//   - Kernels up to 6.12 tell every network namespace of the events of all of them: look at the addresses, or ask with Conn.Tunnel or
//     Conn.Session, before acting. An object may still be found for a moment after it was told to be deleted.
//   - A Monitor that is not read holds nobody up; its events are lost (ErrOverrun).
type Monitor struct {
	c      *genetlink.Conn
	family uint16
	lost   bool // events, and ErrOverrun is still to be returned
	closed atomic.Bool
}

// monitorBuffer is the octets of events that may wait to be read. An event takes less than two kilobytes of it.
const monitorBuffer = 4 << 20

// NewMonitor joins the group of the notifications in the network namespace of the calling thread. The error satisfies
// errors.Is(err, [os.ErrNotExist]) if the kernel has no L2TP.
func NewMonitor() (*Monitor, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, wrap("opening generic netlink", err)
	}
	conn, err := newConn(c)
	if err != nil {
		return nil, err
	}
	for _, group := range conn.family.Groups {
		if group.Name != groupName {
			continue
		}
		if err := c.JoinGroup(group.ID); err != nil {
			_ = c.Close()
			return nil, wrap("joining the kernel's L2TP notifications", err)
		}
		// The end of many clients at once tells of many tunnels at once. Best effort: without privileges rmem_max bounds it.
		_ = c.SetReadBuffer(monitorBuffer)
		return &Monitor{c: c, family: conn.family.ID}, nil
	}
	_ = c.Close()
	return nil, fmt.Errorf("joining the kernel's L2TP notifications: %w: no group %q", os.ErrNotExist, groupName)
}

// Receive waits for events. ErrOverrun comes after the events that were not lost, is not final, and whatever happens from then on is
// told again; any other error is final. Close makes it return os.ErrClosed. It is for one goroutine.
func (m *Monitor) Receive() ([]Event, error) {
	for {
		// After an overrun the kernel drops everything, and says so only once, until nothing waits any more: whoever compared before
		// would miss what happens between the comparison and the last old event.
		if m.lost && !m.waiting() {
			m.lost = false
			return nil, fmt.Errorf("receiving L2TP events: %w", ErrOverrun)
		}
		messages, raw, err := m.c.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			m.lost = true
			continue
		case err != nil && m.closed.Load():
			return nil, fmt.Errorf("receiving L2TP events: %w", os.ErrClosed) // the error of a closing descriptor has no name
		case err != nil:
			return nil, wrap("receiving L2TP events", err)
		}
		var events []Event
		for i, message := range messages {
			if raw[i].Header.Type != netlink.HeaderType(m.family) {
				continue
			}
			// What cannot be read is none of our business: pseudowires and versions other than ours, commands of later kernels.
			if e, err := decodeEvent(message.Header.Command, message.Data); err == nil && e != nil {
				events = append(events, e)
			}
		}
		if len(events) > 0 {
			return events, nil
		}
	}
}

// waiting tells whether events can be read without waiting for them.
func (m *Monitor) waiting() bool {
	raw, err := m.c.SyscallConn()
	if err != nil {
		return false
	}
	fds := []unix.PollFd{{Events: unix.POLLIN}}
	err = raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		for {
			if _, err := unix.Poll(fds, 0); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return err == nil && fds[0].Revents&unix.POLLIN != 0
}

// Close ends the Monitor and a waiting Receive.
func (m *Monitor) Close() error {
	m.closed.Store(true)
	return m.c.Close()
}

// changes are the commands that the kernel tells of.
var changes = map[uint8]Change{
	cmdTunnelCreate: Created, cmdTunnelModify: Modified, cmdTunnelDelete: Deleted,
	cmdSessionCreate: Created, cmdSessionModify: Modified, cmdSessionDelete: Deleted,
}

// decodeEvent returns nil without an error for what is no event of ours.
func decodeEvent(command uint8, data []byte) (Event, error) {
	switch command {
	case cmdTunnelCreate, cmdTunnelModify, cmdTunnelDelete:
		t, v2, err := decodeTunnel(data)
		if err != nil || !v2 {
			return nil, err
		}
		return TunnelEvent{Change: changes[command], Tunnel: t}, nil
	case cmdSessionCreate, cmdSessionModify, cmdSessionDelete:
		s, ppp, err := decodeSession(data)
		if err != nil || !ppp {
			return nil, err
		}
		return SessionEvent{Change: changes[command], Session: s}, nil
	}
	return nil, nil
}
