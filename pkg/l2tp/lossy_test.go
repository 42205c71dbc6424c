package l2tp

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/l2tp/l2tptest"
)

// happening is one thing that will happen at a time of the simulation.
type happening struct {
	at  time.Time
	seq int
	do  func()
}

type agenda []happening

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at.Before(a[j].at) || a[i].at.Equal(a[j].at) && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(happening)) }
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

// world is an engine, several clients in a few slots, a kernel that takes its time, and a network that loses, doubles and
// reorders, all in virtual time.
type world struct {
	t          *testing.T
	rng        *rand.Rand
	now        time.Time
	seq        int
	agenda     agenda
	e          *Engine
	kernel     *kernelModel
	loss, dup  float64
	kernelFail float64
	calm       bool // nobody but the clients has a reason to end anything

	clients map[netip.AddrPort]*l2tptest.LAC
	tunnels map[uint16]string // reported state by slot
	calls   map[[2]uint16]string
	ups     int

	cfg      Config
	rand     io.Reader // of the engines
	restarts float64   // probability that an engine does not survive a call
	engines  int       // that there were before this one
	records  records
	numbers  map[connection]*numbering
	said     map[*l2tptest.LAC]uint16 // next Ns of each client
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.agenda, happening{w.now.Add(d), w.seq, do})
}

// carry takes a packet through the network.
func (w *world) carry(deliver func()) {
	if w.rng.Float64() < w.loss {
		return
	}
	w.after(time.Duration(w.rng.IntN(80))*time.Millisecond, deliver)
	if w.rng.Float64() < w.dup {
		w.after(time.Duration(w.rng.IntN(3000))*time.Millisecond, deliver)
	}
}

// take does what the engine asks for, in the order that Output demands, unless the engine's life ends in between.
func (w *world) take(out Output) {
	end := w.fate()
	if end == beforeActions {
		w.restart(end)
		return
	}
	for _, a := range out.Actions {
		w.perform(a, w.kernel.perform)
	}
	if end == beforeRecords {
		w.restart(end)
		return
	}
	w.records.take(w.t, out)
	w.records.check(w.t, w.e)
	w.checkNumbers(out.Send)
	if end == beforeSend {
		w.restart(end)
		return
	}
	for _, d := range out.Send {
		w.carry(func() {
			if c := w.clients[d.Remote]; c != nil {
				c.Receive(w.now, d.Payload)
				w.drain(d.Remote, d.Tunnel)
			}
		})
	}
	if end == beforeEvents {
		w.restart(end)
		return
	}
	for _, e := range out.Events {
		w.record(e)
	}
}

// perform does an action, which takes a while.
func (w *world) perform(a Action, do func(Action, error) error) {
	var fail error
	if _, create := a.(CreateTunnel); create || fmt.Sprintf("%T", a) == "l2tp.CreateSession" {
		if w.rng.Float64() < w.kernelFail {
			fail = errKernel
		}
	}
	err := do(a, fail)
	engine := w.engines
	w.after(time.Duration(w.rng.IntN(300))*time.Millisecond, func() {
		if engine == w.engines { // otherwise nobody waits for it any more
			w.take(w.e.Complete(w.now, a.Identifier(), err))
		}
	})
}

// record checks that ups and downs alternate.
func (w *world) record(e Event) {
	switch e := e.(type) {
	case TunnelUp:
		if w.tunnels[e.Tunnel] == "up" {
			w.t.Fatalf("%v: is up already", e)
		}
		w.tunnels[e.Tunnel] = "up"
	case TunnelDown:
		if e.Established != (w.tunnels[e.Tunnel] == "up") {
			w.t.Fatalf("%v: established %v, but reported %q", e, e.Established, w.tunnels[e.Tunnel])
		}
		for id := range w.calls {
			if id[0] == e.Tunnel {
				w.t.Fatalf("%v: before its session %v", e, id)
			}
		}
		delete(w.tunnels, e.Tunnel)
	case SessionUp:
		id := [2]uint16{e.Tunnel, e.Session}
		if w.tunnels[e.Tunnel] != "up" || w.calls[id] != "" {
			w.t.Fatalf("%v: tunnel %q, session %q", e, w.tunnels[e.Tunnel], w.calls[id])
		}
		w.calls[id] = "up"
		w.ups++
	case SessionDown:
		id := [2]uint16{e.Tunnel, e.Session}
		if e.Established != (w.calls[id] == "up") {
			w.t.Fatalf("%v: established %v, but reported %q", e, e.Established, w.calls[id])
		}
		if e.Established && !e.ByPeer {
			w.checkUnwanted(e.Tunnel, e.PeerSession, e.Reason)
		}
		delete(w.calls, id)
	}
}

// drain carries what a client has to say, and arms its timer.
func (w *world) drain(from netip.AddrPort, slot uint16) {
	c := w.clients[from]
	for _, payload := range c.Take() {
		w.hear(c, payload)
		w.carry(func() { w.take(w.e.Handle(w.now, Datagram{Tunnel: slot, Remote: from, Payload: payload})) })
	}
}

func (w *world) dial(from netip.AddrPort, slot uint16, c *l2tptest.LAC) {
	w.clients[from] = c
	c.Start(w.now)
	w.drain(from, slot)
	var tick func()
	tick = func() {
		if w.clients[from] != c || c.Done() {
			return
		}
		c.Tick(w.now)
		w.drain(from, slot)
		w.after(50*time.Millisecond, tick)
	}
	w.after(50*time.Millisecond, tick)
}

// run lets everything happen that is due until end.
func (w *world) run(end time.Time) {
	for {
		next := w.e.Next()
		if len(w.agenda) > 0 {
			next = earliest(next, w.agenda[0].at)
		}
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		due := !w.e.Next().IsZero() && !w.e.Next().After(w.now)
		engine := w.engines
		if out := w.e.Advance(w.now); due {
			w.take(out)
		} else if len(out.Actions)+len(out.Records)+len(out.Send)+len(out.Events) > 0 {
			w.t.Fatalf("an early Advance: %+v", out)
		}
		if again := w.e.Next(); engine == w.engines && !again.IsZero() && !again.After(w.now) {
			w.t.Fatalf("deadline %v does not move", again)
		}
		for len(w.agenda) > 0 && !w.agenda[0].at.After(w.now) {
			heap.Pop(&w.agenda).(happening).do()
		}
	}
}

func TestLossyNetwork(t *testing.T) {
	lossyNetwork(t, 200, func(uint64) float64 { return 0 })
}

// TestLossyNetworkWithRestarts is the same with engines that end at any moment of any call.
func TestLossyNetworkWithRestarts(t *testing.T) {
	lossyNetwork(t, 100, func(seed uint64) float64 { return []float64{0.02, 0.1, 0.3}[seed/7%3] })
}

func lossyNetwork(t *testing.T, seeds uint64, restarts func(seed uint64) float64) {
	totalEngines, totalUp, totalCalls := 0, 0, 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var key [32]byte
			key[0], key[1] = byte(seed), byte(seed>>8)
			w := &world{
				t: t, rng: rng, now: epoch, kernel: newKernelModel(t),
				cfg:  Config{MaxSessionsPerTunnel: 8, HelloInterval: 10 * time.Second, Records: true},
				rand: rand.NewChaCha8(key), restarts: restarts(seed),
				records: make(records), numbers: make(map[connection]*numbering), said: make(map[*l2tptest.LAC]uint16),
				loss: []float64{0, 0.05, 0.2, 0.4}[seed%4], dup: []float64{0, 0.1, 0.3}[seed%3],
				clients: make(map[netip.AddrPort]*l2tptest.LAC), tunnels: make(map[uint16]string), calls: make(map[[2]uint16]string),
			}
			w.e, _ = w.records.restore(t, w.now, w.cfg, w.rand)
			if seed%5 == 0 {
				w.kernelFail = 0.1
			}
			w.calm = w.loss < 0.2 && w.kernelFail == 0 && seed%7 != 0
			wanted := 0
			var all []*l2tptest.LAC
			for i := range 3 {
				slot := uint16(slotA + i)
				for attempt := range 1 + rng.IntN(3) { // redials in the same slot
					c := &l2tptest.LAC{
						Tunnel: uint16(1 + rng.IntN(65535)), Window: 1 + rng.IntN(8), Calls: 1 + rng.IntN(4),
						Stay: time.Duration(20+rng.IntN(100)) * time.Second, Vanish: rng.IntN(4) == 0, LazyAck: rng.IntN(2) == 0,
					}
					from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), uint16(1701+rng.IntN(2)*attempt))
					wanted += c.Calls
					all = append(all, c)
					w.after(time.Duration(attempt*180_000+rng.IntN(1000))*time.Millisecond, func() { w.dial(from, slot, c) })
				}
			}
			if seed%7 == 0 { // the operator closes
				w.after(time.Duration(10+rng.IntN(60))*time.Second, func() { w.take(w.e.CloseTunnel(w.now, slotA, Result{Code: 1})) })
				w.after(time.Duration(10+rng.IntN(60))*time.Second, func() { w.take(w.e.Forget(w.now, slotA+1)) })
			}
			w.run(epoch.Add(30 * time.Minute))

			e := w.e
			if len(e.slots) != 0 || len(e.requests) != 0 || !e.Next().IsZero() || len(w.records) != 0 {
				t.Errorf("left: slots %v, requests %v, next %v", e.Tunnels(), e.requests, e.Next())
			}
			if !w.kernel.empty() || len(w.tunnels) != 0 || len(w.calls) != 0 {
				t.Errorf("left: kernel %v %v, reported %v %v", w.kernel.tunnels, w.kernel.sessions, w.tunnels, w.calls)
			}
			for i, c := range all {
				if !c.Done() {
					t.Errorf("client %d hangs: %+v", i, c)
				}
				if c.Failed() && w.calm {
					t.Errorf("client %d failed at a loss of %v: %+v", i, w.loss, c)
				}
			}
			if w.calm && w.ups != wanted {
				t.Errorf("%d sessions of %d came up at a loss of %v", w.ups, wanted, w.loss)
			}
			totalEngines += w.engines
			totalUp += w.ups
			totalCalls += wanted
		})
	}
	t.Logf("%d of %d sessions came up, with %d restarts", totalUp, totalCalls, totalEngines)
	if totalUp < totalCalls*8/10 {
		t.Errorf("%d of %d sessions came up, want 80 %%", totalUp, totalCalls)
	}
}
