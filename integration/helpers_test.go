//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/internal/control"
)

const psk = "the key of the integration tests"

// inner is the server's address in the tunnels.
var inner = netip.MustParseAddr("10.99.0.1")

func password(user string) string { return "password of " + user }

// config returns a configuration in which the users may log in; extra are further sections. Sections that a test wants to have its
// own way are given as a whole in extra.
func config(extra string, users ...string) string {
	var b strings.Builder
	for _, section := range []struct{ name, text string }{
		{"ike:", fmt.Sprintf("ike:\n  psk: %q\n", psk)},
		{"pool:", "pool: 10.99.0.0/24\n"},
		{"log:", "log:\n  level: debug\n"},
	} {
		if !strings.Contains("\n"+extra, "\n"+section.name) {
			b.WriteString(section.text)
		}
	}
	b.WriteString("users:\n")
	for _, user := range users {
		fmt.Fprintf(&b, "  - name: %s\n    password: %q\n", user, password(user))
	}
	return b.String() + extra
}

func options(user string) lab.ClientOptions {
	return lab.ClientOptions{PSK: psk, User: user, Password: password(user)}
}

// fixture is a scene with a running server, which is stopped and has left nothing behind when a test has passed.
type fixture struct {
	*lab.Scene
	t    testing.TB
	ctx  context.Context
	over bool // the daemon has been stopped
}

func setUp(t testing.TB, config string) *fixture {
	t.Helper()
	f := surroundings(t, os.Getenv(lab.BinaryVariable), config)
	t.Cleanup(func() { // runs before those of surroundings, and after those of the test
		f.ctx = context.WithoutCancel(f.ctx)
		if !t.Failed() && !f.over {
			f.stopped()
		}
	})
	f.must(f.Server.Start(f.ctx))
	return f
}

// skip ends a test that cannot run here, which is a failure where none may be left out.
func skip(t testing.TB, why error) {
	t.Helper()
	if required() {
		t.Fatal(why)
	}
	t.Skip(why)
}

// surroundings makes a scene whose server is not started.
func surroundings(t testing.TB, binary, config string) *fixture {
	t.Helper()
	if unavailable != nil {
		skip(t, unavailable)
	}
	scene, err := lab.NewScene(binary, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(scene.Logs(40))
		}
		if err := scene.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return &fixture{Scene: scene, t: t, ctx: t.Context()}
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// started makes a client's programs run.
func (f *fixture) started(c *lab.Client, err error) *lab.Client {
	f.t.Helper()
	f.must(err)
	f.must(c.Start(f.ctx))
	return c
}

func (f *fixture) home(user string) *lab.Client {
	f.t.Helper()
	return f.started(f.HomeClient(user, options(user)))
}

func (f *fixture) public(user string) *lab.Client {
	f.t.Helper()
	return f.started(f.PublicClient(user, options(user)))
}

// connect connects a client and returns its session at the server.
func (f *fixture) connect(c *lab.Client) control.Session {
	f.t.Helper()
	address, err := c.Connect(f.ctx)
	f.must(err)
	session, err := f.Server.SessionOf(f.ctx, c.Options.User)
	f.must(err)
	if session.IP != address {
		f.t.Errorf("the client has the address %v, the server says %v", address, session.IP)
	}
	return session
}

// passesTraffic pings through a session in both directions and sends TCP.
func (f *fixture) passesTraffic(c *lab.Client, session control.Session) {
	f.t.Helper()
	f.pings(c.Namespace, inner)
	f.pings(f.Server.Namespace, session.IP)
	f.must(c.Transfer(f.ctx, f.Server.Namespace, inner, 2<<20, false))
}

// renew negotiates new SAs for a session that goes on. The client is ready as soon as it has sent the last message of Quick Mode, and what the server
// sends goes through them when it has read that.
func (f *fixture) renew(c *lab.Client) {
	f.t.Helper()
	f.must(c.IPsecUp(f.ctx))
	f.must(lab.Until(f.ctx, 30*time.Second, c.Name+": a ping is answered", func() error {
		pings, err := c.PingInVain(f.ctx, inner, 1)
		if err == nil && pings.Lost() > 0 {
			err = errors.New("none")
		}
		return err
	}))
}

// pings expects every one of some echo requests to be answered.
func (f *fixture) pings(from *lab.Namespace, to netip.Addr) {
	f.t.Helper()
	pings, err := from.Ping(f.ctx, to, 10)
	f.must(err)
	if pings.Lost() > 0 {
		f.t.Errorf("ping from %s to %v: %d of %d lost", from.Name, to, pings.Lost(), pings.Sent)
	}
}

// emptyLimit is less than LCP echo or DPD take to notice that a client has gone without a word.
const emptyLimit = 75 * time.Second

// empty waits until the daemon and the kernel know of no client any more.
func (f *fixture) empty() {
	f.t.Helper()
	f.must(f.Server.WaitEmpty(f.ctx, emptyLimit))
	f.must(f.Server.WaitClean(f.ctx, emptyLimit, false))
}

// stopped stops the daemon and expects the kernel to be as it was before it started. Every test ends with it.
func (f *fixture) stopped() {
	f.t.Helper()
	f.must(f.Server.Stop())
	f.over = true
	f.must(f.Server.WaitClean(f.ctx, 60*time.Second, true))
}

// rises waits until a counter has risen by so much since before, and expects it to have risen by no more.
func (f *fixture) rises(by uint64, name string, before control.Stats, counter func(control.Stats) uint64) {
	f.t.Helper()
	var rose uint64
	f.must(lab.Until(f.ctx, 60*time.Second, "counter "+name, func() error {
		now, err := f.Server.Stats(f.ctx)
		if rose = counter(now) - counter(before); err == nil && rose < by {
			err = fmt.Errorf("it rose by %d, want %d", rose, by)
		}
		return err
	}))
	if rose != by {
		f.t.Errorf("counter %s rose by %d, want %d", name, rose, by)
	}
}

func (f *fixture) stats() control.Stats {
	f.t.Helper()
	stats, err := f.Server.Stats(f.ctx)
	f.must(err)
	return stats
}
