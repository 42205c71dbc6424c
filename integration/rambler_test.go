//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/fleet"
	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

// A rambler is a client of a random walk.
type rambler interface {
	user() string
	indoors() bool // behind the NAT

	connect(context.Context) (netip.Addr, error)
	disconnect(context.Context) error
	// over returns when the client has been told that its session is over, and puts away what is left of it.
	over(ctx context.Context, limit time.Duration) error
	// told says why the session is over, nil if it is not known to be.
	told() error
	// renew does what the user of such a client would do when nothing gets through any more.
	renew(context.Context) error

	// watch counts pings from now on, and lost says how many of them were not answered in the end.
	watch(context.Context) error
	lost() (int, error)
	// answered says whether a ping gets through now.
	answered(context.Context) (bool, error)
}

// member is a rambler of a fleet.
type member struct {
	fleet   *fleet.Fleet
	space   *lab.Namespace
	address netip.Addr
	name    string
	home    bool

	client *fleet.Client
	stop   func() // ends the pings
}

func (m *member) user() string  { return m.name }
func (m *member) indoors() bool { return m.home }

func (m *member) connect(ctx context.Context) (address netip.Addr, err error) {
	err = m.space.Do(func() (err error) {
		m.client, err = m.fleet.Connect(ctx, m.address, m.name, password(m.name))
		return err
	})
	if err != nil {
		return address, err
	}
	address, err = m.client.Address()
	client, done, ended := m.client, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for t := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-done:
				t.Stop()
				return
			case <-t.C:
				client.Ping()
			}
		}
	}()
	m.stop = func() { close(done); <-ended }
	return address, err
}

func (m *member) disconnect(context.Context) error {
	m.stop()
	return m.fleet.Disconnect(m.client)
}

func (m *member) told() error { return m.fleet.Ended(m.client) }

func (m *member) over(ctx context.Context, limit time.Duration) error {
	err := lab.Until(ctx, limit, m.name+" is told of the end", func() error {
		if m.told() == nil {
			return errors.New("it believes that it is connected")
		}
		return nil
	})
	return errors.Join(err, m.disconnect(ctx))
}

func (m *member) renew(context.Context) error { return nil } // it does so by itself

func (m *member) watch(context.Context) error {
	m.client.Forget()
	return nil
}

func (m *member) lost() (n int, err error) {
	until := time.Now()
	for end := until.Add(lateLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if n = m.client.Unanswered(until); n == 0 {
			return 0, nil
		}
	}
	return n, nil
}

func (m *member) answered(context.Context) (bool, error) {
	before := m.client.Answered()
	for range 50 {
		if time.Sleep(20 * time.Millisecond); m.client.Answered() > before {
			return true, nil
		}
	}
	return false, nil
}

// swan is a rambler with strongSwan and xl2tpd.
type swan struct {
	*lab.Client
	home   bool
	stream *lab.PingStream
}

func (s *swan) user() string  { return s.Options.User }
func (s *swan) indoors() bool { return s.home }

func (s *swan) connect(ctx context.Context) (netip.Addr, error) { return s.Connect(ctx) }

func (s *swan) disconnect(ctx context.Context) error {
	return errors.Join(s.unwatch(), s.Disconnect(ctx))
}

func (s *swan) told() error {
	links, err := s.Links("ppp")
	if err == nil && len(links) == 0 {
		err = errors.New("it has no PPP link")
	}
	return err
}

// over also ends what may be left of the tunnel, of which xl2tpd learns only when it uses it.
func (s *swan) over(ctx context.Context, _ time.Duration) error {
	return errors.Join(s.unwatch(), s.WaitDown(ctx), s.IPsecDown(ctx), s.Restart(ctx))
}

func (s *swan) renew(ctx context.Context) error { return s.IPsecUp(ctx) }

func (s *swan) watch(ctx context.Context) (err error) {
	if err := s.unwatch(); err != nil {
		return err
	}
	s.stream, err = s.PingContinuously(ctx, inner, 5)
	return err
}

func (s *swan) unwatch() error {
	if s.stream == nil {
		return nil
	}
	stream := s.stream
	s.stream = nil
	return stream.Abandon()
}

func (s *swan) lost() (int, error) {
	if s.stream == nil {
		return 0, nil
	}
	pings, err := s.stream.Stop(1)
	s.stream = nil
	return pings.Lost(), err
}

func (s *swan) answered(ctx context.Context) (bool, error) {
	pings, err := s.PingInVain(ctx, inner, 1)
	return pings.Received > 0, err
}

// fate is what a step of the walk means for a client.
type fate int

const (
	undisturbed fate = iota // loses nothing
	shaken                  // loses pings, and nothing else
	ended                   // is told that its session is over
)

func (f fate) String() string { return [...]string{"undisturbed", "shaken", "ended"}[f] }

// walker is a rambler, and what the walk knows of it.
type walker struct {
	rambler
	up      bool
	session control.Session
	fate    fate
	losses  []time.Time // of SAs: a client of a fleet negotiates anew only so often in a minute
}

func (w *walker) String() string { return fmt.Sprintf("%s (%s)", w.user(), w.session.ID) }

// suffer makes the fate worse.
func (w *walker) suffer(f fate) { w.fate = max(w.fate, f) }
