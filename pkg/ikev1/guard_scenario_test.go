package ikev1_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/dh"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/ikev1test"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1/keymat"
)

// mine is a source of randomness and of keys with defects: strike says at which of its calls it panics. It counts only while armed.
type mine struct {
	io.Reader
	armed  bool
	calls  int
	struck int
	strike func(call int) bool
}

const secretOfMine = "a secret that no event may tell"

func (m *mine) step() {
	if !m.armed {
		return
	}
	if m.calls++; m.strike(m.calls) {
		m.struck++
		panic(secretOfMine)
	}
}

func (m *mine) Read(b []byte) (int, error) {
	m.step()
	return m.Reader.Read(b)
}

func (m *mine) psk(netip.Addr, netip.Addr) []byte {
	m.step()
	return []byte(goodPSK)
}

// mined is a pair whose left end has a mine, and a bystander that is connected to the left end, too.
type mined struct {
	*pair
	*mine
	bystander *world
	main      *ikev1test.MainMode
	quick     *ikev1test.QuickMode
}

func newMined(t *testing.T, strike func(call int) bool) *mined {
	m := &mined{pair: newPair(t, 1, shortLives), mine: &mine{strike: strike}}
	left := m.ends[0]
	left.config.PSK = m.psk
	left.source = func(r io.Reader) io.Reader { m.Reader = r; return m.mine }
	left.begin(1)
	m.bystander = newWorld(t)
	m.bystander.engine, m.bystander.records = left.engine, left.records
	m.main = m.bystander.connect(newPeer(7))
	m.quick = m.bystander.quick(m.main, 1)
	m.armed = true
	return m
}

func shortLives(c *ikev1.Config) {
	c.Phase1 = []ikev1.Phase1Proposal{{Cipher: keymat.AES, KeyBits: 256, Hash: keymat.SHA256, Group: dh.ECP256}}
	c.ChildWait, c.PFSGroups = 20*time.Second, []dh.Group{dh.ECP256}
}

// stories are the lives of the left end: it calls, is called, both with everything that comes after.
var stories = map[string]func(m *mined){
	"calling": func(m *mined) {
		left, right := m.ends[0], m.ends[1]
		c := left.connection()
		c.Lifetime, c.ChildLifetime, c.PFS = 10*time.Minute, 4*time.Minute, dh.ECP256
		id, out, err := left.engine.Connect(m.now, c)
		left.absorb(out)
		m.run(10 * time.Second)
		for range 2 {
			for _, e := range m.ends {
				for _, c := range e.engine.Clients() {
					e.absorb(e.engine.Rekey(m.now, c.ID))
				}
				m.run(50 * time.Second)
			}
		}
		m.run(15 * time.Minute)
		for _, c := range right.engine.Clients() {
			for _, ch := range c.Children {
				right.absorb(right.engine.Expired(m.now, c.ID, ch.ID, true))
			}
		}
		m.run(time.Minute)
		if err == nil {
			left.absorb(left.engine.Disconnect(m.now, id, "enough"))
		}
	},
	"called": func(m *mined) {
		left, right := m.ends[0], m.ends[1]
		c := right.connection()
		c.Lifetime, c.ChildLifetime, c.PFS = 10*time.Minute, 4*time.Minute, dh.ECP256
		right.connect(c)
		m.run(15 * time.Second)
		for _, c := range left.engine.Clients() {
			if c.Remote.Addr() == right.addr {
				left.absorb(left.engine.Rekey(m.now, c.ID))
			}
		}
		m.run(15 * time.Minute)
		right.deaf = true // until DPD gives it up
		m.run(20 * time.Second)
		for _, c := range left.engine.Clients() {
			for _, ch := range c.Children {
				if c.Remote.Addr() == right.addr {
					left.absorb(left.engine.Expired(m.now, c.ID, ch.ID, true))
				}
			}
		}
		m.run(5 * time.Minute)
		right.deaf = false
		right.connect(c)
		m.run(20 * time.Second)
		for _, c := range left.engine.Clients() {
			if c.Remote.Addr() == right.addr {
				left.absorb(left.engine.CloseClient(m.now, c.ID, "enough"))
			}
		}
	},
}

// TestPanics lets each call that the engine makes outside panic once, in all of its life with a peer. The panic is counted, the bystander
// notices nothing, and nothing is left in the end. Then every third panics, and all.
func TestPanics(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			n := 1
			for ; ; n++ {
				m := newMined(t, func(call int) bool { return call == n })
				m.tell(story, fmt.Sprintf("the call %d panics", n))
				if m.struck == 0 {
					break
				}
				if t.Failed() {
					t.Fatalf("see the call %d", n)
				}
			}
			t.Logf("each of %d calls has panicked", n-1)
			if n < 40 {
				t.Errorf("there were only %d calls in the whole story", n-1)
			}
			for every := range 7 {
				m := newMined(t, func(call int) bool { return call%(every+1) == 0 })
				m.tell(story, fmt.Sprintf("one in %d calls panics", every+1))
			}
		})
	}
}

// tell plays a story to its end.
func (m *mined) tell(story func(*mined), what string) {
	m.t.Helper()
	story(m)
	m.run(30 * time.Minute)
	m.armed = false
	left := m.ends[0]
	panics, drops := 0, 0
	for _, ev := range left.events {
		switch ev := ev.(type) {
		case ikev1.Panicked:
			panics++
			if strings.Contains(ev.String()+ev.Stack, secretOfMine) || !strings.Contains(ev.Stack, "(*mine).step") {
				m.t.Errorf("%s: %v\n%s", what, ev, ev.Stack)
			}
		case ikev1.Dropped:
			if ev.Reason == ikev1.DropPanic {
				drops++
			}
		}
	}
	if panics != m.struck || drops != m.struck {
		m.t.Errorf("%s: %d panics, %d events, %d counted", what, m.struck, panics, drops)
	}
	w := m.bystander
	w.now = m.now
	if clients := left.engine.Clients(); len(clients) != 1 || len(clients[0].Children) != 1 {
		m.t.Errorf("%s: left over beside the bystander: %+v; %s", what, clients, left.describe())
		return
	}
	w.ok(w.agree(m.quick, true))
	w.quick(m.main, 2)
	w.say(m.main.Peer, m.main.Informational(m.quick.DeleteESP()))
	w.say(m.main.Peer, m.main.Informational(m.main.DeleteISAKMP()))
	w.elapse(2 * time.Hour)
	m.now = w.now
	m.run(2 * time.Hour)
	m.over()
	if len(w.inbound)+len(w.outbound) > 0 {
		m.t.Errorf("%s: the kernel has SAs of the bystander", what)
	}
	if m.t.Failed() {
		m.t.Log(what, slices.Compact(strings.Split(left.describe(), "\n")))
	}
}

// TestPanicEndsHandshake: a handshake that meets a panic is over at once, and takes no place any more.
func TestPanicEndsHandshake(t *testing.T) {
	m := &mine{strike: func(int) bool { return true }}
	w := newWorld(t, func(c *ikev1.Config) { c.PSK = m.psk })
	p := newPeer(1)
	mode := p.MainMode()
	w.ok(mode.TakeMessage2(w.ask(p, mode.Message1(), "message 2")))
	m.armed = true // the key is wanted when the Diffie-Hellman is done
	want(t, w.silent(p, mode.Message3(), "the keys cannot be derived"), ikev1.DropPanic, "counted")
	want(t, m.struck, 1, "panics")
	want(t, w.engine.HalfOpen(), 0, "handshakes")
	w.empty("the handshake was given up")

	m.armed = false
	w.quick(w.connect(p), 1)
}

// TestPanicWhileDeleting: an ISAKMP SA whose end panics half-way is gone nevertheless, with its Quick Mode.
func TestPanicWhileDeleting(t *testing.T) {
	m := &mine{strike: func(int) bool { return true }}
	w := newWorld(t)
	w.engine = mustEngine(t, m)
	p := newPeer(1)
	old := w.connect(p)
	q := old.QuickMode(1)
	w.ok(q.TakeMessage2(w.ask(p, q.Message1(), "message 2")))
	fresh := w.connect(p)
	m.armed = true // the child of the Quick Mode is deleted in the new ISAKMP SA, which takes a message ID
	want(t, w.silent(p, old.Informational(old.DeleteISAKMP()), "the Delete cannot be sent"), ikev1.DropPanic, "counted")
	m.armed = false
	want(t, w.silent(p, q.Message3(), "message 3"), ikev1.DropUnknownSA, "the old ISAKMP SA is gone")
	w.quick(fresh, 1)
	w.say(p, fresh.Informational(fresh.DeleteISAKMP()))
	w.elapse(2 * time.Hour)
	w.empty("the lifetime of the child is over")
}

// mustEngine makes an engine with the randomness of m.
func mustEngine(t *testing.T, m *mine) *ikev1.Engine {
	t.Helper()
	m.Reader = rand.NewChaCha8([32]byte{3})
	engine, err := ikev1.New(ikev1.Config{PSK: m.psk}, m)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}
