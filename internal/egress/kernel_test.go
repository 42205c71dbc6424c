//go:build kernel

package egress

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

var (
	local = netip.MustParseAddr("192.0.2.1")
	peer  = netip.MustParseAddr("203.0.113.7")
)

// world is a namespace with two devices, of which the first has the route to everywhere.
type world struct {
	t      *testing.T
	a, b   netlink.Link
	router *Router
}

func newWorld(t *testing.T) *world {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("new network namespace (root is required): %v", err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	w := &world{t: t}
	for _, name := range []string{"a", "b"} {
		link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}}
		w.must(netlink.LinkAdd(link))
		w.must(netlink.LinkSetUp(link))
		w.a, w.b = w.b, link
	}
	address, err := netlink.ParseAddr("192.0.2.1/24")
	w.must(err)
	w.must(netlink.AddrAdd(w.a, address))
	w.must(netlink.RouteReplace(w.route("0.0.0.0/0", w.a)))
	w.router, err = Open()
	w.must(err)
	t.Cleanup(func() { _ = w.router.Close() })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) route(dst string, by netlink.Link) *netlink.Route {
	w.t.Helper()
	prefix, err := netlink.ParseIPNet(dst)
	w.must(err)
	return &netlink.Route{Dst: prefix, LinkIndex: by.Attrs().Index, Scope: netlink.SCOPE_LINK}
}

func (w *world) wantDevice(why string, mark uint32, want netlink.Link) {
	w.t.Helper()
	got, err := w.router.Device(local, peer, mark)
	if err != nil || got != want.Attrs().Index {
		w.t.Errorf("%s: device %d (%s), error %v, want %d", why, got, w.router.Name(got), err, want.Attrs().Index)
	}
}

func TestKernelDevice(t *testing.T) {
	w := newWorld(t)
	w.wantDevice("default route", 0, w.a)
	rule := netlink.NewRule()
	rule.Mark, rule.Table = 0x17014001, 100
	w.must(netlink.RuleAdd(rule))
	marked := w.route("0.0.0.0/0", w.b)
	marked.Table = 100
	w.must(netlink.RouteAdd(marked))
	w.wantDevice("without the mark", 0x17014002, w.a)
	w.wantDevice("with the mark", 0x17014001, w.b)
	w.must(netlink.RouteAdd(w.route("203.0.113.0/24", w.b)))
	w.wantDevice("a more specific route", 0, w.b)
	if name := w.router.Name(w.b.Attrs().Index); name != "b" {
		t.Errorf("the name is %q", name)
	}
	if name := w.router.Name(4711); name != "#4711" {
		t.Errorf("the name of no device is %q", name)
	}
	if device, err := w.router.Device(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:1::1"), 0); err == nil {
		t.Errorf("without a route there is device %d", device)
	}
}

func TestKernelEncrypts(t *testing.T) {
	w := newWorld(t)
	const reqid = 0x17014001
	if err := w.router.Encrypts(local, peer, reqid); err == nil {
		t.Error("there is no SA, and the kernel encrypts")
	}
	sas, err := xfrm.Dial()
	w.must(err)
	defer sas.Close()
	w.must(sas.Add(&xfrm.State{
		ID: xfrm.ID{Dst: peer, SPI: 0x1000}, Src: local, ReqID: reqid, AEAD: xfrm.AESGCM16(make([]byte, 20)), Direction: xfrm.Out,
	}))
	if err := w.router.Encrypts(local, peer, reqid); err != nil {
		t.Errorf("there is an SA: %v", err)
	}
	if err := w.router.Encrypts(local, peer, reqid+1); err == nil {
		t.Error("the SA is another client's, and the kernel encrypts")
	}
}

func TestKernelWatcher(t *testing.T) {
	w := newWorld(t)
	watcher, err := NewWatcher()
	w.must(err)
	for i, step := range []struct {
		why      string
		do       func() error
		affected bool
		down     netlink.Link
	}{
		{"another default route", func() error { return netlink.RouteReplace(w.route("0.0.0.0/0", w.b)) }, true, nil},
		{"a route to it", func() error { return netlink.RouteAdd(w.route("203.0.113.7/32", w.b)) }, true, nil},
		{"a route to others", func() error { return netlink.RouteAdd(w.route("198.51.100.0/24", w.b)) }, false, nil},
		{"a rule", func() error { r := netlink.NewRule(); r.Mark, r.Table = 1, 100; return netlink.RuleAdd(r) }, true, nil},
		{"a device down", func() error { return netlink.LinkSetDown(w.a) }, false, w.a},
		{"a device gone", func() error { return netlink.LinkDel(w.b) }, false, w.b},
	} {
		w.must(step.do())
		last := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("last%d", i)}}
		w.must(netlink.LinkAdd(last)) // and is told after everything before
		affected, down := false, make(map[int]bool)
		for !down[last.Attrs().Index] {
			c, err := watcher.Next()
			w.must(err)
			affected = affected || c.Affects(peer)
			maps.Copy(down, c.Down)
		}
		if affected != step.affected && step.down == nil {
			t.Errorf("%s: affected is %v", step.why, affected)
		}
		if step.down != nil && !down[step.down.Attrs().Index] {
			t.Errorf("%s: down is %v", step.why, down)
		}
	}
	done := make(chan error)
	go func() {
		for {
			if _, err := watcher.Next(); err != nil {
				done <- err
				return
			}
		}
	}()
	w.must(watcher.Close())
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Next of a closed watcher gave %v", err)
	}
}
