package ikev1

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
)

// suspects are what a call of the owner may leave half done if it panics: what it makes, changes or takes apart. A message that has only
// been looked at makes nobody a suspect, so that a forged one cannot hurt an SA that is established.
type suspects struct {
	sas    []*isakmpSA
	quick  *quickMode
	client *client
	close  bool // the client was to go anyway
}

// guarded runs f for a message or a deadline of remote. A panic is counted and reported, and costs no more than what f was working on.
func (e *Engine) guarded(remote netip.AddrPort, f func()) {
	sends := len(e.out.Send)
	defer func() {
		if r := recover(); r != nil {
			e.out.Send = e.out.Send[:sends] // what they promise may not be so
			e.survive(remote, r)
		}
		e.suspects = suspects{}
	}()
	f()
}

// survive reports a panic and gives up whatever it may have spoiled, in silence: saying goodbye could be what has panicked.
func (e *Engine) survive(remote netip.AddrPort, value any) {
	e.emit(Dropped{Remote: remote, Reason: DropPanic})
	e.emit(panicked(remote, value))
	s := e.suspects
	e.silent = true
	defer func() {
		e.silent = false
		if r := recover(); r != nil {
			e.emit(panicked(remote, r))
		}
	}()
	e.giveUp(s)
}

const reasonPanic = "given up after a defect of this program"

// giveUp ends what is half done.
func (e *Engine) giveUp(s suspects) {
	clients := []*client{s.client}
	if q := s.quick; q != nil {
		clients = append(clients, q.child.client)
		e.dropQuickMode(q, reasonPanic)
	}
	for _, sa := range s.sas {
		clients = append(clients, sa.client)
		e.dropSA(sa, reasonPanic)
		e.clearSA(sa, reasonPanic) // it may have been half dropped
		if conn := sa.connection; conn != nil && conn.client == nil && conn.calling == nil {
			delete(e.connections, conn.id)
		}
	}
	if s.close && s.client != nil {
		e.closeClient(s.client, reasonPanic, false)
	}
	for _, c := range clients {
		if c != nil {
			e.tidy(c)
		}
	}
}

// closeGuarded closes a client that is told so, or that goes in silence if that panics.
func (e *Engine) closeGuarded(c *client, reason string) {
	e.suspects = suspects{client: c, close: true}
	e.guarded(c.key.remote, func() { e.closeClient(c, reason, true) })
}

// tidy removes the children of c that nobody works on any more, and sees to it that all else has its deadline.
func (e *Engine) tidy(c *client) {
	e.touch(c)
	working := make(map[*child]bool)
	for _, sa := range c.sas {
		for _, q := range sa.quickModes() {
			if q.timer.at.IsZero() {
				e.dropQuickMode(q, reasonPanic)
			} else if q.state != quickDone {
				working[q.child] = true
			}
		}
		if sa.timer.at.IsZero() {
			e.rearm(sa)
		}
	}
	for _, p := range e.pending {
		if p.kind == pendingOutbound {
			working[p.child] = true
		}
	}
	for _, ch := range slices.Clone(c.children) {
		working[ch] = working[ch] || e.now.Before(ch.switchAt)
		switch {
		case ch.state != childEstablished && !working[ch], ch.state == childEstablished && !e.now.Before(ch.expires):
			e.removeChild(ch, reasonPanic, false)
		case ch.state != childLarval && ch.timer.at.IsZero():
			e.timers.set(&ch.timer, earliest(ch.switchAt, ch.expires))
		}
	}
	if c.wait.at.IsZero() {
		e.awaitChild(c)
	}
	if c.keepalive.at.IsZero() {
		e.keepNAT(c)
	}
	e.reap(c, reasonPanic)
}

// Panicked says that a message or a deadline met a defect of this program: it comes with [Dropped] for [DropPanic]. What it was about was
// given up; everybody else goes on.
type Panicked struct {
	Remote netip.AddrPort // whose message or deadline

	// What is the kind of the panic. Stack is where it happened: functions, files and lines, without values.
	What, Stack string
}

func (Panicked) isEvent() {}

func (e Panicked) String() string {
	return fmt.Sprintf("recovered from a panic with %s: %s; please report it", e.Remote, e.What)
}

// panicked describes a panic without what might be secret: of a value that is not an error of the runtime only its type is told.
func panicked(remote netip.AddrPort, value any) Panicked {
	what := fmt.Sprintf("%T", value)
	if err, ok := value.(runtime.Error); ok {
		what = err.Error()
	}
	var pcs [48]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var stack strings.Builder
	for {
		f, more := frames.Next()
		fmt.Fprintf(&stack, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return Panicked{Remote: remote, What: what, Stack: stack.String()}
		}
	}
}

// expireGuarded runs the deadline of one owner.
func (e *Engine) expireGuarded(owner expirer) {
	var remote netip.AddrPort
	switch o := owner.(type) {
	case *isakmpSA:
		e.suspects.sas, remote = []*isakmpSA{o}, o.remote
		e.touch(o.client)
	case *quickMode:
		e.suspects.quick, remote = o, o.sa.remote
		e.touch(o.sa.client)
	case *child:
		e.suspects.client, remote = o.client, o.remote
		e.touch(o.client)
	case *client:
		e.suspects.client, remote = o, o.key.remote
	case *childWait:
		e.suspects.client, e.suspects.close, remote = o.client, true, o.client.key.remote
		e.touch(o.client)
	}
	e.guarded(remote, func() { owner.expire(e) })
}
