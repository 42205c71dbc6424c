//go:build kernel

package l2tpnl

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// watch opens a Monitor in the thread's namespace and collects its events.
func watch(t *testing.T) (*Monitor, <-chan Event) {
	t.Helper()
	m, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan Event, 100)
	go func() {
		defer close(events)
		for {
			got, err := m.Receive()
			if err != nil {
				if !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
				return
			}
			for _, e := range got {
				events <- e
			}
		}
	}()
	t.Cleanup(func() {
		_ = m.Close()
		for range events {
		}
	})
	return m, events
}

func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(patience):
		t.Fatalf("no event in %v", patience)
		return nil
	}
}

func TestKernelMonitor(t *testing.T) {
	c := namespace(t)
	_, events := watch(t)
	_, fd := socket(t, net.IPv4(127, 0, 0, 1), 16400, 1701)
	if err := c.CreateTunnel(Tunnel{ID: 16400, PeerID: 7, FD: fd}); err != nil {
		t.Fatal(err)
	}
	e, ok := next(t, events).(TunnelEvent)
	if !ok || e.Change != Created || e.Tunnel.ID != 16400 || e.Tunnel.PeerID != 7 || e.Tunnel.Local.Port() != 16400 || e.Tunnel.Remote.Port() != 1701 {
		t.Errorf("after creating the tunnel: %+v", e)
	}
	if err := c.CreateSession(Session{TunnelID: 16400, ID: 5, PeerID: 6, LNSMode: true}); err != nil {
		t.Fatal(err)
	}
	s, ok := next(t, events).(SessionEvent)
	if !ok || s.Change != Created || s.Session.TunnelID != 16400 || s.Session.ID != 5 || s.Session.PeerID != 6 || !s.Session.LNSMode {
		t.Errorf("after creating the session: %+v", s)
	}
	if err := c.DeleteSession(16400, 5); err != nil {
		t.Fatal(err)
	}
	if s, ok = next(t, events).(SessionEvent); !ok || s.Change != Deleted || s.Session.ID != 5 {
		t.Errorf("after deleting the session: %+v", s)
	}
	// Neither what a PPPoL2TP socket makes nor what ends with a tunnel is told: the next event is the tunnel's end.
	f, err := OpenSession(16400, 8, 7, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.DeleteTunnel(16400); err != nil {
		t.Fatal(err)
	}
	if e, ok = next(t, events).(TunnelEvent); !ok || e.Change != Deleted || e.Tunnel.ID != 16400 {
		t.Errorf("after deleting the tunnel: %+v", e)
	}
	eventually(t, "the tunnel is gone", func() bool { _, err := c.Tunnel(16400); return errors.Is(err, os.ErrNotExist) })
	select {
	case e := <-events:
		t.Errorf("one event too many: %+v", e)
	case <-time.After(50 * time.Millisecond):
	}
}

// TestKernelMonitorOverrun lets a Monitor read nothing: it is told so, later events arrive, and those who make tunnels do not notice.
func TestKernelMonitorOverrun(t *testing.T) {
	c := namespace(t)
	m, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.c.SetReadBuffer(2048); err != nil {
		t.Fatal(err)
	}
	_, fd := socket(t, net.IPv4(127, 0, 0, 1), 16401, 1701)
	if err := c.CreateTunnel(Tunnel{ID: 16401, PeerID: 7, FD: fd}); err != nil {
		t.Fatal(err)
	}
	const sessions = 100
	for i := range uint32(sessions) {
		if err := c.CreateSession(Session{TunnelID: 16401, ID: i + 1, PeerID: i + 1}); err != nil {
			t.Fatalf("session %d: %v", i+1, err)
		}
	}
	if got, err := c.Sessions(); err != nil || len(got) != sessions {
		t.Errorf("%d sessions, %v", len(got), err)
	}
	told := 0
	for {
		events, err := m.Receive()
		if errors.Is(err, ErrOverrun) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		told += len(events)
	}
	if told == 0 || told > sessions/2 {
		t.Errorf("%d events of %d before the overrun, in a buffer for a few", told, sessions+1)
	}
	if err := c.DeleteTunnel(16401); err != nil {
		t.Fatal(err)
	}
	events, err := m.Receive()
	if err != nil || len(events) != 1 {
		t.Fatalf("%v, %v", events, err)
	}
	if e, ok := events[0].(TunnelEvent); !ok || e.Change != Deleted || e.Tunnel.ID != 16401 {
		t.Errorf("the first event after the overrun: %+v", events[0])
	}
}
