package ikev1_test

import (
	"bytes"
	"container/heap"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// pair is two engines and what lies between them, in virtual time. Whatever arrives, and whenever an action is done, is a happening.
type pair struct {
	t    testing.TB
	rng  *rand.Rand
	now  time.Time
	ends [2]*end

	path
	work   time.Duration // the longest time of an action
	faults float64       // the chance that one fails

	slow func(*end, ikev1.Action) time.Duration // how long an action takes beyond that

	watch func(ikev1.Datagram)    // sees each datagram that is sent
	learn func(*end, ikev1.Event) // sees each event

	agenda agenda
	serial int
}

// end is one engine with its kernel.
type end struct {
	*pair
	name   string
	engine *ikev1.Engine
	config ikev1.Config
	source func(io.Reader) io.Reader // stands before the engine's randomness, nil for nothing
	born   int                       // engines that this end has had
	seed   uint64
	random io.Reader // what the engine draws from
	addr   netip.Addr
	nat    *nat // in front of it, nil for none
	deaf   bool // nothing comes through, in either direction
	other  *end

	inbound  map[uint32]ikev1.ChildSA // by SPI
	outbound map[uint32]ikev1.ChildSA
	records  archive
	afterlife
	memories int // times that an engine began without any
	events   []ikev1.Event
	sent     int
}

// happening is something to do at a time.
type happening struct {
	at     time.Time
	serial int
	do     func()
}

type agenda []happening

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at.Before(a[j].at) || a[i].at.Equal(a[j].at) && a[i].serial < a[j].serial
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(happening)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// newPair makes two engines with the same key; adjust changes the configuration of each.
func newPair(t testing.TB, seed uint64, adjust ...func(*ikev1.Config)) *pair {
	t.Helper()
	return newPairOf(t, seed, adjust, adjust)
}

// newPairOf makes two engines that are configured differently.
func newPairOf(t testing.TB, seed uint64, adjust ...[]func(*ikev1.Config)) *pair {
	t.Helper()
	p := &pair{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: start}
	for i, name := range []string{"left", "right"} {
		config := ikev1.Config{PSK: func(netip.Addr, netip.Addr) []byte { return []byte(goodPSK) }, Records: true}
		for _, f := range adjust[i] {
			f(&config)
		}
		p.ends[i] = &end{pair: p, name: name, config: config, addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}
		p.ends[i].begin(seed)
	}
	p.ends[0].other, p.ends[1].other = p.ends[1], p.ends[0]
	return p
}

// begin gives an end an engine and a kernel that know nothing. What was under way for the engine before comes to nothing.
func (e *end) begin(seed uint64) {
	e.t.Helper()
	e.memories++
	e.seed = seed
	e.engine, e.events = e.newEngine(), nil
	e.inbound, e.outbound = map[uint32]ikev1.ChildSA{}, map[uint32]ikev1.ChildSA{}
	e.records, e.inbox, e.down = archive{}, nil, false
}

// newEngine makes an engine whose randomness is its own.
func (e *end) newEngine() *ikev1.Engine {
	e.t.Helper()
	e.born++
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], e.seed)
	key[8], key[9] = e.name[0], byte(e.born)
	var source io.Reader = rand.NewChaCha8(key)
	if e.source != nil {
		source = e.source(source)
	}
	e.random = source
	engine, err := ikev1.New(e.config, source)
	if err != nil {
		e.t.Fatal(err)
	}
	return engine
}

// connection is one from e to the other end.
func (e *end) connection() ikev1.Connection {
	return ikev1.Connection{Local: netip.AddrPortFrom(e.addr, 500), Remote: netip.AddrPortFrom(e.other.outer(), 500)}
}

// connect begins a connection.
func (e *end) connect(c ikev1.Connection) ikev1.ConnectionID {
	e.t.Helper()
	id, out, err := e.engine.Connect(e.now, c)
	if err != nil {
		e.t.Fatal(err)
	}
	e.absorb(out)
	return id
}

func (p *pair) after(d time.Duration, do func()) {
	p.serial++
	heap.Push(&p.agenda, happening{p.now.Add(d), p.serial, do})
}

// upTo returns a random time up to most.
func (p *pair) upTo(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(p.rng.Int64N(int64(most)))
}

// absorb carries out what an engine asks for: actions in their order, each done some time later, and then the messages.
func (e *end) absorb(out ikev1.Output) {
	fate := e.fate()
	for _, a := range out.Actions {
		e.act(a)
	}
	if fate == beforeRecords {
		e.die(true, out.Events...)
		return
	}
	if wrong := e.records.take(e.engine, out); wrong != "" {
		e.t.Fatalf("%s at %v: %s", e.name, e.now.Sub(start), wrong)
	}
	for _, d := range out.Send {
		if fate == beforeSend {
			break
		}
		e.sent++
		if e.watch != nil {
			e.watch(d)
		}
		e.transmit(d)
	}
	e.events = append(e.events, out.Events...)
	if wrong := ikev1.Inconsistencies(e.engine); len(wrong) > 0 {
		e.t.Fatalf("%s at %v: %v", e.name, e.now.Sub(start), wrong)
	}
	if e.learn != nil {
		for _, ev := range out.Events {
			e.learn(e, ev)
		}
	}
	if fate != lives {
		e.die(false)
	}
}

func (e *end) act(a ikev1.Action) {
	var result ikev1.Result = ikev1.SimpleResult{Err: errLuck}
	if _, removal := a.(ikev1.RemoveChild); removal || e.rng.Float64() >= e.faults {
		result = e.perform(a)
	}
	engine := e.engine
	took := e.upTo(e.work)
	if e.slow != nil {
		took += e.slow(e, a)
	}
	e.after(took, func() {
		if e.engine == engine {
			e.absorb(engine.Complete(e.now, a.ActionID(), result))
		}
	})
}

var errLuck = errors.New("out of luck")

func (e *end) perform(a ikev1.Action) ikev1.Result {
	switch a := a.(type) {
	case ikev1.ComputeDH:
		return a.Perform()
	case ikev1.VerifyPeer:
		return a.Perform(context.Background())
	case ikev1.Sign:
		return a.Perform(crand.Reader)
	case ikev1.InstallInbound:
		e.install(e.inbound, a.SA)
	case ikev1.InstallOutbound:
		e.install(e.outbound, a.SA)
	case ikev1.RemoveChild:
		delete(e.inbound, a.SPIIn)
		if sa, ok := e.outbound[a.SPIOut]; ok && sa.Child == a.Child {
			delete(e.outbound, a.SPIOut)
		}
	default:
		e.t.Fatalf("unknown action %T", a)
	}
	return ikev1.SimpleResult{}
}

// install puts an SA into the kernel, and checks that both ends mean the same by an SPI.
func (e *end) install(table map[uint32]ikev1.ChildSA, sa ikev1.ChildSA) {
	// What an engine has installed of which the next one knows only that it was to be installed is there already.
	if old, taken := table[sa.SPI]; taken && !(e.restarts > 0 && old.Child == sa.Child && same(old, sa)) {
		e.t.Errorf("%s: SPI %#x is taken", e.name, sa.SPI)
	}
	sa = keep(sa)
	table[sa.SPI] = sa
	far := e.other.outbound
	if sa.SPI == 0 {
		e.t.Errorf("%s: SPI 0", e.name)
	}
	if _, inbound := e.inbound[sa.SPI]; !inbound {
		far = e.other.inbound
	}
	if theirs, ok := far[sa.SPI]; ok && !same(sa, theirs) {
		e.t.Errorf("the ends disagree about SPI %#x", sa.SPI)
	}
}

// same says whether two ends hold the same SA.
func same(a, b ikev1.ChildSA) bool {
	return a.Encryption == b.Encryption && a.Integrity == b.Integrity && a.ESN == b.ESN && a.Encapsulated == b.Encapsulated &&
		len(a.EncryptionKey) > 0 && bytes.Equal(a.EncryptionKey, b.EncryptionKey) && bytes.Equal(a.IntegrityKey, b.IntegrityKey)
}

// run lets d pass.
func (p *pair) run(d time.Duration) {
	p.t.Helper()
	idle := 0
	for until := p.now.Add(d); ; idle++ {
		if idle > 10_000 {
			p.t.Fatalf("the time does not go on at %v", p.now.Sub(start))
		}
		next := until
		for _, e := range p.ends {
			if e.down {
				continue
			}
			if at := e.engine.Next(); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if len(p.agenda) > 0 && !p.agenda[0].at.After(next) {
			h := heap.Pop(&p.agenda).(happening)
			if h.at.After(p.now) {
				p.now, idle = h.at, 0
			}
			h.do()
			continue
		}
		if !next.Before(until) {
			p.now = until
			for _, e := range p.ends {
				e.up()
			}
			return
		}
		if next.After(p.now) {
			p.now, idle = next, 0
		}
		for _, e := range p.ends {
			if !e.down {
				e.absorb(e.engine.Advance(p.now))
			}
		}
	}
}

// children returns the SPIs of the established children of an end, as they go in and out.
func (e *end) children() [][2]uint32 {
	var list [][2]uint32
	for _, c := range e.engine.Clients() {
		for _, ch := range c.Children {
			list = append(list, [2]uint32{ch.SPIIn, ch.SPIOut})
		}
	}
	return list
}

// consistent checks what has to be true when nothing is on its way.
func (p *pair) consistent() {
	p.t.Helper()
	for _, complaint := range p.disagreements() {
		p.t.Error(complaint)
	}
}

// disagreements says what is wrong unless both ends have the same children, and the kernels have these and no others.
func (p *pair) disagreements() (list []string) {
	complain := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	left, right := p.ends[0].children(), p.ends[1].children()
	for i := range right {
		right[i][0], right[i][1] = right[i][1], right[i][0]
	}
	slices.SortFunc(left, func(a, b [2]uint32) int { return slices.Compare(a[:], b[:]) })
	slices.SortFunc(right, func(a, b [2]uint32) int { return slices.Compare(a[:], b[:]) })
	if !slices.Equal(left, right) {
		complain("left has the children %x, right has %x", left, right)
	}
	for _, e := range p.ends {
		if n := len(e.children()); len(e.inbound) != n || len(e.outbound) != n {
			complain("%s: %d children, but the kernel has %d inbound and %d outbound SAs", e.name, n, len(e.inbound), len(e.outbound))
		}
		for spi, sa := range e.inbound {
			if theirs, ok := e.other.outbound[spi]; !ok {
				complain("%s: nobody sends to SPI %#x", e.name, spi)
			} else if !same(sa, theirs) {
				complain("the ends disagree about SPI %#x", spi)
			}
		}
	}
	return list
}

// over checks that nothing is left.
func (p *pair) over() {
	p.t.Helper()
	for _, e := range p.ends {
		if left := ikev1.Leftovers(e.engine); len(left) > 0 {
			p.t.Errorf("%s: left over: %v", e.name, left)
		}
		if len(e.inbound)+len(e.outbound) > 0 {
			p.t.Errorf("%s: the kernel still has SAs: %x %x", e.name, slices.Collect(maps.Keys(e.inbound)), slices.Collect(maps.Keys(e.outbound)))
		}
	}
}

// has says whether an end has seen an event that fits.
func has[E ikev1.Event](e *end, fits func(E) bool) bool {
	return slices.ContainsFunc(e.events, func(ev ikev1.Event) bool { x, ok := ev.(E); return ok && fits(x) })
}

// describe is for failures.
func (e *end) describe() string { return fmt.Sprintf("%s: %v", e.name, e.events) }
