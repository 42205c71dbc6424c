package keeper

import (
	"sync"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

const (
	// maxUnread is how many octets may wait for a daemon that does not read; then it is given up.
	maxUnread = 1 << 30
	// fileSize is what a file counts that goes with a message, in octets.
	fileSize = 4 << 10
	// maxBacklog is how many may wait before lines of pppd are dropped.
	maxBacklog = 1 << 20
)

// outbox is what waits to be written to a daemon, so that nobody in the keeper waits for it. The writer closes the files of messages.
type outbox struct {
	transport *protocol.Transport

	mu      sync.Mutex
	changed sync.Cond
	waiting []protocol.Message
	octets  int  // the size of waiting, and of what is being written
	writing bool // a message
	held    bool // nothing is written for a while
	closed  bool // nothing is added any more
	failed  bool // the daemon has gone
	done    bool // run has ended
}

func newOutbox(t *protocol.Transport) *outbox {
	o := &outbox{transport: t}
	o.changed.L = &o.mu
	return o
}

// size is what a message counts.
func (o *outbox) size(m protocol.Message) int { return len(m.Body) + fileSize*len(m.Files) }

// add takes over a message.
func (o *outbox) add(m protocol.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	droppable := m.Kind == protocol.Event && m.Op == protocol.OpPPPLog
	if o.closed || o.failed || droppable && o.octets > maxBacklog {
		m.Close()
		return
	}
	if o.octets += o.size(m); o.octets > maxUnread {
		o.failed = true
		m.Close()
		_ = o.transport.Close() // the reader hears of it
		return
	}
	o.waiting = append(o.waiting, m)
	o.changed.Broadcast()
}

// run writes until close.
func (o *outbox) run() {
	for {
		m, ok := o.next()
		if !ok {
			return
		}
		size := o.size(m) // Close forgets the files
		err := o.transport.Write(m)
		m.Close()
		o.mu.Lock()
		o.octets -= size
		o.writing = false
		o.failed = o.failed || err != nil
		o.changed.Broadcast()
		o.mu.Unlock()
	}
}

func (o *outbox) next() (m protocol.Message, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if o.failed { // what the daemon has written is still to be read
			for i := range o.waiting {
				o.octets -= o.size(o.waiting[i])
				o.waiting[i].Close()
			}
			o.waiting = nil
		}
		if len(o.waiting) > 0 && !o.held {
			m = o.waiting[0]
			o.waiting = o.waiting[1:]
			o.writing = true
			return m, true
		}
		if o.closed && !o.held {
			o.done = true
			o.changed.Broadcast()
			return m, false
		}
		o.changed.Wait()
	}
}

// close lets run write what waits, and end; it waits for that.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.changed.Broadcast()
	for !o.done {
		o.changed.Wait()
	}
}
