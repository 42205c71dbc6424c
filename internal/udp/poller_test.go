package udp

import (
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// blockedPoller has a handler that gives each message to got and then waits for a word of its owner.
func blockedPoller(t *testing.T) (p *Poller, got <-chan received, next chan<- struct{}) {
	t.Helper()
	heard, gate := make(chan received), make(chan struct{})
	p, err := NewPoller(func(slot uint16, remote netip.AddrPort, payload []byte) {
		heard <- received{slot, remote, string(payload)}
		<-gate
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, heard, gate
}

// TestPollerIsFair: a client that floods keeps another waiting for no more than one turn, also while the handler blocks.
func TestPollerIsFair(t *testing.T) {
	p, got, next := blockedPoller(t)
	var clients [3]*halves
	for i := range clients {
		clients[i] = openTestSlot(t, loopback4)
		if err := p.Add(clients[i].slot); err != nil {
			t.Fatal(err)
		}
	}
	first, flooder, quiet := clients[0], clients[1], clients[2]
	a := peer(t, loopback4)
	tell(t, a, first, control("first"))
	if r := <-got; r.slot != first.Local().Port() { // now the poller stands still
		t.Fatalf("received %+v", r)
	}
	const flood = 100
	for range flood {
		tell(t, a, flooder, control("flood"))
	}
	tell(t, a, quiet, control("SCCRQ"))
	tell(t, a, quiet, control("SCCCN"))
	before := 0
	for turn, heard := 1, 0; heard < 2; {
		next <- struct{}{}
		if r := <-got; r.slot == quiet.Local().Port() {
			heard++
			continue
		}
		if before++; before > readsPerEvent*turn {
			t.Fatalf("%d messages of the flood came before the quiet client's", before)
		}
	}
	for range flood - before { // none of the flood is lost either
		next <- struct{}{}
		if r := <-got; r.slot != flooder.Local().Port() {
			t.Fatalf("received %+v", r)
		}
	}
	next <- struct{}{}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if n := p.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

// TestPollerBlockedHandler: nothing but Close waits for the handler, and what was removed or closed is not handed over any more.
func TestPollerBlockedHandler(t *testing.T) {
	p, got, next := blockedPoller(t)
	busy, other := openTestSlot(t, loopback4), openTestSlot(t, loopback4)
	for _, c := range []*halves{busy, other} {
		if err := p.Add(c.slot); err != nil {
			t.Fatal(err)
		}
	}
	a := peer(t, loopback4)
	for range 2 * readsPerEvent {
		tell(t, a, busy, control("flood"))
	}
	<-got // the handler is at work
	if err := busy.Connect(addrOf(a)); err != nil {
		t.Error(err)
	}
	if err := busy.Disconnect(); err != nil {
		t.Error(err)
	}
	p.Remove(busy.slot)
	if err := busy.Close(); err != nil {
		t.Error(err)
	}
	tell(t, a, other, control("hello"))
	next <- struct{}{}
	if r := <-got; r.slot != other.Local().Port() {
		t.Errorf("after the removal: %+v", r)
	}
	for range 2 * readsPerEvent {
		tell(t, a, other, control("unheard"))
	}
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	for p.isOpen() {
		runtime.Gosched()
	}
	next <- struct{}{}
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case r := <-got:
		t.Errorf("after Close: %+v", r)
	}
}

func (p *Poller) isOpen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.closed
}

// TestPollerCounts: a datagram without anything in it gets past a socket without the filter only, but must not be taken for silence.
func TestPollerCounts(t *testing.T) {
	p, got := startPoller(t)
	c := openTestSlot(t, loopback4)
	if err := removeFilter(c.Client.open.fd); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(c.slot); err != nil {
		t.Fatal(err)
	}
	a := peer(t, loopback4)
	tell(t, a, c, nil)
	tell(t, a, c, control("SCCRQ"))
	<-got
	if n := p.Dropped(); n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
}

func removeFilter(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
}
