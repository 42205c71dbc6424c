package ikev1_test

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// simulations is how many TestSimulation plays; L2TPCTL_SIMULATIONS asks for more, and L2TPCTL_SIMULATION for a single one.
const simulations = 40

// TestSimulation lets two engines connect, rekey, disconnect and lose their memory, behind NATs and a network that loses, repeats and
// reorders, for some hours. After each step the invariants must hold. Then the network is good again, and both ends must agree on
// what they have. In the end they part, half of the time without hearing each other any more, and nothing may be left.
//
// In one of four nothing is ever lost, so both ends must agree after each step.
func TestSimulation(t *testing.T) {
	var all tally
	n := simulate(t, "L2TPCTL_SIMULATION", simulations, func(s *simulation) {
		s.play()
		all.add(s.tally)
	})
	t.Logf("%d simulations, %v: %d ISAKMP SAs and %d children, %d of them replacements; %d were up at the end",
		n, all.time, all.sas, all.children, all.rekeys, all.up)
	if n >= simulations && (all.sas < int(n)*10 || all.children < int(n)*10 || all.rekeys < int(n)*5 || all.up < int(n)/2) {
		t.Error("that is not much for so many")
	}
}

// simulate plays simulations with the seeds from 0: as many as asked by default, or by the variable with an S at its end, or the single one that
// the variable names. It returns how many they were.
func simulate(t *testing.T, variable string, byDefault uint64, play func(*simulation)) (n uint64) {
	n, first := byDefault, uint64(0)
	if s, ok := os.LookupEnv(variable + "S"); ok {
		n, _ = strconv.ParseUint(s, 10, 64)
	}
	if s, ok := os.LookupEnv(variable); ok {
		first, _ = strconv.ParseUint(s, 10, 64)
		n = 1
	}
	for seed := first; seed < first+n; seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newSimulation(t, seed)
			defer func() {
				if t.Failed() || n == 1 {
					s.report()
				}
			}()
			play(s)
		})
		if !ok {
			t.Fatalf("seed %d fails: %s=%d go test -v -run '%s$' ./pkg/ikev1", seed, variable, seed, t.Name())
		}
	}
	return n
}

// tally is what has happened in simulations.
type tally struct {
	time                      time.Duration
	sas, children, rekeys, up int
}

func (a *tally) add(b tally) {
	a.time += b.time
	a.sas += b.sas
	a.children += b.children
	a.rekeys += b.rekeys
	a.up += b.up
}

// simulation is a pair with a life of its own.
type simulation struct {
	*pair
	tally
	seed                    uint64
	calm                    bool // nothing is lost
	lifetime, childLifetime time.Duration
	pfs                     dh.Group
	esn                     bool
	connections             [2][]ikev1.ConnectionID
	ledgers                 map[memory]*ledger
	worst                   path // what the network is like when it is bad
	slow                    time.Duration
	unlucky                 float64
	mortality               float64 // the chance that a program dies with an output
	log                     []string
}

// newSimulation makes a pair in circumstances that depend on the seed alone.
func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{
		seed: seed, ledgers: map[memory]*ledger{}, lifetime: []time.Duration{10 * time.Minute, 25 * time.Minute, time.Hour}[seed%3],
		childLifetime: []time.Duration{3 * time.Minute, 8 * time.Minute, 20 * time.Minute}[seed/3%3],
		worst: path{
			loss:  []float64{0, 0.03, 0.15, 0.4}[seed%4],
			twice: []float64{0, 0.1, 0.5}[seed/2%3],
			delay: []time.Duration{5 * time.Millisecond, 200 * time.Millisecond, 4 * time.Second}[seed/5%3],
		},
		slow:    []time.Duration{0, 100 * time.Millisecond, 3 * time.Second}[seed/7%3],
		unlucky: []float64{0, 0, 0, 0.05, 0.25}[seed%5],
		esn:     seed%3 == 1,
	}
	if seed%4 == 3 {
		s.pfs = dh.ECP256
	}
	s.pair = newPair(t, seed, func(c *ikev1.Config) {
		c.Phase1 = []ikev1.Phase1Proposal{{Cipher: keymat.AES, KeyBits: 128, Hash: keymat.SHA256, Group: dh.ECP256}}
		c.Phase2 = []ikev1.Phase2Proposal{{Encryption: ikev1.AESCBC, KeyBits: 128, Integrity: ikev1.HMACSHA1_96}, {Encryption: ikev1.AESGCM16, KeyBits: 128}}
		c.MaxChildren = []int{2, 0, 3}[seed%3]
		c.ForceEncapsulation = seed%13 == 0
		if seed%11 == 0 {
			c.DPDInterval = -1
		}
	})
	if seed%2 == 0 {
		s.ends[0].addr = netip.MustParseAddr("192.168.0.5")
		s.ends[0].nat = &nat{addr: netip.MustParseAddr("198.51.100.1")}
		s.rebind()
	}
	if seed%5 == 0 {
		s.ends[1].addr = netip.MustParseAddr("10.0.0.5")
		s.ends[1].nat = &nat{addr: netip.MustParseAddr("203.0.113.1")}
	}
	if s.calm = seed%4 == 0; s.calm {
		s.worst, s.slow, s.unlucky = path{}, 0, 0
	}
	s.learn = func(e *end, ev ikev1.Event) { s.ledger(e).enter(s, e, ev) }
	s.bad()
	return s
}

// rebind gives the NAT in front of the left end new ports, and now and then another address.
func (s *simulation) rebind() {
	if s.rng.IntN(3) == 0 {
		s.ends[0].nat.addr = netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + s.rng.IntN(3))})
	}
	a := uint16(1024 + s.rng.IntN(30000))
	s.ends[0].nat.ports = map[uint16]uint16{500: a, 4500: a + 1 + uint16(s.rng.IntN(30000))}
}

func (s *simulation) bad() { s.path, s.work, s.faults = s.worst, s.slow, s.unlucky }

func (s *simulation) good() {
	s.path, s.work, s.faults = path{delay: 20 * time.Millisecond}, 10*time.Millisecond, 0
	if s.calm {
		s.bad()
	}
	for _, e := range s.ends {
		e.deaf = false
	}
}

func (s *simulation) play() {
	for range 60 {
		what := s.step()
		s.run(s.upTo([]time.Duration{time.Second, time.Minute, 15 * time.Minute}[s.rng.IntN(3)]))
		s.invariants(what)
		if s.calm {
			s.run(75 * time.Second) // the longest that anything takes: the wait for a child, then a Main Mode
			s.settled(what)
		}
		if s.t.Failed() {
			return
		}
	}
	s.note("the network is good again")
	s.mortality = 0
	s.good()
	s.run(s.childLifetime + 5*time.Minute)
	s.settled("the network has become good")
	for _, e := range s.ends {
		s.up += len(ikev1.Connections(e.engine))
	}
	s.time = s.now.Sub(start)
	s.part()
}

// settled checks that both ends agree, and that each connection carries traffic. Something may be under way at any one moment.
func (s *simulation) settled(when string) {
	s.t.Helper()
	var wrong []string
	for range 60 {
		if wrong = append(s.disagreements(), s.downs()...); len(wrong) == 0 {
			return
		}
		s.run(time.Second)
	}
	for _, w := range wrong {
		s.t.Errorf("%v: after %s: %s", s.now.Sub(start), when, w)
	}
}

// downs says which connections and clients carry no traffic.
func (s *simulation) downs() (list []string) {
	for _, e := range s.ends {
		clients := map[ikev1.ClientID]ikev1.ClientInfo{}
		for _, c := range e.engine.Clients() {
			clients[c.ID] = c
			if len(c.Children) == 0 {
				list = append(list, fmt.Sprintf("%s: client %d has no child", e.name, c.ID))
			}
		}
		for connection, client := range ikev1.Connections(e.engine) {
			if _, ok := clients[client]; !ok {
				list = append(list, fmt.Sprintf("%s: connection %d has the client %d, which is none", e.name, connection, client))
			}
		}
	}
	return list
}

// part ends everything. When the two no longer hear each other, only time removes what is left.
func (s *simulation) part() {
	for _, e := range s.ends {
		e.dies = nil
	}
	if s.seed%2 == 1 {
		s.note("the network is gone")
		s.ends[0].deaf, s.ends[1].deaf = true, true
	}
	for i, e := range s.ends {
		for _, id := range s.connections[i] {
			e.absorb(e.engine.Disconnect(s.now, id, "enough"))
		}
	}
	s.note("both have disconnected")
	s.run(s.lifetime + s.childLifetime + 10*time.Minute)
	s.over()
	for _, e := range s.ends {
		s.ledger(e).close(s, e)
	}
}

func (s *simulation) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%v ", s.now.Sub(start).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// report tells what has happened, the latest of it.
func (s *simulation) report() {
	s.t.Logf("loss %v, twice %v, delay %v, work %v, faults %v, lifetimes %v and %v, PFS %v", s.worst.loss, s.worst.twice, s.worst.delay,
		s.slow, s.unlucky, s.lifetime, s.childLifetime, s.pfs)
	for _, line := range s.log[max(0, len(s.log)-300):] {
		s.t.Log(line)
	}
}
