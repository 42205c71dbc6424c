//go:build integration

package integration

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/l2tpctl/l2tpctl/integration/fleet"
	"github.com/l2tpctl/l2tpctl/integration/lab"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
)

// crewConfig lets n users of fleets log in.
func crewConfig(extra string, n int) string {
	return config("ppp:\n  auth: [pap]\npool: 10.99.0.0/20\n"+extra, crew(n)...)
}

func crew(n int) []string {
	users := make([]string, n)
	for i := range users {
		users[i] = fmt.Sprintf("user%03d", i)
	}
	return users
}

// fleet makes clients in a namespace, with addresses one after the other, and connects them, some at a time.
func (f *fixture) fleet(space *lab.Namespace, first netip.Addr, users []string, adjust func(*ikev1.Config)) *fleet.Fleet {
	f.t.Helper()
	addresses := make([]netip.Addr, len(users))
	commands := make([]string, len(users))
	for i := range users {
		addresses[i] = first
		commands[i] = fmt.Sprintf("address add %s/32 dev eth0", first)
		first = first.Next()
	}
	f.must(space.Batch(commands...))
	var fl *fleet.Fleet
	f.must(space.Do(func() (err error) {
		fl, err = fleet.Open(fleet.Config{PSK: psk, Server: lab.ServerAddress, Inner: inner, Adjust: adjust})
		return err
	}))
	f.t.Cleanup(func() {
		if err := fl.Close(); err != nil && !f.t.Failed() {
			f.t.Errorf("close the fleet: %v", err)
		}
	})
	places := make(chan struct{}, 16)
	var wait sync.WaitGroup
	for i, user := range users {
		wait.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := space.Do(func() error { _, err := fl.Connect(f.ctx, addresses[i], user, password(user)); return err }); err != nil {
				f.t.Error(err)
			}
		})
	}
	wait.Wait()
	if f.t.Failed() {
		f.t.FailNow()
	}
	f.established(users)
	return fl
}

// established waits until the sessions of users are up at the server. A client is through with IPCP a moment before.
func (f *fixture) established(users []string) {
	f.t.Helper()
	f.must(lab.Until(f.ctx, 60*time.Second, "the sessions are established", func() error {
		sessions, err := f.Server.Sessions(f.ctx)
		up := make(map[string]bool)
		for _, s := range sessions {
			up[s.User] = s.State == "established"
		}
		for _, user := range users {
			if err == nil && !up[user] {
				err = fmt.Errorf("that of %s is not", user)
			}
		}
		return err
	}))
}

// TestFleet connects clients with NAT and without, has them ping, and disconnects them.
func TestFleet(t *testing.T) {
	const each = 10
	f := setUp(t, crewConfig("", 2*each))
	users := crew(2 * each)
	home, err := f.HomeHost("indoors")
	f.must(err)
	public, _, _, err := f.PublicHost("outdoors")
	f.must(err)
	fleets := []*fleet.Fleet{
		f.fleet(home, netip.MustParseAddr("10.0.0.100"), users[:each], nil),
		f.fleet(public, netip.MustParseAddr("192.0.2.100"), users[each:], nil),
	}
	for _, fl := range fleets {
		stop := fl.Stream(f.ctx, fl.Clients(), 10)
		f.must(lab.Until(f.ctx, 60*time.Second, "100 pings are sent", func() error {
			if n := fl.Report().Sent; n < 100 {
				return fmt.Errorf("%d", n)
			}
			return nil
		}))
		if r := stop(); r.Lost > 0 {
			t.Errorf("the report is %+v", r)
		} else {
			t.Logf("%d pings, the slowest answer after %v", r.Sent, r.Slowest)
		}
		for _, c := range fl.Clients() {
			f.must(c.Hello(f.ctx))
			f.must(fl.Disconnect(c))
		}
	}
	f.empty()
}
