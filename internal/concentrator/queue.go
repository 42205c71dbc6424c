package concentrator

import (
	"errors"
	"runtime/debug"

	"go.uber.org/zap"
)

// A queue runs one client's slow kernel operations off the loop, one after the other, so that a
// tunnel is never created while its predecessor is still being deleted. It belongs to the loop.
type queue struct {
	waiting []operation
	busy    bool
}

// An operation is prepared on the loop, works on another goroutine, and is finished on the loop.
type operation struct {
	prepare func() (work func() error)
	done    func(error)
}

// enqueue appends an operation to q. prepare runs on the loop when the operations before it are
// finished; its result runs elsewhere and must not touch state of the loop.
func (c *Concentrator) enqueue(q *queue, prepare func() func() error, done func(error)) {
	q.waiting = append(q.waiting, operation{prepare, done})
	c.runQueue(q)
}

func (c *Concentrator) runQueue(q *queue) {
	if q.busy || len(q.waiting) == 0 {
		return
	}
	op := q.waiting[0]
	q.waiting = q.waiting[1:]
	q.busy = true
	var work func() error
	if err := protect(func() error { work = op.prepare(); return nil }); err != nil {
		work = func() error { return err }
	}
	go func() {
		err := protect(work)
		c.post(func() {
			c.notePanic(err)
			// What done enqueues begins when it has returned, so that it can enqueue several operations in their order.
			defer func() {
				q.busy = false
				c.runQueue(q)
			}()
			if op.done != nil {
				op.done(err)
			}
		})
	}()
}

// panicked is the error of what ended in a panic. Its text goes to events, so that value and stack are for the log alone.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return "it ended in a panic, of which the log says more" }

// protect turns a panic in f into an error, so that a client's trouble does not become everybody's.
func protect(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicked{r, debug.Stack()}
		}
	}()
	return f()
}

// notePanic counts and logs the panic that an error stands for, if it does. It runs on the loop.
func (c *Concentrator) notePanic(err error) {
	if p, ok := errors.AsType[*panicked](err); ok {
		c.counters.panics++
		c.Log.Error("recovered from a panic; please report it", zap.Any("panic", p.value), zap.ByteString("stack", p.stack))
	}
}
