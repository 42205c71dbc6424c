package site

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/udp"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// inboxSize bounds what waits for the engine; datagrams that do not fit are lost, as in a full socket buffer.
const inboxSize = 1024

// Site owns an engine. Its methods are safe for concurrent use.
type Site struct {
	engine  *ikev1.Engine
	sockets *udp.IKE
	sas     *xfrm.Conn
	monitor *xfrm.Monitor

	inbox chan func(now time.Time) ikev1.Output // for the loop
	stop  chan struct{}
	loops sync.WaitGroup

	children map[ikev1.ChildID]*child // of the loop

	mu     sync.Mutex
	reqids map[ends]uint32
	events []ikev1.Event
	errs   []error
}

// Open opens UDP ports 500 and 4500 in the namespace of the calling thread, whose SAs are the site's from now on.
func Open(cfg ikev1.Config) (_ *Site, err error) {
	s := &Site{
		inbox: make(chan func(time.Time) ikev1.Output, inboxSize), stop: make(chan struct{}),
		children: make(map[ikev1.ChildID]*child), reqids: make(map[ends]uint32),
	}
	if s.engine, err = ikev1.New(cfg, rand.Reader); err != nil {
		return nil, err
	}
	if s.sas, err = xfrm.Dial(); err != nil {
		return nil, err
	}
	if s.monitor, err = xfrm.NewMonitor(); err != nil {
		return nil, errors.Join(err, s.sas.Close())
	}
	if s.sockets, err = udp.ListenIKE(udp.IKEConfig{}); err != nil {
		return nil, errors.Join(err, s.monitor.Close(), s.sas.Close())
	}
	s.loops.Go(s.run)
	s.loops.Go(func() { s.note(s.sockets.Run(s.take)) })
	s.loops.Go(s.watch)
	return s, nil
}

// Close ends all connections, tells the peers, and closes the sockets. Its error has everything that went wrong while the site was open.
func (s *Site) Close() error {
	<-s.do(s.engine.Shutdown)
	close(s.stop)
	s.note(s.sockets.Close())
	s.note(s.monitor.Close())
	s.loops.Wait()
	s.note(s.sas.Close())
	return errors.Join(s.errs...)
}

// Connect calls a peer.
func (s *Site) Connect(c ikev1.Connection) (id ikev1.ConnectionID, err error) {
	<-s.do(func(now time.Time) (out ikev1.Output) {
		id, out, err = s.engine.Connect(now, c)
		return out
	})
	return id, err
}

// Disconnect ends a connection and tells the peer. It returns when the SAs are gone.
func (s *Site) Disconnect(id ikev1.ConnectionID) {
	<-s.do(func(now time.Time) ikev1.Output { return s.engine.Disconnect(now, id, "the test is over") })
}

// Clients returns the engine's clients.
func (s *Site) Clients() (list []ikev1.ClientInfo) {
	<-s.do(func(time.Time) ikev1.Output {
		list = s.engine.Clients()
		return ikev1.Output{}
	})
	return list
}

// do has the loop call f; the channel is closed when all that f wants is done.
func (s *Site) do(f func(now time.Time) ikev1.Output) <-chan struct{} {
	done := make(chan struct{})
	s.inbox <- func(now time.Time) ikev1.Output {
		s.apply(now, f(now))
		close(done)
		return ikev1.Output{}
	}
	return done
}

// run is the loop, which alone touches the engine.
func (s *Site) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if next := s.engine.Next(); !next.IsZero() {
			timer.Reset(max(0, time.Until(next)))
		}
		select {
		case f := <-s.inbox:
			now := time.Now()
			s.apply(now, f(now))
		case <-timer.C:
			now := time.Now()
			s.apply(now, s.engine.Advance(now))
		case <-s.stop:
			return
		}
	}
}

// take hands a message to the loop.
func (s *Site) take(d udp.Datagram) {
	select {
	case s.inbox <- func(now time.Time) ikev1.Output { return s.engine.Handle(now, ikev1.Datagram(d)) }:
	default:
	}
}

// watch hands what the kernel says about SAs to the loop.
func (s *Site) watch() {
	for {
		events, err := s.monitor.Receive()
		if err != nil {
			select {
			case <-s.stop:
			default:
				s.note(err)
			}
			return
		}
		for _, event := range events {
			select {
			case s.inbox <- func(now time.Time) ikev1.Output { return s.kernelSays(now, event) }:
			case <-s.stop:
				return
			}
		}
	}
}

// apply carries out what the engine asks for: effects first, then the messages that promise them, as the daemon does.
func (s *Site) apply(now time.Time, out ikev1.Output) {
	results := make([]ikev1.Result, len(out.Actions))
	for i, a := range out.Actions {
		results[i] = s.perform(a)
	}
	for _, d := range out.Send {
		s.note(s.sockets.Send(udp.Datagram(d)))
	}
	for _, e := range out.Events {
		if moved, ok := e.(ikev1.ClientMoved); ok {
			s.note(s.follow(moved))
		}
	}
	s.mu.Lock()
	s.events = append(s.events, out.Events...)
	s.mu.Unlock()
	for i, a := range out.Actions {
		s.apply(now, s.engine.Complete(now, a.ActionID(), results[i]))
	}
}

func (s *Site) perform(action ikev1.Action) ikev1.Result {
	switch a := action.(type) {
	case ikev1.ComputeDH:
		return a.Perform()
	case ikev1.Sign:
		return a.Perform(rand.Reader)
	case ikev1.VerifyPeer:
		return a.Perform(context.Background())
	case ikev1.InstallInbound:
		return ikev1.SimpleResult{Err: s.install(a.SA, xfrm.In)}
	case ikev1.InstallOutbound:
		return ikev1.SimpleResult{Err: s.install(a.SA, xfrm.Out)}
	case ikev1.RemoveChild:
		return ikev1.SimpleResult{Err: s.remove(a.Child)}
	}
	return ikev1.SimpleResult{Err: fmt.Errorf("unknown action %T", action)}
}

// note keeps an error for Close.
func (s *Site) note(err error) {
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errs = append(s.errs, err)
	}
}
