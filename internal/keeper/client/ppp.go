package client

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// PPP starts pppd in the keeper, which is its parent.
type PPP struct{ c *Conn }

// PPP returns the pppd.
func (c *Conn) PPP() PPP { return PPP{c} }

// A Process is a pppd of the keeper.
type Process struct {
	Interface string
	PID       int
	Started   time.Time

	c      *Conn
	done   chan struct{}
	exit   pppd.Exit // read after done
	ended  sync.Once
	forget sync.Once
}

// Start waits up to a second for the peer's first frame, and starts pppd on the session's PPPoL2TP socket, which Tunnels.OpenSession has opened; s.Socket is not used.
// The error is os.ErrExist while another one has the interface.
func (p PPP) Start(s pppd.Session) (*Process, error) {
	process, err := p.enter(s.Interface, s.Log)
	if err != nil {
		return nil, err
	}
	m, err := p.c.call(context.Background(), protocol.OpStartPPP, protocol.PPPOf(s), nil)
	if err != nil {
		p.c.drop(process)
		return nil, err
	}
	m.Close()
	var told protocol.Process
	if err := protocol.Unmarshal(m.Body, &told); err != nil {
		p.c.drop(process)
		return nil, err
	}
	process.PID, process.Started = told.PID, told.StartTime()
	return process, nil
}

// Adopt takes over a pppd of the Inventory. log hears what it says from now on; nil discards it.
func (p PPP) Adopt(told protocol.Process, log func(line string)) (*Process, error) {
	process, err := p.enter(told.Interface, log)
	if err != nil {
		return nil, err
	}
	process.PID, process.Started = told.PID, told.StartTime()
	c := p.c
	c.mu.Lock()
	if early := c.exits[told.Interface]; told.Exit == nil && early.PID == told.PID {
		told.Exit = early.Exit
	}
	delete(c.exits, told.Interface)
	c.mu.Unlock()
	if told.Exit != nil {
		process.end(*told.Exit)
	}
	return process, nil
}

// Forget drops a pppd of the Inventory that has ended and interests nobody.
func (p PPP) Forget(iface string) error {
	return p.c.tell(protocol.OpForgetPPP, protocol.Name{Name: iface})
}

// Kill ends a pppd of the Inventory that nobody wants, and drops it when it has ended.
func (p PPP) Kill(told protocol.Process) error {
	process, err := p.Adopt(told, nil)
	if err != nil {
		return err
	}
	go process.Wait()
	return process.Kill()
}

// Processes is the number of those that run here.
func (p PPP) Processes() int {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return len(p.c.processes)
}

// enter makes a process known before it is started, so that its end cannot come too early.
func (p PPP) enter(iface string, log func(string)) (*Process, error) {
	c := p.c
	process := &Process{Interface: iface, c: c, done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		return nil, ErrGone
	}
	if old := c.processes[iface]; old != nil {
		return nil, fmt.Errorf("start pppd for %s: %w: process %d has it", iface, os.ErrExist, old.PID)
	}
	c.processes[iface] = process
	c.events.hear(iface, log)
	return process, nil
}

// drop makes a process unknown.
func (c *Conn) drop(p *Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.processes[p.Interface] == p {
		delete(c.processes, p.Interface)
		c.events.hear(p.Interface, nil)
	}
}

// ended takes the event of a pppd's end. Unlike other events it is not late when the connection ends right after it.
func (c *Conn) ended(m protocol.Message) {
	var told protocol.Process
	if protocol.Unmarshal(m.Body, &told) != nil {
		return
	}
	c.mu.Lock()
	p := c.processes[told.Interface]
	if p == nil { // of the inventory, and not adopted yet
		c.exits[told.Interface] = told
	}
	c.mu.Unlock()
	if p != nil && told.Exit != nil {
		p.end(*told.Exit)
	}
}

func (p *Process) end(exit pppd.Exit) {
	p.ended.Do(func() {
		p.exit = exit
		close(p.done)
	})
}

// lost ends what the keeper has taken with it.
func (p *Process) lost(err error) { p.end(pppd.Exit{Code: -1, Reason: err.Error()}) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait blocks until the process has ended and says how. The keeper forgets it then.
func (p *Process) Wait() pppd.Exit {
	<-p.done
	p.forget.Do(func() {
		_ = PPP{p.c}.Forget(p.Interface) // fails only without a keeper
		p.c.drop(p)
	})
	return p.exit
}

// Terminate asks pppd to hang up, see pppd.Process.Terminate. A process that has already ended is not an error.
func (p *Process) Terminate() error {
	return p.c.do(protocol.OpTerminatePPP, protocol.Name{Name: p.Interface})
}

// Kill ends pppd at once, without a word to peer or accounting.
func (p *Process) Kill() error { return p.c.do(protocol.OpKillPPP, protocol.Name{Name: p.Interface}) }
