package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// Conn is the connection to the keeper. It is safe for concurrent use.
type Conn struct {
	t        *protocol.Transport
	welcomed Welcome
	events   *events

	done chan struct{} // closed when the reader has ended
	err  error         // why; read after done

	mu        sync.Mutex
	last      uint32                           // id of the latest request
	pending   map[uint32]chan protocol.Message // each takes one reply
	processes map[string]*Process              // by interface
	exits     map[string]protocol.Process      // of those that nobody knows yet
}

// Welcome is what the keeper says of itself.
type Welcome struct {
	Protocol uint32 // the version that is spoken
	Build    string
	PID      int
	// ForServe says that the keeper was started by a daemon, and not as a unit of its own: the daemon shuts it down when it ends itself.
	ForServe bool
	Radius   Radius
	// Setup is what the keeper was set up with; nil for a fresh one.
	Setup *protocol.Setup
}

// Radius is the socket of the RADIUS server that every pppd asks, and the secret that it was told.
type Radius struct {
	Conn   *net.UDPConn
	Secret string
}

func newConn(conn *net.UnixConn) *Conn {
	c := &Conn{
		t:         protocol.NewTransport(conn, protocol.MaxReply, protocol.MaxReplyFiles),
		done:      make(chan struct{}),
		pending:   make(map[uint32]chan protocol.Message),
		processes: make(map[string]*Process),
		exits:     make(map[string]protocol.Process),
	}
	c.events = newEvents()
	go c.read()
	return c
}

// Welcome returns what the keeper said of itself.
func (c *Conn) Welcome() Welcome { return c.welcomed }

// welcome takes the reply to Hello.
func (c *Conn) welcome(m protocol.Message) error {
	defer m.Close()
	var w protocol.Welcome
	if err := protocol.Unmarshal(m.Body, &w); err != nil {
		return err
	}
	c.welcomed = Welcome{Protocol: w.Protocol, Build: w.Build, PID: w.PID, ForServe: w.ForServe, Setup: w.Setup}
	if len(m.Files) != 1 {
		return fmt.Errorf("%w: a welcome with %d files", protocol.ErrMalformed, len(m.Files))
	}
	conn, err := net.FilePacketConn(m.Files[0])
	if err != nil {
		return fmt.Errorf("take over the socket of RADIUS: %w", err)
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return errors.Join(fmt.Errorf("%w: the socket of RADIUS is none of UDP", protocol.ErrMalformed), conn.Close())
	}
	c.welcomed.Radius = Radius{Conn: udp, Secret: w.Secret}
	return nil
}

// Done is closed when the keeper has gone, or Close was called.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection has ended, and nil before; after Close it is net.ErrClosed.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection, and no session. What was asked for before has its effect.
func (c *Conn) Close() error {
	err := c.t.Close()
	<-c.done
	c.events.close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// read hands over what the keeper says, until it has gone.
func (c *Conn) read() {
	defer close(c.done)
	for {
		m, err := c.t.Read()
		if err != nil {
			c.end(err)
			return
		}
		switch m.Kind {
		case protocol.Reply:
			c.mu.Lock()
			reply := c.pending[m.ID]
			delete(c.pending, m.ID)
			c.mu.Unlock()
			if reply == nil {
				m.Close() // who asked waits no more
				continue
			}
			reply <- m
		case protocol.Event:
			m.Close()
			if m.Op == protocol.OpPPPEnded {
				c.ended(m)
				continue
			}
			c.events.add(m)
		default:
			m.Close()
		}
	}
}

// end fails everything that waits.
func (c *Conn) end(err error) {
	switch {
	case errors.Is(err, net.ErrClosed):
		c.err = net.ErrClosed
	case errors.Is(err, io.EOF):
		c.err = ErrGone
	default:
		c.err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	_ = c.t.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, reply := range c.pending {
		close(reply)
	}
	c.pending = nil
	for _, p := range c.processes {
		p.lost(c.err)
	}
}

// send asks for something. The reply comes on the channel, which is closed without one if the keeper goes.
func (c *Conn) send(op protocol.Op, body any, files []*os.File) (uint32, chan protocol.Message, error) {
	b, err := protocol.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	if len(b) > protocol.MaxRequest {
		return 0, nil, fmt.Errorf("ask the keeper to %s: %d octets are too much", op, len(b))
	}
	reply := make(chan protocol.Message, 1)
	c.mu.Lock()
	if c.pending == nil {
		c.mu.Unlock()
		<-c.done
		return 0, nil, c.err
	}
	if c.last++; c.last == 0 {
		c.last++
	}
	id := c.last
	c.pending[id] = reply
	c.mu.Unlock()
	if err := c.t.Write(protocol.Message{Kind: protocol.Request, Op: op, ID: id, Body: b, Files: files}); err != nil {
		c.forget(id)
		return 0, nil, c.writeError(op, err)
	}
	return id, reply, nil
}

func (c *Conn) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// writeError explains why nothing could be written.
func (c *Conn) writeError(op protocol.Op, err error) error {
	select {
	case <-c.done:
		return fmt.Errorf("ask the keeper to %s: %w", op, c.err)
	default:
		return fmt.Errorf("ask the keeper to %s: %w: %w", op, ErrGone, err)
	}
}

// call asks and waits for the reply, whose files are the caller's. A failure in the keeper is a *protocol.Error. If ctx ends before, the
// request has its effect all the same.
func (c *Conn) call(ctx context.Context, op protocol.Op, body any, files []*os.File) (protocol.Message, error) {
	id, reply, err := c.send(op, body, files)
	if err != nil {
		return protocol.Message{}, err
	}
	select {
	case m, ok := <-reply:
		if !ok {
			<-c.done
			return protocol.Message{}, fmt.Errorf("ask the keeper to %s: %w", op, c.err)
		}
		if !m.Failed {
			return m, nil
		}
		m.Close()
		failure := &protocol.Error{}
		if err := protocol.Unmarshal(m.Body, failure); err != nil {
			return protocol.Message{}, err
		}
		return protocol.Message{}, failure
	case <-ctx.Done():
		c.forget(id)
		select {
		case m, ok := <-reply: // it has come meanwhile
			if ok {
				m.Close()
			}
		default:
		}
		return protocol.Message{}, fmt.Errorf("ask the keeper to %s: %w", op, ctx.Err())
	}
}

// do is call for requests whose replies say nothing.
func (c *Conn) do(op protocol.Op, body any) error {
	m, err := c.call(context.Background(), op, body, nil)
	m.Close()
	return err
}

// ask is call for requests whose replies have no files. There is no limit to the time: the keeper answers or goes.
func ask[T any](c *Conn, op protocol.Op, body any) (T, error) {
	var out T
	m, err := c.call(context.Background(), op, body, nil)
	if err != nil {
		return out, err
	}
	m.Close()
	return out, protocol.Unmarshal(m.Body, &out)
}

// askFile is call for requests whose replies are one file.
func (c *Conn) askFile(op protocol.Op, body any) (*os.File, error) {
	m, err := c.call(context.Background(), op, body, nil)
	if err != nil {
		return nil, err
	}
	if len(m.Files) != 1 {
		m.Close()
		return nil, fmt.Errorf("%w: %d files in the reply to %s", protocol.ErrMalformed, len(m.Files), op)
	}
	return m.Files[0], nil
}

// tell sends a request that gets no reply.
func (c *Conn) tell(op protocol.Op, body any) error {
	b, err := protocol.Marshal(body)
	if err != nil {
		return err
	}
	if err := c.t.Write(protocol.Message{Kind: protocol.Request, Op: op, Body: b}); err != nil {
		return c.writeError(op, err)
	}
	return nil
}
