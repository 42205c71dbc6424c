// Package concentrator is the daemon: it owns the two protocol engines and carries out in the
// kernel what they ask for.
//
// It is the only package that knows all the others. What it needs of them is declared as small
// interfaces in ports.go; system.go builds the real ones.
package concentrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/control"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// inboxSize bounds the datagrams from anywhere that wait for the loop; what does not fit is dropped and counted.
const inboxSize = 4096

// strangersAtOnce bounds the first messages that one turn of the loop takes; others wait for as long.
const strangersAtOnce = 16

// Options are the limits and timers of a Concentrator.
type Options struct {
	Block slot.Block
	// SlotRest is how long a slot is out of use after its client has gone.
	SlotRest time.Duration
	// TunnelWait ends a client that has no L2TP tunnel for this long, or no user who authenticates.
	TunnelWait time.Duration
	// TerminateWait is how long a PPP endpoint may take to say goodbye to its peer.
	TerminateWait time.Duration
	PPP           PPPOptions
	Plain         PlainOptions
	// Offload are the modes in which network devices are asked to take SAs, in this order; none: all is done in software.
	Offload []xfrm.OffloadMode
	// Events is how many events are remembered; 0: 1024.
	Events int
}

// Parts are what a Concentrator works with.
type Parts struct {
	IKE      *ikev1.Engine
	L2TP     *l2tp.Engine
	IKEIO    IKE
	SAs      SAs
	Egress   Egress
	Tunnels  Tunnels
	Sockets  Sockets
	PPP      PPP
	AAA      AAA
	Steering Steering
	Links    Links
	Store    Store
	Log      *zap.Logger
}

// A Concentrator serves clients until its context ends.
type Concentrator struct {
	Parts
	opt Options

	// The loop takes from these in turn, so that a flood in one does not silence the others.
	strangers   chan udp.Datagram // first messages of phase 1, which anybody can send in anybody's name: dropped when there are too many
	inbox       chan func()       // other datagrams from anywhere: the same
	clientInbox chan func()       // datagrams of clients: their reader waits, and what floods is lost in the client's own socket
	control     chan func()       // results and requests: never dropped
	stopped     chan struct{}
	work        chan func()
	lookups     chan struct{} // has a place for each certificate that is being looked up

	// serving ends with Serve, and what waits for the network with it.
	serving context.Context
	end     context.CancelFunc

	journal *journal

	// reload is nil if there is no file to read again. It does not change while the control API is served.
	reload func(context.Context) (control.Reload, error)

	// Everything below belongs to the loop.
	slots   *slot.Allocator
	plain   *plains
	room    room
	peers   map[ikev1.ClientID]peer // from phase 1 on
	clients map[ikev1.ClientID]*client
	ports   map[slot.Port]*client
	byNAS   map[string]*session
	// nextClient is not after the earliest deadline of all clients; see touch.
	nextClient time.Time
	started    time.Time
	counters   *counters
	unsteered  time.Time // since when the steering table cannot be put back; zero while it is there
	offloads   *offloads
	ledger     *ledger
	uncompared bool // the SAs could not be listed at adoption; it does not change after that
}

// New returns a Concentrator made of parts. Serve must be called for it to do anything.
func New(parts Parts, opt Options) (*Concentrator, error) {
	slots, err := slot.NewAllocator(opt.Block, opt.SlotRest)
	if err != nil {
		return nil, fmt.Errorf("slots: %w", err)
	}
	plain, err := newPlains(opt.Plain, opt.SlotRest)
	if err != nil {
		return nil, err
	}
	serving, end := context.WithCancel(context.Background())
	return &Concentrator{
		Parts:       parts,
		opt:         opt,
		strangers:   make(chan udp.Datagram, inboxSize),
		inbox:       make(chan func(), inboxSize),
		clientInbox: make(chan func()),
		control:     make(chan func(), 256),
		stopped:     make(chan struct{}),
		work:        make(chan func(), inboxSize),
		lookups:     make(chan struct{}, maxLookups),
		serving:     serving,
		end:         end,
		journal:     newJournal(opt.Events),
		slots:       slots,
		plain:       plain,
		peers:       make(map[ikev1.ClientID]peer),
		clients:     make(map[ikev1.ClientID]*client),
		ports:       make(map[slot.Port]*client),
		byNAS:       make(map[string]*session),
		counters:    newCounters(),
		offloads:    newOffloads(),
		ledger:      newLedger(),
	}, nil
}

// Serve runs the loop until ctx ends. Who only cancels it wants everybody to be told goodbye; with a cause, such as [ErrLeave], everything is left as
// it is for the next daemon. All state of c belongs to the goroutine that calls Serve: readers, workers
// and the control API hand functions to it through inbox and control.
func (c *Concentrator) Serve(ctx context.Context) error {
	defer close(c.stopped)
	defer c.end()
	defer c.journal.close()
	c.started = time.Now()
	c.record("started", control.Event{Kind: eventStarted, Text: "the daemon has started"})
	for range workers() {
		go c.runWork()
	}
	defer close(c.work)

	alarm := newAlarm()
	defer alarm.timer.Stop()
	for c.step(ctx, alarm) {
	}
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		c.leave()
		return nil
	}
	return c.shutdown()
}

// step waits for one event and handles it, unless ctx ends before; then it returns false.
func (c *Concentrator) step(ctx context.Context, alarm *alarm) bool {
	alarm.set(earliest(earliest(c.IKE.Next(), c.L2TP.Next()), c.nextClient))
	select {
	case f := <-c.control:
		c.guard(f)
	case f := <-c.inbox:
		c.guard(f)
	case d := <-c.strangers:
		c.takeStrangers(d)
	case f := <-c.clientInbox:
		c.guard(f)
	case <-alarm.timer.C:
		alarm.at = time.Time{}
		c.guard(func() { c.advance(time.Now()) })
	case <-ctx.Done():
		return false
	}
	c.writeDown()
	return true
}

func (c *Concentrator) advance(now time.Time) {
	c.applyIKE(now, c.IKE.Advance(now))
	c.applyL2TP(now, c.L2TP.Advance(now))
	c.advanceClients(now)
}

// guard is the last net: a panic while handling one event is counted and logged, and the loop goes on.
func (c *Concentrator) guard(f func()) {
	c.notePanic(protect(func() error { f(); return nil }))
}

// HandleIKE hands an IKE datagram to the loop. It may be called from any goroutine and never blocks.
func (c *Concentrator) HandleIKE(d udp.Datagram) {
	if ikev1.Initial(d.Payload) {
		select {
		case c.strangers <- d:
		default:
			c.counters.inboxFull.Add(1)
		}
		return
	}
	select {
	case c.inbox <- func() { c.receiveIKE(time.Now(), d) }:
	default:
		c.counters.inboxFull.Add(1)
	}
}

func (c *Concentrator) receiveIKE(now time.Time, d udp.Datagram) {
	c.counters.ikeReceived++
	c.applyIKE(now, c.IKE.Handle(now, ikev1.Datagram(d)))
}

// takeStrangers handles a first message, and some more if they are waiting: a turn of the loop costs about as much as refusing one.
func (c *Concentrator) takeStrangers(d udp.Datagram) {
	now := time.Now()
	for n := 1; ; n++ {
		c.guard(func() { c.receiveIKE(now, d) })
		if n == strangersAtOnce {
			return
		}
		select {
		case d = <-c.strangers:
		default:
			return
		}
	}
}

// HandleL2TP hands an L2TP datagram that came to a slot to the loop, and waits until the loop takes it.
func (c *Concentrator) HandleL2TP(d l2tp.Datagram) {
	select {
	case c.clientInbox <- func() {
		now := time.Now()
		c.counters.l2tpReceived++
		cl := c.ports[slot.Port(d.Tunnel)]
		if cl == nil || c.clients[cl.id] != cl {
			c.counters.l2tp[dropNoClient]++ // it was under way when the client went
			return
		}
		if !cl.answers(d.Remote) {
			c.counters.l2tp[dropPlainPeer]++
			return
		}
		if cl.hold(d) {
			return
		}
		c.applyL2TP(now, c.L2TP.Handle(now, d))
		c.retire(now, cl) // it may have acknowledged StopCCN
	}:
	case <-c.stopped:
	}
}

// post runs f on the loop. It blocks while the loop is busy, and does nothing after the loop has ended.
func (c *Concentrator) post(f func()) {
	select {
	case c.control <- f:
	case <-c.stopped:
	}
}

// call runs f on the loop and waits for it.
func (c *Concentrator) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case c.control <- func() { defer close(done); f() }:
	case <-c.stopped:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-c.stopped:
		return errStopped
	}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
