//go:build integration

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

const (
	// walkSteps is how long a walk is; L2TPCTL_RANDOM_STEPS asks for another length.
	walkSteps = 10
	// settleLimit is how long everything may take after a step until daemon, kernel and clients agree, and toldLimit until a client knows that its
	// session is over.
	settleLimit = 40 * time.Second
	toldLimit   = 40 * time.Second
	// lateLimit is for the answer to a ping.
	lateLimit = 10 * time.Second
)

// walkSeeds are played; L2TPCTL_RANDOM_WALK asks for a single one.
var walkSeeds = []uint64{1, 2, 3}

// TestRandomWalk has clients of two kinds, with and without a NAT, and does one thing at random after the other to them, to the kernel under the
// daemon, and to the daemon. After each step, once things have settled, daemon, kernel and clients have to agree, what belongs to others is
// untouched, and nobody has lost a ping to whom nothing was done. No L2TP is ever on the wire outside of ESP.
func TestRandomWalk(t *testing.T) {
	seeds, steps := walkSeeds, walkSteps
	if s, ok := os.LookupEnv("L2TPCTL_RANDOM_WALK"); ok {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	if s, ok := os.LookupEnv("L2TPCTL_RANDOM_STEPS"); ok {
		var err error
		if steps, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { newWalk(t, seed).play(steps) })
	}
}

// walk is one random walk.
type walk struct {
	*fixture
	rand    *rand.Rand
	walkers []*walker
	wire    *lab.Capture
	same    func() // what belongs to others
	remove  func()
	ports   uint16 // of the NAT, for the next rebinding
	mtu     int    // of the configuration
	keeper  int    // process id
	idle    int    // file descriptors of a keeper without clients
}

func newWalk(t *testing.T, seed uint64) *walk {
	const each = 4
	users := append(crew(2*each), "alice", "bob")
	w := &walk{rand: rand.New(rand.NewPCG(seed, 0)), ports: 20000, mtu: 1400}
	w.fixture = setUp(t, w.config(users))
	var err error
	w.keeper, err = w.Server.Keeper()
	w.must(err)
	w.idle, err = lab.FDs(w.keeper)
	w.must(err)
	w.same, w.remove = w.foreigners()
	// What clients send is left out: xl2tpd says its last word also when IPsec has gone.
	w.wire, err = w.Server.Capture("eth0", fmt.Sprintf("src host %s and %s", lab.ServerAddress, cleartext))
	w.must(err)
	indoors, err := w.HomeHost("indoors")
	w.must(err)
	outdoors, _, _, err := w.PublicHost("outdoors")
	w.must(err)
	for i, place := range []struct {
		space *lab.Namespace
		first string
	}{{indoors, "10.0.0.100"}, {outdoors, "192.0.2.100"}} {
		first := netip.MustParseAddr(place.first)
		fl := w.fleet(place.space, first, nil, func(c *ikev1.Config) { c.HalfOpenTimeout = 6 * time.Second })
		for _, user := range users[i*each : (i+1)*each] {
			w.must(place.space.Batch(fmt.Sprintf("address add %s/32 dev eth0", first)))
			w.walkers = append(w.walkers, &walker{rambler: &member{fleet: fl, space: place.space, address: first, name: user, home: i == 0}})
			first = first.Next()
		}
	}
	w.walkers = append(w.walkers, &walker{rambler: &swan{Client: w.home("alice"), home: true}}, &walker{rambler: &swan{Client: w.public("bob")}})
	return w
}

func (w *walk) config(users []string) string {
	return config(fmt.Sprintf("ppp:\n  auth: [pap]\n  mtu: %d\n", w.mtu), users...)
}

func (w *walk) play(steps int) {
	for _, c := range w.walkers[w.rand.IntN(2):] { // now and then somebody is left to come later
		w.connected(c)
	}
	w.agree("the beginning")
	for n := range steps {
		began := time.Now()
		what := w.step()
		w.agree(what)
		w.t.Logf("step %d: %s (%v)", n+1, what, time.Since(began).Round(time.Millisecond))
		if w.t.Failed() {
			w.t.FailNow()
		}
	}
	for _, c := range w.walkers {
		if c.up {
			w.must(c.disconnect(w.ctx))
		}
	}
	w.remove()
	w.empty()
	w.must(lab.Until(w.ctx, 30*time.Second, "the keeper holds what it held at first", func() error {
		fds, err := lab.FDs(w.keeper)
		if err == nil && fds > w.idle {
			err = fmt.Errorf("it had %d files and has %d", w.idle, fds)
		}
		return err
	}))
	packets, err := w.wire.Stop()
	w.must(err)
	if len(packets) > 0 {
		w.t.Errorf("in the clear: %q", packets)
	}
}

// connected connects a client that is not; now and then one attempt fails, when the daemon is killed meanwhile.
func (w *walk) connected(c *walker) {
	w.t.Helper()
	var errs error
	for range 3 {
		address, err := c.connect(w.ctx)
		if err == nil {
			w.noted(c, address)
			return
		}
		errs = errors.Join(errs, err)
	}
	w.t.Fatalf("%s does not connect: %v", c.user(), errs)
}

// noted keeps the session that a client has got.
func (w *walk) noted(c *walker, address netip.Addr) {
	w.t.Helper()
	session, err := w.Server.SessionOf(w.ctx, c.user())
	w.must(err)
	if session.IP != address {
		w.t.Errorf("%s has the address %v, and the session is %+v", c.user(), address, session)
	}
	c.session, c.up, c.losses = session, true, nil
	w.must(c.watch(w.ctx))
}

// step does one thing and names it. Some are done while nobody serves.
func (w *walk) step() string {
	for _, c := range w.walkers {
		c.fate = undisturbed
		if c.up {
			w.must(c.watch(w.ctx))
		}
	}
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	for {
		pick := w.rand.IntN(total)
		for _, d := range deeds {
			if pick -= d.weight; pick >= 0 {
				continue
			}
			if what := w.kills(d.kill, d.do); what != "" {
				return d.name + ": " + what
			}
			break // there was nobody to do it to
		}
	}
}

// kills does something, and now and then kills the daemon for it.
func (w *walk) kills(allowed moment, do func(*walk) string) string {
	when := []moment{never, never, after, before}[w.rand.IntN(4)]
	if when > allowed {
		return do(w)
	}
	if when == before {
		w.Server.Process.Kill()
	}
	what := do(w)
	if when == after {
		w.pause(300 * time.Millisecond)
		w.Server.Process.Kill()
	}
	if when != never {
		w.must(w.Server.Start(w.ctx))
	}
	if what == "" {
		return ""
	}
	return what + []string{"", ", and the daemon is killed", ", while no daemon runs"}[when]
}

// some returns a client of whom ok holds, or nil.
func (w *walk) some(ok func(*walker) bool) *walker {
	for _, i := range w.rand.Perm(len(w.walkers)) {
		if ok(w.walkers[i]) {
			return w.walkers[i]
		}
	}
	return nil
}

func (w *walk) someUp() *walker   { return w.some(func(c *walker) bool { return c.up }) }
func (w *walk) someDown() *walker { return w.some(func(c *walker) bool { return !c.up }) }

// pause is up to a limit.
func (w *walk) pause(limit time.Duration) { time.Sleep(time.Duration(w.rand.Int64N(int64(limit)))) }
