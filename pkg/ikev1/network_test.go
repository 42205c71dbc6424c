package ikev1_test

import (
	"bytes"
	"container/heap"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/wire"
)

// network joins a world with robots by a path that loses, repeats, delays, reorders and damages messages, in virtual time and from
// one seed.
type network struct {
	*world
	rng                     *rand.Rand
	loss, repeat, damage    float64
	faults                  float64 // of actions
	delay, work             time.Duration
	queue                   schedule
	modes                   map[wire.Cookie]*robotMode
	quicks                  map[uint32]*ikev1test.QuickMode // by the SPI that the server chose
	established, eventsRead int
}

type scheduled struct {
	at    time.Time
	order int
	do    func()
}

type schedule []scheduled

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return s[i].at.Before(s[j].at) || s[i].at.Equal(s[j].at) && s[i].order < s[j].order
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(scheduled)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

func newNetwork(w *world, seed uint64) *network {
	n := &network{world: w, rng: rand.New(rand.NewPCG(seed, 1)), modes: map[wire.Cookie]*robotMode{}, quicks: map[uint32]*ikev1test.QuickMode{}}
	w.hold = func(ikev1.Action) bool { return true }
	w.fault = func(a ikev1.Action) error {
		if _, removal := a.(ikev1.RemoveChild); !removal && n.chance(n.faults) {
			return errors.New("out of luck")
		}
		return nil
	}
	return n
}

func (n *network) chance(p float64) bool { return n.rng.Float64() < p }

// within is a random time of at most d.
func (n *network) within(d time.Duration) time.Duration {
	return time.Duration(n.rng.Int64N(int64(d) + 1))
}

var order int

// after schedules something.
func (n *network) after(d time.Duration, do func()) {
	order++
	heap.Push(&n.queue, scheduled{n.now.Add(d), order, do})
}

// run lets everything happen until nothing is scheduled and the time is over.
func (n *network) run(d time.Duration) {
	n.t.Helper()
	end := n.now.Add(d)
	for steps := 0; ; steps++ {
		if steps > 1_000_000 {
			n.t.Fatal("the dialogue does not come to an end")
		}
		next := n.engine.Next()
		mine := len(n.queue) > 0 && (next.IsZero() || !next.Before(n.queue[0].at))
		if mine {
			next = n.queue[0].at
		}
		if next.IsZero() || next.After(end) {
			n.now = end
			return
		}
		if next.After(n.now) {
			n.now = next
		}
		if mine {
			heap.Pop(&n.queue).(scheduled).do()
		} else {
			n.absorb(n.engine.Advance(n.now))
		}
		n.flush()
	}
}

// flush sends what the engine said, reports what it asked for after a while, and checks what it claims.
func (n *network) flush() {
	for _, d := range n.take() {
		n.carry(d.Payload, func(b []byte, damaged bool) { n.toRobot(b, damaged) })
	}
	for _, r := range n.held {
		n.after(n.within(n.work), func() { n.absorb(n.engine.Complete(n.now, r.id, r.value)) })
	}
	n.held = nil
	for _, e := range n.events[n.eventsRead:] {
		up, ok := e.(ikev1.ChildEstablished)
		if !ok {
			continue
		}
		n.established++
		q := n.quicks[up.SPIIn]
		if q == nil {
			n.t.Errorf("a child is established that no client knows: %v", up)
		} else if _, still := n.inbound[up.SPIIn]; still {
			if err := n.agree(q, true); err != nil {
				n.t.Errorf("%v: %v", up, err)
			}
		}
	}
	n.eventsRead = len(n.events)
}

// carry delivers a message never, once or twice, each time with another delay.
func (n *network) carry(payload []byte, deliver func(b []byte, damaged bool)) {
	for copies := 1; copies > 0; copies-- {
		if n.chance(n.repeat) {
			copies++
		}
		if n.chance(n.loss) {
			continue
		}
		b, damaged := bytes.Clone(payload), n.chance(n.damage)
		if damaged {
			b[n.rng.IntN(len(b))] ^= byte(1 + n.rng.IntN(255))
		}
		n.after(n.within(n.delay), func() { deliver(b, damaged) })
	}
}

// toServer sends a message from where p is now.
func (n *network) toServer(p *ikev1test.Peer, payload []byte) {
	local, remote, encapsulated := p.Server, p.Addr, p.Encapsulated
	n.carry(payload, func(b []byte, _ bool) {
		n.absorb(n.engine.Handle(n.now, ikev1.Datagram{Local: local, Remote: remote, Encapsulated: encapsulated, Payload: b}))
	})
}

// toRobot gives a message to the Main Mode that it belongs to.
func (n *network) toRobot(b []byte, damaged bool) {
	h, err := wire.ParseHeader(b)
	if err != nil {
		return
	}
	if m := n.modes[h.InitiatorCookie]; m != nil {
		m.receive(h, b, damaged)
	}
}

// robot is a client that connects, makes children, rekeys and hangs up, whatever the network does.
type robot struct {
	n        *network
	home     ikev1test.Peer // where it starts
	modes    []*robotMode
	restarts int
	rekeys   int
	children int // to be made in each ISAKMP SA
	done     bool
}

// robotMode is one Main Mode of a robot and its ISAKMP SA.
type robotMode struct {
	*ikev1test.MainMode
	r      *robot
	state  byte // the message that it waits for: 2, 4, 6; 0 when it is up; 'x' when it is given up
	quicks map[uint32]*robotQuick
	nextID uint32
}

type robotQuick struct {
	*ikev1test.QuickMode
	three []byte // set when message 2 came
}

func (n *network) robot(number uint64, natted bool) *robot {
	p := newPeer(number)
	if natted {
		p.BehindNAT(uint16(1024+n.rng.IntN(60000)), uint16(1024+n.rng.IntN(60000)))
	}
	if n.chance(0.5) {
		p.VendorIDs = append(p.VendorIDs, ikev1test.VendorDPD)
	}
	r := &robot{n: n, home: *p, rekeys: n.rng.IntN(3), children: 1 + n.rng.IntN(3)}
	n.after(n.within(10*time.Second), r.connect)
	return r
}

func (r *robot) connect() {
	if r.done {
		return
	}
	p := r.home
	m := &robotMode{MainMode: p.MainMode(), r: r, state: 2, quicks: map[uint32]*robotQuick{}, nextID: 1}
	r.modes = append(r.modes, m)
	r.n.modes[m.CookieI] = m
	m.send(m.Message1(), m.state)
}

// send repeats a message until the state changes, a few times; then the Main Mode is given up.
func (m *robotMode) send(b []byte, state byte) {
	tries := 0
	var again func()
	again = func() {
		switch {
		case m.state != state || m.r.done:
		case tries == 8:
			m.state = 'x'
			if m.r.restarts++; m.r.restarts <= 3 {
				m.r.n.after(time.Second, m.r.connect)
			}
		default:
			tries++
			m.r.n.toServer(m.Peer, b)
			m.r.n.after(time.Second+m.r.n.within(2*time.Second), again)
		}
	}
	again()
}

func (m *robotMode) receive(h wire.Header, b []byte, damaged bool) {
	n := m.r.n
	check := func(err error) bool {
		if err != nil && !damaged && n.damage == 0 {
			n.t.Errorf("waiting for %d: %v", m.state, err)
		}
		return err == nil
	}
	encrypted := h.Flags&wire.FlagEncryption != 0
	switch {
	case h.Exchange == wire.ExchangeMain && !encrypted && h.NextPayload == wire.PayloadSA && m.state == 2:
		if check(m.TakeMessage2(b)) {
			m.state = 4
			m.send(m.Message3(), m.state)
		}
	case h.Exchange == wire.ExchangeMain && !encrypted && h.NextPayload == wire.PayloadKE && m.state == 4:
		if check(m.TakeMessage4(b)) {
			m.state = 6
			m.send(m.Message5(), m.state)
		}
	case h.Exchange == wire.ExchangeMain && encrypted && m.state == 6:
		if check(m.TakeMessage6(b)) {
			m.state = 0
			m.up()
		}
	case h.Exchange == wire.ExchangeQuick && m.state == 0:
		if q := m.quicks[h.MessageID]; q != nil {
			m.receiveQuick(q, b, check)
		}
	case h.Exchange == wire.ExchangeInformational && encrypted && m.state == 0:
		if payloads, err := m.OpenInformational(b); check(err) && payloads[0].Kind == wire.PayloadNotification {
			if ask, err := wire.ParseNotification(payloads[0].Body); err == nil && ask.Kind == wire.NotifyRUThere && !m.r.done {
				ack := ask
				ack.Kind = wire.NotifyRUThereAck
				n.toServer(m.Peer, m.Informational(ack))
			}
		}
	}
}

func (m *robotMode) receiveQuick(q *robotQuick, b []byte, check func(error) bool) {
	n := m.r.n
	if q.three == nil {
		if !check(q.TakeMessage2(b)) {
			return
		}
		n.quicks[q.Theirs] = q.QuickMode
		if _, installed := n.inbound[q.Theirs]; installed {
			if err := n.agree(q.QuickMode, false); err != nil {
				n.t.Errorf("message 2 was sent for an SA that differs: %v", err)
			}
		}
		q.three = q.Message3()
		n.after(n.within(5*time.Second), m.another)
	}
	n.toServer(m.Peer, q.three)
}

// up begins the work of a new ISAKMP SA, and plans its end.
func (m *robotMode) up() {
	r := m.r
	if r.n.chance(0.3) {
		r.n.toServer(m.Peer, m.Informational(m.InitialContact()))
	}
	r.n.after(r.n.within(2*time.Second), m.another)
	r.n.after(20*time.Second+r.n.within(3*time.Minute), func() {
		if r.rekeys > 0 {
			r.rekeys--
			r.connect()
			return
		}
		r.hangUp()
	})
}

// another begins a Quick Mode, unless there are enough.
func (m *robotMode) another() {
	if len(m.quicks) >= m.r.children || m.r.done {
		return
	}
	q := &robotQuick{QuickMode: m.QuickMode(m.nextID)}
	m.quicks[m.nextID] = q
	m.nextID++
	b, tries := q.Message1(), 0
	var again func()
	again = func() {
		if q.three == nil && tries < 8 && !m.r.done {
			tries++
			m.r.n.toServer(m.Peer, b)
			m.r.n.after(time.Second+m.r.n.within(2*time.Second), again)
		}
	}
	again()
}

// hangUp deletes everything; the messages may be lost like any other.
func (r *robot) hangUp() {
	r.done = true
	for _, m := range r.modes {
		if m.state != 0 {
			continue
		}
		for id := uint32(1); id < m.nextID; id++ {
			r.n.toServer(m.Peer, m.Informational(m.quicks[id].DeleteESP()))
		}
		// The network would let it overtake the others.
		r.n.after(5*time.Second, func() { r.n.toServer(m.Peer, m.Informational(m.DeleteISAKMP())) })
	}
}
