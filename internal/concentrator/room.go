package concentrator

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

const (
	// Operators are warned when less than a tenth of the slots is free, and again after a fifth has been.
	lowSlots, enoughSlots = 10, 5
	// A block that stays full is an event once in this time.
	fullInterval = time.Minute
	// portsTried bounds the slots that one client has looked at whose ports another program has.
	portsTried = 16
)

// room is what was said of the slots.
type room struct {
	low   bool
	full  time.Time          // when it was last said that there are none
	taken map[slot.Port]bool // ports of other programs; no more than the block has
}

// takeSlot finds a slot for a client, with its socket. Ports that another program has are passed over.
func (c *Concentrator) takeSlot(now time.Time, local netip.Addr) (slot.Port, ClientSocket, error) {
	port, socket, err := c.openSlot(now, c.slots, c.opt.Block, local)
	switch {
	case err == nil:
		c.watchSlots(now)
	case errors.Is(err, slot.ErrExhausted):
		err = c.noSlot(now, err)
	case errors.Is(err, errPortsTaken):
		err = fmt.Errorf("%w: %w", err, ikev1.ErrFull)
	}
	return port, socket, err
}

// errPortsTaken says that other programs have the ports of all slots that were looked at.
var errPortsTaken = fmt.Errorf("the ports of %d slots are in use by other programs", portsTried)

// openSlot takes a slot from its allocator and opens its socket. The error is that of the allocator, of the socket, or errPortsTaken.
func (c *Concentrator) openSlot(now time.Time, slots *slot.Allocator, block slot.Block, local netip.Addr) (slot.Port, ClientSocket, error) {
	for range portsTried {
		port, err := slots.Allocate(now)
		if err != nil {
			return 0, nil, err
		}
		socket, err := c.Sockets.OpenClient(local, uint16(port), block.Mark(port))
		if err == nil {
			return port, socket, nil
		}
		slots.Free(now, port)
		if !errors.Is(err, unix.EADDRINUSE) {
			return 0, nil, fmt.Errorf("open socket of slot %d: %w", port, err)
		}
		c.portTaken(port, err)
	}
	return 0, nil, errPortsTaken
}

// noSlot tells that a client is refused because every slot is in use or resting.
func (c *Concentrator) noSlot(now time.Time, err error) error {
	c.counters.noSlot++
	if c.room.full.IsZero() || now.Sub(c.room.full) >= fullInterval {
		c.room.full = now
		ev := control.Event{Kind: eventSlotsExhausted, Severity: control.SeverityError}
		causeNoSlot.explain(&ev)
		ev.Text = fmt.Sprintf("a client was refused: of %d slots %d are in use and %d resting", c.opt.Block.Size(), c.slots.Used(), c.slots.Resting(now))
		c.record("no free slot", ev)
	}
	return fmt.Errorf("%w: %w", ikev1.ErrFull, err)
}

// watchSlots warns before there are none.
func (c *Concentrator) watchSlots(now time.Time) {
	size, free := c.opt.Block.Size(), c.slots.Rested(now)
	switch {
	case !c.room.low && free*lowSlots < size:
		c.room.low = true
		ev := control.Event{Kind: eventSlotsLow, Severity: control.SeverityWarning, Hint: causeNoSlot.hint}
		ev.Text = fmt.Sprintf("%d of %d slots are free; %d are in use and %d resting", free, size, c.slots.Used(), c.slots.Resting(now))
		c.record("few slots are free", ev)
	case c.room.low && free*enoughSlots >= size:
		c.room.low = false
	}
}

// portTaken tells of the port of a slot that another program has, once for each.
func (c *Concentrator) portTaken(port slot.Port, err error) {
	c.counters.portsTaken++
	if c.room.taken[port] {
		return
	}
	if c.room.taken == nil {
		c.room.taken = make(map[slot.Port]bool)
	}
	c.room.taken[port] = true
	ev := control.Event{Kind: eventPortTaken, Severity: control.SeverityWarning, TunnelID: uint16(port)}
	causePortTaken.explain(&ev)
	ev.Text = fmt.Sprintf("another program uses UDP port %d, which is that of a slot", port)
	c.record("the port of a slot is in use", ev, zap.Error(err))
}
