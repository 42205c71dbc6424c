package client

import (
	"sync"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/steering"
)

// Handlers hear of what happens in the keeper, one after the other, on a goroutine of the connection; they must not call Close.
type Handlers struct {
	// Restoration: the steering table was put back.
	Restoration func(steering.Restoration)
	// Stopping: the keeper is to end. It waits a moment for Shutdown.
	Stopping func()
}

// maxLines is how many lines of pppd may wait; what comes then is lost.
const maxLines = 4096

// events is a queue that never makes the connection wait.
type events struct {
	mu       sync.Mutex
	wake     sync.Cond
	closed   bool
	handlers *Handlers
	waiting  []protocol.Message
	lines    int                // of waiting
	early    []protocol.Message // for the handlers, before there were any
	logs     map[string]func(line string)
}

func newEvents() *events {
	e := &events{logs: make(map[string]func(string))}
	e.wake.L = &e.mu
	go e.run()
	return e
}

// Handle says who hears of events from now on, and of those that have happened since Dial.
func (c *Conn) Handle(h Handlers) {
	e := c.events
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handlers = &h
	e.waiting = append(e.early, e.waiting...)
	e.early = nil
	e.wake.Signal()
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.wake.Signal()
}

func (e *events) add(m protocol.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.Op == protocol.OpPPPLog {
		if e.lines == maxLines {
			return
		}
		e.lines++
	}
	e.waiting = append(e.waiting, m)
	e.wake.Signal()
}

func (e *events) run() {
	for {
		do, ok := e.next()
		if !ok {
			return
		}
		do()
	}
}

// next waits for something to do.
func (e *events) next() (do func(), ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		for len(e.waiting) == 0 && !e.closed {
			e.wake.Wait()
		}
		if e.closed {
			return nil, false
		}
		m := e.waiting[0]
		e.waiting = e.waiting[1:]
		if do := e.interpret(m); do != nil {
			return do, true
		}
	}
}

// interpret says what an event is to cause. What cannot be read is of a later keeper, and passed over. The caller holds mu.
func (e *events) interpret(m protocol.Message) func() {
	switch m.Op {
	case protocol.OpPPPLog:
		e.lines--
		var line protocol.Line
		if protocol.Unmarshal(m.Body, &line) != nil || e.logs[line.Interface] == nil {
			return nil
		}
		log := e.logs[line.Interface]
		return func() { log(line.Text) }
	case protocol.OpRestoration, protocol.OpStopping:
		if e.handlers == nil {
			e.early = append(e.early, m)
			return nil
		}
		return e.handlers.interpret(m)
	}
	return nil
}

func (h *Handlers) interpret(m protocol.Message) func() {
	switch {
	case m.Op == protocol.OpStopping:
		return h.Stopping
	case h.Restoration != nil:
		var r protocol.Restoration
		if protocol.Unmarshal(m.Body, &r) != nil {
			return nil
		}
		restoration := steering.Restoration{Missing: r.Missing, PID: r.PID, Process: r.Process}
		if r.Err != nil {
			restoration.Err = r.Err
		}
		return func() { h.Restoration(restoration) }
	}
	return nil
}

// hear sets who hears the lines of a pppd; nil for nobody.
func (e *events) hear(iface string, log func(string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if log == nil {
		delete(e.logs, iface)
		return
	}
	e.logs[iface] = log
}
