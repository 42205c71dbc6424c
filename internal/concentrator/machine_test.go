package concentrator

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/l2tpnl"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

var errFault = errors.New("out of luck")

// machine is the fake host that a daemon runs on: SAs, sockets, tunnels, sessions, PPP processes and logins, with the rules of the real
// one. What the daemon may never do it complains about; what merely fails on a real machine fails here too.
type machine struct {
	t     testing.TB
	block slot.Block
	plain PlainOptions

	refusal atomic.Pointer[func(operation string) bool]

	// latency is the longest that an operation may take, login what a PPP peer does. Change them on a quiet machine.
	latency time.Duration
	login   func(iface string) login

	hear func(l2tp.Datagram)                        // a control message on its way to the daemon
	nic  func(st *xfrm.State) (xfrm.Offload, error) // what becomes of an SA that is meant for a device; nil: each refuses
	way  func(remote netip.Addr) int                // the device by which packets leave; nil: always number 2
	send func(sa xfrm.State, payload []byte)        // a datagram that an outbound SA has encrypted
	bare func(plainSent)                            // one that leaves without IPsec
	tell func(aaa.Event)                            // the RADIUS server's notifications
	move func(xfrm.Mapping)                         // authentic ESP came from another port
	end  func(xfrm.Expire)                          // an SA has reached a limit
	gone func(xfrm.Deleted)                         // an SA was deleted, by whomever
	note func(l2tpnl.Event)                         // a tunnel or session was deleted over netlink, by whomever
	link func([]string)                             // interfaces are gone

	*dice

	mu        sync.Mutex
	sas       map[xfrm.ID]*xfrm.State
	order     []xfrm.ID        // of their installation
	dying     map[xfrm.ID]bool // have told of their soft limit
	sockets   map[uint16]*kernelSocket
	taken     map[uint16]bool // ports of other programs
	moves     int             // SAs that were given another port
	listed    int             // how often all SAs were asked for
	tunnels   map[uint32]*kernelTunnel
	sessions  map[[2]uint32]*kernelSession
	processes map[string]*process // by interface
	logins    map[string]aaa.Session
	lastFD    int
	unlinked  map[string]bool // interfaces that were removed
	unsteered atomic.Bool     // somebody has changed the steering table

	configured aaa.Config // users, methods and pool that the daemon has set
	asked      []string   // of network devices

	findsPacket bool // SAs in packet mode are found by the policies of sockets

	kept    map[string][]byte   // the daemon's records
	exits   map[string]*process // that nobody was told of
	used    map[string]bool     // keys of outbound SAs
	crashed atomic.Bool         // the daemon is dead: what it still asks for does not happen
	doom    atomic.Int64        // after so many operations it is; 0: never
}

func newMachine(t testing.TB, block slot.Block, d *dice) *machine {
	return &machine{
		t: t, block: block, dice: d,
		login: func(string) login { return login{user: "alice"} },
		sas:   make(map[xfrm.ID]*xfrm.State), dying: make(map[xfrm.ID]bool), sockets: make(map[uint16]*kernelSocket), tunnels: make(map[uint32]*kernelTunnel),
		sessions: make(map[[2]uint32]*kernelSession), processes: make(map[string]*process), logins: make(map[string]aaa.Session),
		kept: make(map[string][]byte), exits: make(map[string]*process), used: make(map[string]bool),
	}
}

// dice is a source of chance for several goroutines.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice(seed uint64) *dice { return &dice{rng: rand.New(rand.NewPCG(seed, 2))} }

// chance is true with probability p.
func (d *dice) chance(p float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64() < p
}

// within is a random time of at most most.
func (d *dice) within(most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.rng.Int64N(int64(most) + 1))
}

// pick is a random number below n.
func (d *dice) pick(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// refuse makes the operations fail for which f is true. Nil: none.
func (m *machine) refuse(f func(operation string) bool) { m.refusal.Store(&f) }

func (m *machine) fault(operation string) bool {
	if m.dies() {
		return true
	}
	f := m.refusal.Load()
	return f != nil && *f != nil && (*f)(operation)
}

// work takes its time and then fails or not.
func (m *machine) work(operation string) error {
	if m.latency > 0 {
		time.Sleep(m.within(m.latency))
	}
	return m.fails(operation)
}

func (m *machine) fails(operation string) error {
	if m.fault(operation) {
		return fmt.Errorf("%s: %w", operation, errFault)
	}
	return nil
}

// left names what is there; empty on a clean machine.
func (m *machine) left() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	var list []string
	for _, id := range m.order {
		list = append(list, m.sas[id].String())
	}
	for _, n := range slices.Sorted(maps.Keys(m.sockets)) {
		list = append(list, fmt.Sprintf("sockets of slot %d", n))
	}
	for _, n := range slices.Sorted(maps.Keys(m.tunnels)) {
		list = append(list, fmt.Sprintf("tunnel %d, deleting %v", n, m.tunnels[n].deleting))
	}
	for id := range m.sessions {
		list = append(list, fmt.Sprintf("session %d/%d", id[0], id[1]))
	}
	for iface := range m.processes {
		list = append(list, "pppd of "+iface)
	}
	for nas := range m.logins {
		list = append(list, "login of session "+nas)
	}
	return strings.Join(list, "; ")
}

// counts are the numbers of objects, for tests that say what must be there.
type counts struct{ sas, sockets, tunnels, sessions, processes, logins int }

func (m *machine) counts() counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	return counts{len(m.sas), len(m.sockets), len(m.tunnels), len(m.sessions), len(m.processes), len(m.logins)}
}

// Read is the steering table's.
func (m *machine) Read() (map[string]uint64, error) { return map[string]uint64{"clear": 7}, nil }

// Intact is the steering table's.
func (m *machine) Intact() (bool, error) { return !m.unsteered.Load(), nil }

// Names implements Links.
func (m *machine) Names() (map[string]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := map[string]bool{"lo": true}
	for name := range m.processes {
		names[name] = !m.unlinked[name]
	}
	return names, nil
}
