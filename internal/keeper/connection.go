package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
)

// helloWait is how long somebody who has connected may take to say hello.
const helloWait = 10 * time.Second

const (
	// maxLong is how many requests may be done beside the others; more wait, and what comes after them too.
	maxLong = 4096
	// maxLongBody is how many octets such a request may have: those of a setup with thousands of peers.
	maxLongBody = 64 << 10
)

// connection is the daemon.
type connection struct {
	k      *Keeper
	t      *protocol.Transport
	out    *outbox
	pid    int
	build  string
	weak   bool            // it had no privileges when it said hello
	ctx    context.Context // done when the daemon has gone
	cancel context.CancelFunc
	long   sync.WaitGroup // requests that are done beside the others
	places chan struct{}  // has one for each of them
	gone   chan struct{}  // closed when everything of it has ended
	pauses chan *pausing  // wishes
}

// newConnection is of a daemon that has said hello.
func newConnection(k *Keeper, t *protocol.Transport, pid int, build string) *connection {
	c := &connection{k: k, t: t, out: newOutbox(t), pid: pid, build: build, gone: make(chan struct{}), pauses: make(chan *pausing, 1), places: make(chan struct{}, maxLong)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// request is what a handler is told of.
type request struct {
	conn  *connection
	op    protocol.Op
	body  []byte
	files []*os.File
}

// reply is what a handler answers; the files are closed when they are sent.
type reply struct {
	body  any
	files []*os.File
}

// serve is for one connection, from the greeting to its end.
func (k *Keeper) serve(conn *net.UnixConn) {
	t := protocol.NewTransport(conn, protocol.MaxRequest, protocol.MaxRequestFiles)
	peer, err := credentials(conn)
	if err != nil || int(peer.Uid) != os.Geteuid() {
		k.log.Warn("somebody else has connected to the keeper's socket", zap.Error(err))
		_ = t.Close()
		return
	}
	c, err := k.greet(t, int(peer.Pid))
	if err != nil {
		k.log.Debug("a connection was turned away", zap.Int32("pid", peer.Pid), zap.Error(err))
		_ = t.Close()
		return
	}
	k.log.Info("a daemon has connected", zap.Int("pid", c.pid), zap.String("build", c.build))
	c.run()
}

// greet answers hello until one is good.
func (k *Keeper) greet(t *protocol.Transport, pid int) (*connection, error) {
	_ = t.Conn().SetDeadline(time.Now().Add(k.helloWait))
	for {
		m, err := t.Read()
		if err != nil {
			return nil, err
		}
		m.Close()
		if m.Kind != protocol.Request || m.Op != protocol.OpHello {
			return nil, fmt.Errorf("%w: %s before hello", protocol.ErrMalformed, m.Op)
		}
		var hello protocol.Hello
		if err := protocol.Unmarshal(m.Body, &hello); err != nil {
			return nil, err
		}
		answer := protocol.Message{Kind: protocol.Reply, Op: m.Op, ID: m.ID}
		c, welcome, refused := k.admit(t, hello, pid)
		if refused != nil {
			k.log.Info("a daemon was not admitted", zap.Int("pid", pid), zap.String("build", hello.Build), zap.Error(refused))
			answer.Failed = true
			if answer.Body, err = protocol.Marshal(refused); err == nil {
				err = t.Write(answer)
			}
			if err != nil {
				return nil, err
			}
			continue // it may know an older version
		}
		if answer.Body, err = protocol.Marshal(welcome); err == nil {
			answer.Files = []*os.File{k.radius}
			err = t.Write(answer)
		}
		if err != nil {
			k.release(c)
			return nil, err
		}
		_ = t.Conn().SetDeadline(time.Time{})
		return c, nil
	}
}

// admit makes a connection the daemon's, if it may be. What waits at the door while the keeper becomes another program knocks again there.
func (k *Keeper) admit(t *protocol.Transport, hello protocol.Hello, pid int) (*connection, protocol.Welcome, *protocol.Error) {
	refusal := &protocol.Refusal{Build: k.cfg.Build}
	if hello.Protocol < protocol.Oldest || hello.Protocol > protocol.Current {
		refusal.Oldest, refusal.Newest = protocol.Oldest, protocol.Current
		return nil, protocol.Welcome{}, &protocol.Error{
			Text: fmt.Sprintf("the keeper speaks versions %d to %d of the protocol, and the daemon version %d", protocol.Oldest, protocol.Current, hello.Protocol), Refusal: refusal,
		}
	}
	k.door.RLock()
	defer k.door.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopping {
		return nil, protocol.Welcome{}, protocol.ErrorOf(protocol.ErrStopping)
	}
	if k.daemon != nil {
		refusal.BusyWith = k.daemon.pid
		return nil, protocol.Welcome{}, &protocol.Error{Text: fmt.Sprintf("process %d is connected to the keeper", k.daemon.pid), Refusal: refusal}
	}
	c := newConnection(k, t, pid, hello.Build)
	c.weak = powerless(pid)
	k.daemon = c
	k.changed()
	w := protocol.Welcome{Protocol: hello.Protocol, Build: k.cfg.Build, PID: os.Getpid(), ForServe: k.cfg.ForServe, Secret: k.secret}
	if k.machine != nil {
		setup := k.machine.settings()
		w.Setup = &setup
	}
	return c, w, nil
}

// release makes room for the next daemon.
func (k *Keeper) release(c *connection) {
	c.cancel()
	_ = c.t.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.daemon == c {
		k.daemon = nil
	}
	k.changed()
	close(c.gone)
}

// run does what the daemon asks for, until it has gone. Then everything that it asked for has been done.
func (c *connection) run() {
	go c.out.run()
	err := c.read()
	c.cancel()
	c.long.Wait()
	_ = c.t.Conn().SetWriteDeadline(time.Now().Add(time.Second)) // what waits for a daemon that has not gone but talks nonsense
	c.out.close()
	if err != nil {
		c.k.log.Warn("the connection of the daemon was closed", zap.Int("pid", c.pid), zap.Error(err))
	} else {
		c.k.log.Info("the daemon has gone", zap.Int("pid", c.pid))
	}
	c.k.release(c)
}

// read takes requests until the daemon has gone or is not to be heard any more, for which it returns nil.
func (c *connection) read() error {
	for {
		m, err := c.t.Read()
		switch {
		case errors.Is(err, protocol.ErrInterrupted) && c.paused():
			continue
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, protocol.ErrInterrupted):
			return nil
		case err != nil:
			return err
		case m.Kind != protocol.Request:
			m.Close()
			return fmt.Errorf("%w: kind %d from a daemon", protocol.ErrMalformed, m.Kind)
		}
		r := &request{conn: c, op: m.Op, body: m.Body, files: m.Files}
		if m.Op.Long() {
			if len(m.Body) > maxLongBody {
				m.Close()
				return fmt.Errorf("%w: %d octets to %s", protocol.ErrMalformed, len(m.Body), m.Op)
			}
			c.places <- struct{}{}
			c.long.Go(func() {
				defer func() { <-c.places }()
				c.answer(m.ID, r)
			})
			continue
		}
		c.answer(m.ID, r)
	}
}

// answer does what a request asks for, and replies.
func (c *connection) answer(id uint32, r *request) {
	got, err := c.k.perform(c.ctx, r)
	for _, f := range r.files {
		_ = f.Close() // who keeps it has a copy
	}
	clear(r.body) // there may be keys in it
	if err != nil {
		c.k.log.Debug("a request failed", zap.Stringer("request", r.op), zap.Error(err))
	}
	if id == 0 {
		closeFiles(got.files)
		return
	}
	m := protocol.Message{Kind: protocol.Reply, Op: r.op, ID: id, Files: got.files}
	if err == nil {
		m.Body, err = protocol.Marshal(got.body)
	}
	if err != nil {
		m.Close()
		m.Failed = true
		m.Body, _ = protocol.Marshal(protocol.ErrorOf(err)) // strings and numbers can always be written
	}
	c.out.add(m)
}

// perform calls the handler. A defect in it is an error to the daemon, and no more.
func (k *Keeper) perform(ctx context.Context, r *request) (got reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			k.log.Error("recovered from a panic; please report it", zap.Stringer("request", r.op), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			closeFiles(got.files)
			got, err = reply{}, errors.New("it ended in a panic of the keeper, of which its log says more")
		}
	}()
	do := handlers[r.op]
	if do == nil {
		return reply{}, fmt.Errorf("%s: %w", r.op, protocol.ErrUnknown)
	}
	return do(k, ctx, r)
}

// tell sends an event to the daemon, if there is one.
func (k *Keeper) tell(op protocol.Op, body any) {
	k.mu.Lock()
	c := k.daemon
	k.mu.Unlock()
	if c == nil {
		return
	}
	if b, err := protocol.Marshal(body); err == nil {
		c.out.add(protocol.Message{Kind: protocol.Event, Op: op, Body: b})
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
