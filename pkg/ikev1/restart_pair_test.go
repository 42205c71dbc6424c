package ikev1_test

import (
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// death is where a program dies that carries out what an engine asks for.
type death uint8

const (
	lives         death = iota
	beforeRecords       // actions are done, and nobody will know
	beforeSend          // what the records say has not been told to the peer
	afterSend
)

// afterlife is what becomes of an end whose program may die. What outlives it are the kernel, the records and what comes in meanwhile.
type afterlife struct {
	dies      func(*end) death     // asked at each output, nil for never
	downtime  func() time.Duration // until there is another engine
	restored  func(*end)           // sees the other engine when all is restored
	inbox     []func()             // what has come in
	ghost     *ikev1.Engine        // the engine that died, if all that it knew was recorded
	wanted    int                  // connections that there were
	down      bool
	otherwise bool // the next engine is configured otherwise, and need not be the same as the one before
	resuming  bool
	restarts  int
}

// fate says where the program dies that carries out this output.
func (e *end) fate() death {
	if e.dies == nil || e.resuming {
		return lives
	}
	return e.dies(e)
}

// die ends the program, before its latest output was recorded or after, with events that nobody has seen.
func (e *end) die(unrecorded bool, unseen ...ikev1.Event) {
	e.wanted = len(ikev1.Connections(e.engine))
	for _, ev := range unseen {
		if failed, ok := ev.(ikev1.Phase1Failed); ok && failed.Connection != 0 {
			e.wanted++
		}
	}
	e.ghost, e.engine, e.down = e.engine, nil, true
	if unrecorded {
		e.ghost = nil
	}
	restarts := e.restarts
	e.after(e.downtime(), func() {
		if e.down && e.restarts == restarts {
			e.resume()
		}
	})
}

// up ends the time without a program.
func (e *end) up() *end {
	for e.down {
		e.resume()
	}
	return e
}

// resume begins the program again, with another engine.
func (e *end) resume() {
	e.t.Helper()
	if !e.down && !e.otherwise {
		e.ghost = e.engine // it ends between two calls
	}
	e.down, e.resuming = false, true
	e.restarts++
	e.engine = e.newEngine()
	written := e.records
	e.records = archive{}
	var outs []ikev1.Output
	for _, r := range written.list() {
		out, err := e.engine.Restore(e.now, r)
		if err != nil {
			e.t.Fatalf("%s: %v: %+v", e.name, err, ikev1.Written(r.State))
		}
		e.records[r.Client] = r.State
		outs = append(outs, out)
	}
	if e.ghost != nil {
		if wrong := ikev1.Differences(e.ghost, e.engine); len(wrong) > 0 {
			e.t.Errorf("%s: %v", e.name, wrong)
		}
		e.ghost = nil
	}
	e.absorb(merged(outs))
	if e.restored != nil {
		e.restored(e)
	}
	e.reconcile()
	e.resuming = false
	for len(e.inbox) > 0 && !e.down {
		next := e.inbox[0]
		e.inbox = e.inbox[1:]
		next()
	}
}

// reconcile removes from the kernel what nobody knows, and tells the engine what the kernel does not have.
func (e *end) reconcile() {
	in, out := map[uint32]ikev1.ChildID{}, map[uint32]ikev1.ChildID{}
	for _, ch := range e.engine.Installed() {
		in[ch.In.SPI], out[ch.Out.SPI] = ch.In.Child, ch.In.Child
	}
	for spi, sa := range e.inbound {
		if in[spi] != sa.Child {
			delete(e.inbound, spi)
		}
	}
	for spi, sa := range e.outbound {
		if out[spi] != sa.Child {
			delete(e.outbound, spi)
		}
	}
	for _, ch := range e.engine.Installed() {
		_, haveIn := e.inbound[ch.In.SPI]
		_, haveOut := e.outbound[ch.Out.SPI]
		if !haveIn || ch.Sends && !haveOut {
			e.absorb(e.engine.Lost(e.now, ch.In.Client, ch.In.Child, "it is not in the kernel"))
		}
	}
}

// keepWhileDown leaves something that comes in to the next program, if there is none; of too much the latest is lost.
func (e *end) keepWhileDown(f func()) bool {
	if e.down && len(e.inbox) < 30 {
		e.inbox = append(e.inbox, f)
	}
	return e.down
}
